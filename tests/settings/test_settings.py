"""Settings come from the environment and one file, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostk8s_agent.errors import SettingsError
from hostk8s_agent.settings import load_settings
from hostk8s_agent.settings.files import WORKSPACE_FILE_NAME as SETTINGS_FILE_NAME
from hostk8s_agent.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without settings."""
    return Workspace(tmp_path)


def test_without_settings_the_defaults_hold(workspace: Workspace) -> None:
    """HostK8s' volume, and everything found out by itself."""
    settings = load_settings(workspace)
    assert (settings.volume_name, settings.volume_backend, settings.kubeconfig) == ("hostk8s-pv-data", "auto", None)


def test_the_environment_wins_over_the_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's unit can override what the checkout says."""
    (workspace.root / SETTINGS_FILE_NAME).write_text('volume_name = "from-file"\nworkers = 3\n', encoding="utf-8")
    monkeypatch.setenv("HOSTK8S_AGENT_VOLUME_NAME", "from-environment")
    settings = load_settings(workspace)
    assert (settings.volume_name, settings.workers) == ("from-environment", 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('volumename = "x"\n', "volumename is not a setting"),
        ('volume_name = "a b"\nworkers = 0\n', "volume_name: .*; .*workers: "),
        ("workers = \n", "hostk8s-agent.toml: "),
        ('notify_webhook_url = "ftp://hunter2"\n', "notify_webhook_url: .*must begin with https://"),
        ('notify_about = ["everything"]\n', "notify_about.0: "),
        ('snapshot_repository = "snapshots"\n', "snapshot_repository: write the whole path"),
        ('snapshot_repository = ""\n', "snapshot_repository: write the whole path"),
    ],
)
def test_a_wrong_setting_is_named(workspace: Workspace, text: str, words: str) -> None:
    """All wrong ones at once, and where to put them right."""
    (workspace.root / SETTINGS_FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words) as raised:
        load_settings(workspace)
    assert SETTINGS_FILE_NAME in raised.value.hint
    assert "hunter2" not in str(raised.value)


def test_snapshots_are_never_kept_in_the_workspace(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor by way of a link: what removes the data would remove them as well."""
    (workspace.root / "data").mkdir()
    link = workspace.root.parent / f"{workspace.root.name}-link"
    link.symlink_to(workspace.root / "data")
    for place in (workspace.root, workspace.root / "data/snapshots", link / "snapshots"):
        monkeypatch.setenv("HOSTK8S_AGENT_SNAPSHOT_REPOSITORY", str(place))
        with pytest.raises(SettingsError, match=r"SNAPSHOT_REPOSITORY: snapshot_repository: .* lies in the workspace"):
            load_settings(workspace)
    outside = workspace.root.parent / "outside"
    monkeypatch.setenv("HOSTK8S_AGENT_SNAPSHOT_REPOSITORY", str(outside))
    assert load_settings(workspace).snapshot_repository == outside


def test_a_value_that_is_wrong_is_not_repeated(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that was put into the wrong variable must not reach a log."""
    monkeypatch.setenv("HOSTK8S_AGENT_WORKERS", "hunter2")
    with pytest.raises(SettingsError) as raised:
        load_settings(workspace)
    assert "hunter2" not in str(raised.value)


def test_an_address_with_a_password_is_refused(workspace: Workspace) -> None:
    """Settings are shown, dumped and kept: they hold no secret."""
    settings = 'snapshot_restic_repository = "rest:https://me:hunter2@nas/"\n'
    (workspace.root / SETTINGS_FILE_NAME).write_text(settings, encoding="utf-8")
    with pytest.raises(SettingsError, match="snapshot_restic_environment_file") as raised:
        load_settings(workspace)
    assert "hunter2" not in f"{raised.value}{raised.value.hint}"

"""Settings while the agent runs, and the two files and the flags that they come from."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from hostk8s_agent.cli.settings import build_settings_schema, render_settings_page
from hostk8s_agent.errors import SettingsError
from hostk8s_agent.live_settings import LiveSettings
from hostk8s_agent.settings import Settings, find_origins, find_unknown_variables, load_settings
from hostk8s_agent.settings.files import MAX_BYTES, WORKSPACE_FILE_NAME, find_user_file
from hostk8s_agent.snapshot.policies import load_default_policy
from hostk8s_agent.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without settings."""
    return Workspace(tmp_path)


@pytest.fixture
def user_file() -> Path:
    """The user's file, not there yet."""
    file = find_user_file()
    file.parent.mkdir(parents=True)
    return file


def test_each_source_wins_over_the_one_before(
    workspace: Workspace, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default, user's file, workspace's file, variable, flag; and each is told where its value comes from."""
    user_file.write_text("workers: 1\nvolume_name: user\nlog_level: debug\nlog_format: json\n", encoding="utf-8")
    (workspace.root / WORKSPACE_FILE_NAME).write_text(
        'workers = 2\nvolume_name = "workspace"\nlog_level = "error"\n', encoding="utf-8"
    )
    monkeypatch.setenv("HOSTK8S_AGENT_WORKERS", "3")
    monkeypatch.setenv("HOSTK8S_AGENT_VOLUME_NAME", "variable")
    settings = load_settings(workspace, {"workers": "4"})
    assert (settings.workers, settings.volume_name, settings.log_level, settings.log_format, settings.watchdog) == (
        *(4, "variable", "error", "json"),
        "auto",
    )
    origins = find_origins(workspace, {"workers": "4"})
    assert [origins[name] for name in ("workers", "volume_name", "log_level", "log_format", "watchdog")] == [
        "--set workers",
        "HOSTK8S_AGENT_VOLUME_NAME",
        f"{workspace.root / WORKSPACE_FILE_NAME}:3:13",
        f"{user_file}:4:13",
        "default",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers: 2\nwork: 3\n", ":2:7: work is not a setting .did you mean workers"),
        ("workers: 2\nworkers: 3\n", ":2:1: workers stands there twice, first in line 1"),
        ("- workers\n", "not names and values"),
        ("workers: [\n", ":2:1: "),
        ("workers: 2\x00\n", "settings.yaml"),
        ("#" * (MAX_BYTES + 1), "more than 65536 bytes"),
        (f"workers: {'[' * 60_000}", ":1:19: more than 10 brackets"),
        ("a: &a [x, x]\nworkers: *a\n", ":1:4: anchors, aliases and tags"),
        ("workers: true\n", ":1:10: workers: .*integer"),
        ("scan_interval_seconds: 1:30\n", "scan_interval_seconds: .*number"),
        ("WORKERS: 4\n", ":1:10: WORKERS is not a setting .did you mean workers"),
        ("snapshot_keep: {last: 1, last: 2}\n", ":1:26: last stands there twice"),
        ("snapshot_keep: {within: 2001-99-99, lasst: 1}\n", ":1:16: snapshot_keep: "),
        ("snapshot_schedule: 61 * * * *\n", ":1:20: snapshot_schedule: "),
        ("snapshot_timezone: Mars/Phobos\n", ":1:20: snapshot_timezone: "),
    ],
)
def test_a_wrong_file_is_told_with_its_line(workspace: Workspace, user_file: Path, text: str, words: str) -> None:
    """File, line and what to do."""
    user_file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words) as raised:
        load_settings(workspace, judge=load_default_policy)
    assert str(user_file) in f"{raised.value} {raised.value.hint}"


def test_a_value_is_read_as_it_stands(workspace: Workspace, user_file: Path) -> None:
    """YAML 1.1 would make false of off, a number of a name, and take a byte order mark or a carriage return amiss."""
    user_file.write_bytes(
        b"\xef\xbb\xbfsnapshot_schedule: off\r\nvolume_name: 0123\r\ndashboard: No\r\nkubeconfig: ~\r\n"
        b"snapshot_keep: {last: 2, within: 2d, tags: [1]}\r\n"
    )
    settings = load_settings(workspace)
    assert (settings.snapshot_schedule, settings.volume_name, settings.dashboard, settings.kubeconfig) == (
        *("off", "0123", False),
        None,
    )
    assert settings.snapshot_keep == {"last": 2, "within": "2d", "tags": ["1"]}


def test_toml_has_lines_and_a_byte_order_mark_too(workspace: Workspace) -> None:
    """What stands behind a table's name is of the table."""
    file = workspace.root / WORKSPACE_FILE_NAME
    file.write_text('\ufefflog_level = "debug"\nworkers = 0\n[snapshot_keep]\nlast = 2\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"hostk8s-agent.toml:2:11: workers: "):
        load_settings(workspace)


def test_a_list_is_json_in_a_variable_and_in_a_flag(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is none is refused in words that say so."""
    settings = load_settings(workspace, {"notify_about": '["recovery"]', "snapshot_keep": '{"last": 1}'})
    assert (settings.notify_about, settings.snapshot_keep) == (["recovery"], {"last": 1})
    with pytest.raises(SettingsError, match="--set notify_about: notify_about must be JSON"):
        load_settings(workspace, {"notify_about": "recovery"})
    monkeypatch.setenv("HOSTK8S_AGENT_SNAPSHOT_KEEP", "{bad")
    with pytest.raises(SettingsError, match="HOSTK8S_AGENT_SNAPSHOT_KEEP: snapshot_keep must be JSON") as raised:
        load_settings(workspace)
    assert '"last": 3' in raised.value.hint


def test_a_variable_that_names_no_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in a name would be in force nowhere, and nobody would know."""
    monkeypatch.setenv("HOSTK8S_AGENT_WORKER", "4")
    monkeypatch.setenv("HOSTK8S_AGENT_WORKERS", "4")
    assert find_unknown_variables() == (
        "HOSTK8S_AGENT_WORKER is ignored: worker is not a setting (did you mean workers?)",
    )


def test_the_last_good_settings_stay_in_force(workspace: Workspace, user_file: Path) -> None:
    """Over a reload and over a restart, and the problem is told until the file is mended."""
    user_file.write_text("workers: 5\n", encoding="utf-8")
    live = LiveSettings(workspace)
    user_file.write_text("workers: 500\n", encoding="utf-8")
    assert live.has_changed()
    assert not live.reload()
    assert (live.current.workers, [problem.code for problem in live.problems()]) == (5, ["SettingsInvalid"])
    restarted = LiveSettings(workspace)
    assert (restarted.current.workers, len(restarted.problems())) == (5, 1)
    user_file.write_text("workers: 6\n", encoding="utf-8")
    assert restarted.reload()
    assert (restarted.current.workers, restarted.problems(), restarted.has_changed()) == (6, (), False)


def test_without_good_settings_nothing_begins(workspace: Workspace, user_file: Path) -> None:
    """A first start with a wrong file is refused: defaults could mean another volume."""
    user_file.write_text("workers: 500\n", encoding="utf-8")
    with pytest.raises(SettingsError):
        LiveSettings(workspace)


def test_settings_that_cannot_be_meant_together_are_refused_like_wrong_ones(
    workspace: Workspace, user_file: Path
) -> None:
    """A schedule is one only for whoever can read schedules."""
    user_file.write_text("snapshot_schedule: every 1h\n", encoding="utf-8")
    live = LiveSettings(workspace, judge=load_default_policy)
    user_file.write_text("snapshot_schedule: hourly\n", encoding="utf-8")

    assert not live.reload()

    assert live.current.snapshot_schedule == "every 1h"
    assert "snapshot_schedule: " in live.problems()[0].message


def test_every_setting_is_documented() -> None:
    """Meaning, values and default: the page and the schema are written from the model (make schema)."""
    assert all(field.description for field in Settings.model_fields.values())
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert render_settings_page() in page
    schema = json.loads((ROOT / "docs/settings.schema.json").read_text(encoding="utf-8"))
    assert schema == build_settings_schema()


def test_the_schema_is_what_an_editor_needs() -> None:
    """It takes what is right and finds what is wrong."""
    validator = jsonschema.Draft202012Validator(build_settings_schema())
    assert validator.is_valid(yaml.safe_load("workers: 4\nkubeconfig: /x\nlog_level: debug\n"))
    for wrong in ("workers: 0", "work: 4", "log_level: loud"):
        assert not validator.is_valid(yaml.safe_load(wrong))

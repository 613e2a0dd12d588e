"""Where a workspace is, and where the agent keeps what is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.errors import WorkspaceError
from hostk8s_agent.pacing import Backoff
from hostk8s_agent.workspace import (
    Workspace,
    find_workspace,
    open_workspace,
    read_environment_file,
    runtime_folders,
    state_folder,
)


def test_a_workspace_is_found_upwards(tmp_path: Path) -> None:
    """A command works from wherever in the checkout a person stands."""
    inner = tmp_path / "software/stacks/foundation/airflow"
    inner.mkdir(parents=True)
    assert find_workspace(inner) == Workspace(tmp_path.resolve())


def test_a_workspace_whose_stacks_are_gone_is_still_found(tmp_path: Path) -> None:
    """`status` must tell that the stacks folder is missing, not that there is no workspace."""
    workspace = Workspace(tmp_path.resolve() / "checkout")
    (workspace.root / "data").mkdir(parents=True)
    state_folder(workspace).mkdir(parents=True)
    assert find_workspace(workspace.root / "data") == workspace


def test_no_workspace_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """Neither a guess nor a traceback."""
    with pytest.raises(WorkspaceError) as raised:
        find_workspace(tmp_path)
    assert "--workspace" in raised.value.hint


def test_a_named_workspace_need_not_have_stacks_yet(tmp_path: Path) -> None:
    """The stacks folder may appear later; a workspace that is no folder is a slip."""
    assert open_workspace(tmp_path).stacks_root == tmp_path.resolve() / "software/stacks"
    with pytest.raises(WorkspaceError):
        open_workspace(tmp_path / "missing")


def test_a_workspace_that_cannot_be_looked_at_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is too long, links in a circle, no home, and a folder that is gone while one is in it."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for folder, words in ((tmp_path / ("a" * 5000), "File name too long"), (loop, "circle")):
        with pytest.raises(WorkspaceError, match=words) as raised:
            open_workspace(folder)
        assert len(raised.value.message) < 400
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(WorkspaceError, match="is gone"):
        choose_workspace(None)


def test_who_has_no_home_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user without an entry in passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(WorkspaceError, match="home folder") as raised:
        state_folder(Workspace(tmp_path), {})
    assert raised.value.hint == "set HOME to it"


def test_two_workspaces_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    """Git worktrees are often called alike."""
    first, second = Workspace(tmp_path / "a/hostk8s"), Workspace(tmp_path / "b/hostk8s")
    assert first.identity.startswith("hostk8s-")
    assert first.identity != second.identity
    assert state_folder(first, {"XDG_STATE_HOME": "/s"}).parent == Path("/s/hostk8s-agent")


def test_a_strange_name_gives_a_plain_identity(tmp_path: Path) -> None:
    """The name goes into paths and unit names."""
    identity = Workspace(tmp_path / "my work; rm -rf ~").identity
    assert set(identity) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_systemd_says_where_state_goes(tmp_path: Path) -> None:
    """StateDirectory= of the unit wins over what a user would have."""
    folder = state_folder(Workspace(tmp_path), {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "XDG_STATE_HOME": "/s"})
    assert folder.parent == Path("/var/lib/x")


def test_the_user_runtime_folder_is_preferred(tmp_path: Path) -> None:
    """The socket is where only its user can reach it."""
    assert runtime_folders(Workspace(tmp_path), {"XDG_RUNTIME_DIR": "/run/user/7"})[0].parent == Path(
        "/run/user/7/hostk8s-agent"
    )
    assert len(runtime_folders(Workspace(tmp_path), {})) == 1


def test_the_environment_file_is_read_as_make_and_dotenv_do(tmp_path: Path) -> None:
    """HostK8s' .env names the cluster and the kubeconfig."""
    (tmp_path / ".env").write_text(
        "# comment\nexport CLUSTER_NAME=dev\nKUBECONFIG_PATH='data/my config' \nEMPTY=\nX=1 # note\nnonsense\n",
        encoding="utf-8",
    )
    assert read_environment_file(Workspace(tmp_path)) == {
        "CLUSTER_NAME": "dev",
        "KUBECONFIG_PATH": "data/my config",
        "EMPTY": "",
        "X": "1",
    }
    assert read_environment_file(Workspace(tmp_path / "other")) == {}


def test_a_back_off_grows_to_its_cap_and_starts_again() -> None:
    """0.8 s, doubled, up to 30 s, spread by the jitter; forever without overflow."""
    backoff = Backoff(random=lambda: 0.5)
    assert [round(backoff.next_seconds(), 2) for _ in range(8)] == [1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 45.0, 45.0]
    for _ in range(2_000):
        assert backoff.next_seconds() == 45.0
    backoff.reset()
    assert backoff.next_seconds() == pytest.approx(1.2)

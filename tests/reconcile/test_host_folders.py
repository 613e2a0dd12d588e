"""The folders that HostK8s keeps in the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hostk8s_agent.reconcile.host_folders import HostFolders


def look(folder: Path) -> tuple[int, int, str]:
    """Owner and mode."""
    found = folder.lstat()
    return found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace that belongs to a user, while the agent runs as root."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    os.chown(folder, 1000, 1001)
    return folder


def ensure(root: Path, *, with_deprecated: bool = False) -> HostFolders:
    """Look once."""
    folders = HostFolders(root, with_deprecated=with_deprecated, interval_seconds=60)
    folders.ensure()
    return folders


def test_what_is_missing_is_made_for_the_workspaces_owner(root: Path) -> None:
    """Two folders always; the deprecated ones only when they are asked for."""
    assert ensure(root).problems() == ()
    assert sorted(one.name for one in (root / "data").iterdir()) == ["kubeconfig", "registry"]
    assert look(root / "data") == look(root / "data/kubeconfig") == (1000, 1001, "0o755")
    ensure(root, with_deprecated=True)
    assert len(list((root / "data").iterdir())) == 5


def test_drift_is_put_right_and_what_someone_chose_is_left(root: Path) -> None:
    """Root's folder goes to the workspace's owner; a database's owner stays; a tightened mode stays."""
    ensure(root, with_deprecated=True)
    os.chown(root / "data/registry", 0, 0)
    (root / "data/registry").chmod(0o100)
    (root / "data/kubeconfig").chmod(0o700)
    os.chown(root / "data/postgres", 26, 26)
    (root / "data/storage").chmod(0o700)
    (root / "data/registry/blob").write_text("kept")
    ensure(root, with_deprecated=True)
    assert look(root / "data/registry") == (1000, 1001, "0o700")
    assert look(root / "data/kubeconfig") == (1000, 1001, "0o700")
    assert look(root / "data/postgres") == (26, 26, "0o755")
    assert look(root / "data/storage") == (1000, 1001, "0o755")
    assert (root / "data/registry/blob").stat().st_uid == 0


@pytest.mark.parametrize("where", ["data", "data/registry"])
def test_a_link_is_not_followed(root: Path, tmp_path: Path, where: str) -> None:
    """What a link leads to is not touched, nothing is made there, and the person is told."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (root / where).parent.mkdir(exist_ok=True)
    (root / where).symlink_to(outside)
    problems = ensure(root).problems()
    assert {one.code for one in problems} == {"HostFolderObstructed"}
    assert "data/registry" in " ".join(one.message for one in problems)
    assert (look(outside), list(outside.iterdir())) == ((0, 0, "0o700"), [])


def test_a_file_in_the_way_is_left(root: Path) -> None:
    """It is told, and told no more once it is gone."""
    (root / "data").write_text("precious")
    folders = ensure(root)
    assert len(folders.problems()) == 2
    assert (root / "data").read_text() == "precious"
    (root / "data").unlink()
    folders.ensure()
    assert folders.problems() == ()


def test_a_workspace_that_is_away_is_not_made(tmp_path: Path) -> None:
    """An unmounted disk gets no folder in its mount point's place."""
    assert ensure(tmp_path / "gone").problems() == ()
    assert not (tmp_path / "gone").exists()


def test_on_a_file_share_nothing_is_chowned(root: Path) -> None:
    """A share of macOS or Windows shows owners that are not its own: folders are made there, and that is all."""
    folders = HostFolders(root, with_deprecated=False, interval_seconds=60, is_share=lambda _: True)
    folders.ensure()
    assert look(root / "data/registry")[:2] == (0, 0)
    (root / "data/registry").chmod(0o100)
    folders.ensure()
    assert look(root / "data/registry") == (0, 0, "0o100")


def test_they_come_back_by_themselves(root: Path, wait_until: Callable[..., None]) -> None:
    """HostK8s' `make clean` removes data/ as a whole."""
    folders = HostFolders(root, with_deprecated=False, interval_seconds=0.05)
    folders.start()
    try:
        wait_until((root / "data/registry").is_dir, "made")
        (root / "data/registry").rmdir()
        wait_until((root / "data/registry").is_dir, "made again")
    finally:
        folders.stop()

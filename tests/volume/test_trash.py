"""The trash, whatever the way in: a purged directory is wholly there or wholly where it was, and comes back whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.volume.access import TreeSize
from hostk8s_agent.volume.errors import DirectoryGoneError, NotInTrashError, PathOccupiedError
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.volume.trash import Trash

if TYPE_CHECKING:
    from tests.volume.conftest import Place

NOW = 1_700_000_000.0
SIZE = TreeSize(4, 1, NOW)


@pytest.fixture
def old(place: Place) -> Path:
    """A directory with data, in a parent of its own."""
    folder = place.root / "stack/old"
    folder.mkdir(parents=True)
    (folder / "file").write_text("data")
    os.chown(folder, 26, 26)
    folder.chmod(0o700)
    return folder


def test_a_purged_directory_comes_back_as_it_was(place: Place, old: Path) -> None:
    """Purged, listed, brought back, though its parent was removed meanwhile; nothing is left in the trash."""
    trash = Trash(place.access, "mine")
    item = trash.put("/mnt/pv/stack/old", "stack", SIZE, NOW)
    assert not old.exists()
    assert trash.items() == (item,)
    assert Trash(place.access, "another's").items() == ()
    folder = place.root / ".hostk8s-trash"
    manifest = json.loads((folder / f"manifests/{item.id}.json").read_text())
    assert (manifest["path"], manifest["stack"], manifest["size_bytes"]) == ("/mnt/pv/stack/old", "stack", 4)
    assert folder.stat().st_mode & 0o7777 == 0o700
    old.parent.rmdir()
    assert trash.undo("/mnt/pv/stack/old") == item
    assert (old / "file").read_text() == "data"
    assert (old.stat().st_uid, old.stat().st_mode & 0o7777) == (26, 0o700)
    assert [*(folder / "manifests").iterdir(), *(folder / "trees").iterdir()] == []
    with pytest.raises(NotInTrashError):
        trash.undo("/mnt/pv/stack/old")


def test_what_stands_at_the_place_by_now_is_not_replaced(place: Place, old: Path) -> None:
    """An undo onto a directory that was made anew is refused, and what is in the trash stays there."""
    trash = Trash(place.access, "mine")
    item = trash.put("/mnt/pv/stack/old", "stack", SIZE, NOW)
    old.mkdir()
    with pytest.raises(PathOccupiedError):
        trash.undo("/mnt/pv/stack/old")
    assert trash.items() == (item,)


def test_emptying_deletes_for_good_and_only_ones_own(place: Place, old: Path) -> None:
    """Only this workspace's items are deleted; what lies beside them stays."""
    other = Trash(place.access, "another's")
    (place.root / "theirs").mkdir()
    theirs = other.put("/mnt/pv/theirs", "other", None, NOW)
    trash = Trash(place.access, "mine")
    item = trash.put("/mnt/pv/stack/old", "stack", SIZE, NOW)
    assert trash.empty() == (item,)
    assert trash.empty() == ()
    assert other.items() == (theirs,)
    assert sorted(one.name for one in (place.root / ".hostk8s-trash").iterdir()) == ["manifests", "trees"]
    assert old.parent.is_dir()


@pytest.fixture
def folder_access(tmp_path: Path) -> HostDirectoryAccess:
    """A plain folder: what a crash leaves is the same in all three."""
    (tmp_path / "pv/old").mkdir(parents=True)
    (tmp_path / "pv/old/file").write_text("data")
    return HostDirectoryAccess(tmp_path / "pv")


class DyingAccess:
    """A way in that ends before the call of a number: what a kill at that moment leaves."""

    def __init__(self, access: HostDirectoryAccess, calls: int) -> None:
        self._access = access
        self._left = calls

    def __getattr__(self, name: str) -> object:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return getattr(self._access, name)


@pytest.mark.parametrize("verb", ["put", "undo", "empty"])
def test_a_crash_at_any_step_loses_nothing_and_is_put_right(tmp_path: Path, verb: str) -> None:
    """Killed before each call in turn: after the recovery the data is at its place, or in the trash, whole."""
    finished = False
    for calls in range(40):
        root = tmp_path / f"{calls}"
        (root / "old").mkdir(parents=True)
        (root / "old/file").write_text("data")
        access = HostDirectoryAccess(root)
        if verb != "put":
            Trash(access, "mine").put("/mnt/pv/old", "stack", SIZE, NOW)
        dying = Trash(DyingAccess(access, calls), "mine")  # type: ignore[arg-type]
        try:
            if verb == "put":
                dying.put("/mnt/pv/old", "stack", SIZE, NOW)
            elif verb == "undo":
                dying.undo("/mnt/pv/old")
            else:
                dying.empty()
            finished = True
        except KeyboardInterrupt:
            pass
        trash = Trash(access, "mine")
        trash.recover()
        items = trash.items()
        at_place = (root / "old/file").exists()
        in_trash = [(root / f".hostk8s-trash/trees/{item.id}/file").exists() for item in items]
        assert all(in_trash)
        # Only what was on its way out for good may be gone.
        assert at_place + len(in_trash) == 1 or (verb == "empty" and not at_place and not in_trash)
        folder = root / ".hostk8s-trash"
        assert not (folder / "removing").exists()
        assert not (folder / "manifests").exists() or len(list((folder / "manifests").iterdir())) == len(items)
        access.close()
        if finished:
            break
    assert finished


def test_a_move_that_fails_leaves_no_manifest(folder_access: HostDirectoryAccess, tmp_path: Path) -> None:
    """What could not be moved is not listed as if it had been."""
    trash = Trash(folder_access, "mine")
    with pytest.raises(DirectoryGoneError):
        trash.put("/mnt/pv/absent", "stack", None, NOW)
    assert trash.items() == ()
    assert list((tmp_path / "pv/.hostk8s-trash/manifests").iterdir()) == []


def test_a_manifest_that_is_not_whole_or_lies_is_left_out(folder_access: HostDirectoryAccess, tmp_path: Path) -> None:
    """Cut, foreign, or naming a path outside the volume: none of these leads anything anywhere."""
    trash = Trash(folder_access, "mine")
    item = trash.put("/mnt/pv/old", "stack", SIZE, NOW)
    manifests = tmp_path / "pv/.hostk8s-trash/manifests"
    whole = json.loads((manifests / f"{item.id}.json").read_text())
    (manifests / "cut.json").write_text('{"id": "cut"')
    (manifests / "other.json").write_text(json.dumps(whole))
    (manifests / "outside.json").write_text(json.dumps({**whole, "id": "outside", "path": "/mnt/pv/../../etc"}))
    assert trash.items() == (item,)

"""Moving, exchanging, measuring and removing trees, and small files of ours, whatever the way in."""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.volume.conftest import BUSYBOX_IMAGE

from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.volume.access import TreeSize
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    ExchangeImpossibleError,
    PathObstructedError,
    PathOccupiedError,
    PathOutsideVolumeError,
    ToolMissingError,
    VolumeGoneError,
)
from hostk8s_agent.volume.helper_container import HelperContainerAccess

if TYPE_CHECKING:
    from tests.volume.conftest import OwnVolume, Place

OURS = "/mnt/pv/.hostk8s-test"


@pytest.fixture(autouse=True)
def _own_folder(request: pytest.FixtureRequest) -> None:
    """A folder of ours, where a way in is tested."""
    if "place" not in request.fixturenames:
        return
    place: Place = request.getfixturevalue("place")
    assert place.access.apply_directories([CreateDirectory(OURS, 0, 0, 0o700, "absent")]) == (None,)


@pytest.fixture
def tree(place: Place) -> Path:
    """A directory with an owner of its own and something in it."""
    folder = place.root / "a/b c"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/file").write_bytes(b"x" * 1000)
    (folder / "file").write_bytes(b"y" * 24)
    (folder / "link").symlink_to("/etc")
    os.chown(folder, 26, 27)
    folder.chmod(0o1750)
    return folder


def test_a_directory_is_moved_with_all_that_it_is(place: Place, tree: Path) -> None:
    """A move changes the name and nothing else: the very same inode is at the target."""
    before = tree.lstat()
    place.access.move_directory("/mnt/pv/a/b c", f"{OURS}/x")
    moved = place.root / ".hostk8s-test/x"
    assert not tree.exists()
    assert (moved.lstat().st_ino, moved.lstat().st_uid, stat.S_IMODE(moved.lstat().st_mode)) == (
        before.st_ino,
        26,
        0o1750,
    )
    assert (moved / "deep/er/file").read_bytes() == b"x" * 1000
    place.access.move_directory(f"{OURS}/x", "/mnt/pv/a/b c")
    assert tree.lstat().st_ino == before.st_ino


def test_what_stands_at_the_target_is_never_replaced(place: Place, tree: Path) -> None:
    """Neither an empty directory, nor a full one, nor a dangling link gives way to a move."""
    (place.root / ".hostk8s-test/empty").mkdir()
    (place.root / ".hostk8s-test/link").symlink_to("nowhere")
    for name in ("empty", "link"):
        with pytest.raises(PathOccupiedError):
            place.access.move_directory("/mnt/pv/a/b c", f"{OURS}/{name}")
    assert (tree / "file").exists()
    assert (place.root / ".hostk8s-test/link").is_symlink()


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("/mnt/pv/absent", f"{OURS}/x", DirectoryGoneError),
        ("/mnt/pv/a/b c/file", f"{OURS}/x", PathObstructedError),
        ("/mnt/pv/a/b c/link", f"{OURS}/x", PathObstructedError),
        ("/mnt/pv/a/b c", f"{OURS}/no/folder", DirectoryGoneError),
        ("/mnt/pv/a/b c", "/mnt/pv/elsewhere", PathOutsideVolumeError),
        (OURS, f"{OURS}/x", PathOutsideVolumeError),
        (f"{OURS}/../a", f"{OURS}/x", PathOutsideVolumeError),
    ],
)
def test_a_move_that_may_not_be_changes_nothing(
    place: Place, tree: Path, source: str, target: str, error: type[Exception]
) -> None:
    """Only a directory is moved, only to a name in a folder that exists, and one of the two is ours."""
    with pytest.raises(error):
        place.access.move_directory(source, target)
    assert (tree / "deep/er/file").exists()
    assert list((place.root / ".hostk8s-test").iterdir()) == []


def test_two_directories_change_places_in_one_step(place: Place, tree: Path) -> None:
    """The live tree and the staged one are swapped, and swapped back."""
    staged = place.root / ".hostk8s-test/staged"
    staged.mkdir()
    (staged / "new").write_text("new")
    before = tree.lstat().st_ino
    place.access.exchange_directories("/mnt/pv/a/b c", f"{OURS}/staged")
    assert [one.name for one in tree.iterdir()] == ["new"]
    assert staged.lstat().st_ino == before
    place.access.exchange_directories("/mnt/pv/a/b c", f"{OURS}/staged")
    assert tree.lstat().st_ino == before
    with pytest.raises(DirectoryGoneError):
        place.access.exchange_directories("/mnt/pv/a/b c", f"{OURS}/absent")


def test_trees_are_measured_without_following_a_link(place: Place, tree: Path) -> None:
    """Bytes of the regular files, entries, and the newest time of anything in the tree."""
    (place.root / "empty").mkdir()
    os.utime(tree / "deep/er/file", (4_000_000_000, 4_000_000_000))
    sizes = place.access.measure_trees(["/mnt/pv/a/b c", "/mnt/pv/absent", "/mnt/pv/empty"])
    assert sizes[0] == TreeSize(1024, 5, 4_000_000_000)
    assert isinstance(sizes[1], DirectoryGoneError)
    assert isinstance(sizes[2], TreeSize)
    assert (sizes[2].size_bytes, sizes[2].entries) == (0, 0)


def test_what_changed_is_told_by_a_time_that_nobody_can_set(place: Place, tree: Path) -> None:
    """An old modification time hides nothing; through the engine it is not known."""
    before = max(path.lstat().st_ctime for path in tree.rglob("*"))
    (tree / "new").write_bytes(b"x" * 30)
    os.utime(tree / "new", (1, 1))
    # Each kernel tick is one time: what is written within the tick of `before` is not after it.
    while (tree / "new").stat().st_ctime <= before:
        os.utime(tree / "new", (1, 1))
    (size,) = place.access.measure_trees(["/mnt/pv/a/b c"], changed_since=before)
    assert isinstance(size, TreeSize)
    assert size.changed_bytes == (None if place.access.access == "helper-container" else 30)


def test_only_what_is_ours_is_removed(place: Place, tree: Path, tmp_path: Path) -> None:
    """A tree of ours goes with all that is in it, behind no link; a stack's never does."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    place.access.move_directory("/mnt/pv/a/b c", f"{OURS}/x")
    (place.root / ".hostk8s-test/x/deep/away").symlink_to(outside)
    place.access.remove_tree(f"{OURS}/x")
    place.access.remove_tree(f"{OURS}/x")
    assert list((place.root / ".hostk8s-test").iterdir()) == []
    assert (outside / "kept").exists()
    for path in ("/mnt/pv/a", "/mnt/pv/.hostk", f"{OURS}/../a"):
        with pytest.raises(PathOutsideVolumeError):
            place.access.remove_tree(path)
    assert tree.parent.is_dir()


def test_small_files_are_written_and_read(place: Place) -> None:
    """A file of ours is read back as it was written, and written over; links and folders are left out."""
    assert place.access.read_files("/mnt/pv/.hostk8s-absent/x") == {}
    content = json.dumps({"path": "/mnt/pv/ü", "n": secrets.token_hex(2000)}).encode()
    place.access.write_file(f"{OURS}/one.json", b"old")
    place.access.write_file(f"{OURS}/one.json", content)
    (place.root / ".hostk8s-test/link.json").symlink_to("/etc/passwd")
    (place.root / ".hostk8s-test/folder").mkdir()
    assert place.access.read_files(OURS) == {"one.json": content}
    written = (place.root / ".hostk8s-test/one.json").stat()
    assert (written.st_uid, stat.S_IMODE(written.st_mode)) == (0, 0o600)
    for path in ("/mnt/pv/one.json", "/mnt/pv/a/.hostk8s"):
        with pytest.raises(PathOutsideVolumeError):
            place.access.write_file(path, b"x")
    with pytest.raises(DirectoryGoneError):
        place.access.write_file(f"{OURS}/absent/one.json", b"x")


@pytest.mark.engine
def test_without_a_nodes_image_nothing_is_renamed_and_the_way_out_is_named(own_volume: OwnVolume) -> None:
    """A helper that can only use the archive API says so, and still measures, by reading."""
    (own_volume.root / "a").mkdir()
    (own_volume.root / "a/file").write_bytes(b"x" * 10)
    (own_volume.root / "a/link").symlink_to("/etc")
    (own_volume.root / ".hostk8s-test/b").mkdir(parents=True)
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        with pytest.raises(ToolMissingError, match="neither a node of the cluster"):
            access.move_directory("/mnt/pv/a", f"{OURS}/a")
        with pytest.raises(ExchangeImpossibleError):
            access.exchange_directories("/mnt/pv/a", f"{OURS}/b")
        (size,) = access.measure_trees(["/mnt/pv/a"])
    assert isinstance(size, TreeSize)
    assert (size.size_bytes, size.entries) == (10, 2)
    assert (own_volume.root / "a/file").exists()


@pytest.mark.engine
@pytest.mark.usefixtures("tool_cluster")
def test_an_image_without_perl_renames_with_mv(own_volume: OwnVolume) -> None:
    """Where only mv is at hand, it does the same: moved, or refused, and never into what stands there."""
    (own_volume.root / "a").mkdir()
    (own_volume.root / "a/file").write_bytes(b"x")
    (own_volume.root / ".hostk8s-test/full").mkdir(parents=True)
    with closing(
        HelperContainerAccess(own_volume.engine, own_volume.helper, find_tool_image=lambda: BUSYBOX_IMAGE)
    ) as access:
        access.move_directory("/mnt/pv/a", f"{OURS}/a")
        assert (own_volume.root / ".hostk8s-test/a/file").exists()
        with pytest.raises(PathOccupiedError):
            access.move_directory(f"{OURS}/a", f"{OURS}/full")
        with pytest.raises(ExchangeImpossibleError):
            access.exchange_directories(f"{OURS}/a", f"{OURS}/full")
        access.remove_tree(f"{OURS}/a")
        assert not (own_volume.root / ".hostk8s-test/a").exists()
        assert [one["State"] for one in own_volume.list_containers()] == ["created"]


@pytest.mark.engine
def test_no_tool_runs_on_a_volume_that_is_gone(own_volume: OwnVolume) -> None:
    """A container is never made for a volume that the engine would make anew, empty."""
    gone: list[bool] = []

    def require_same_volume() -> None:
        if gone:
            raise VolumeGoneError("gone")

    access = HelperContainerAccess(
        own_volume.engine,
        own_volume.helper,
        find_tool_image=lambda: BUSYBOX_IMAGE,
        require_same_volume=require_same_volume,
    )
    with closing(access):
        (own_volume.root / "a").mkdir()
        (own_volume.root / ".hostk8s-test").mkdir()
        access.observe_directories(["/mnt/pv/a"])
        gone.append(True)
        with pytest.raises(VolumeGoneError):
            access.move_directory("/mnt/pv/a", f"{OURS}/a")
        assert len(own_volume.list_helpers()) == 1

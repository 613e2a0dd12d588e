"""What every way into the volume must do with directories, on the real thing."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory
from hostk8s_agent.plan.observed import ObservedDirectory
from hostk8s_agent.volume.errors import (
    AccessClosedError,
    DirectoryGoneError,
    PathObstructedError,
    PathOutsideVolumeError,
    VolumeGoneError,
)

if TYPE_CHECKING:
    from tests.volume.conftest import Place

ODD_NAMES = (
    "a b",
    "ünïcödé-雪",
    "percent%20",
    "plus+and&eq=",
    "quote'\"",
    "-dash",
    "#hash?",
    "x" * 255,
    "dot.",
    "tab\\",
)


def look(path: Path) -> tuple[int, int, str]:
    """Owner and mode as they stand on disk."""
    found = path.lstat()
    assert stat.S_ISDIR(found.st_mode)
    return found.st_uid, found.st_gid, oct(stat.S_IMODE(found.st_mode))


def create(path: str, uid: int = 1000, gid: int = 1000, mode: int = 0o755) -> CreateDirectory:
    """An action with the contract's defaults."""
    return CreateDirectory(path, uid, gid, mode, "absent")


def change(path: str, uid: int, gid: int, mode: int, *, fields: str) -> ChangeDirectory:
    """An action that changes the fields that are named in words."""
    return ChangeDirectory(path, uid, gid, mode, "owner" in fields, "mode" in fields, "drift", ())


def test_a_new_directory_gets_its_owner_and_mode(place: Place) -> None:
    """A created directory has exactly what was declared."""
    assert place.access.apply_directories([create("/mnt/pv/a", 26, 70000, 0o750)]) == (None,)
    assert look(place.root / "a") == (26, 70000, "0o750")


def test_missing_parents_are_root_755(place: Place) -> None:
    """Parents that the agent has to make are root:root 755, whatever the directory is."""
    old = os.umask(0o077)
    try:
        assert place.access.apply_directories([create("/mnt/pv/a/b/c", 26, 26, 0o700)]) == (None,)
    finally:
        os.umask(old)
    assert [look(place.root / one) for one in ("a", "a/b", "a/b/c")] == [
        (0, 0, "0o755"),
        (0, 0, "0o755"),
        (26, 26, "0o700"),
    ]


def test_an_existing_parent_is_not_touched(place: Place) -> None:
    """A parent that exists keeps owner and mode."""
    (place.root / "a").mkdir()
    os.chown(place.root / "a", 7, 8)
    (place.root / "a").chmod(0o1700)
    assert place.access.apply_directories([create("/mnt/pv/a/b")]) == (None,)
    assert look(place.root / "a") == (7, 8, "0o1700")
    assert look(place.root / "a/b") == (1000, 1000, "0o755")


def test_a_setgid_parent_leaves_no_trace(place: Place) -> None:
    """Group and setgid bit that a new directory inherits are replaced by the declared ones."""
    (place.root / "a").mkdir()
    os.chown(place.root / "a", 7, 8)
    (place.root / "a").chmod(0o2775)
    assert place.access.apply_directories([create("/mnt/pv/a/b/c", 5, 6, 0o755)]) == (None,)
    assert look(place.root / "a/b") == (0, 0, "0o755")
    assert look(place.root / "a/b/c") == (5, 6, "0o755")


def test_the_volumes_root_keeps_owner_and_mode(place: Place) -> None:
    """Nothing that is made below the root changes the root."""
    os.chown(place.root, 3, 4)
    place.root.chmod(0o751)
    assert place.access.apply_directories([create("/mnt/pv/a/b")]) == (None,)
    assert look(place.root) == (3, 4, "0o751")


@pytest.mark.parametrize("mode", [0o2775, 0o1777, 0o4711, 0o000, 0o7777])
def test_special_modes_are_kept(place: Place, mode: int) -> None:
    """Setuid, setgid, sticky and the empty mode arrive, and are observed."""
    assert place.access.apply_directories([create("/mnt/pv/a", 26, 26, mode)]) == (None,)
    assert look(place.root / "a") == (26, 26, oct(mode))
    assert place.access.observe_directories(["/mnt/pv/a"]) == (
        ObservedDirectory("/mnt/pv/a", "directory", 26, 26, mode),
    )


def test_a_change_of_owner_leaves_the_mode(place: Place) -> None:
    """Owner alone: the mode on disk stays, even where it is not the declared one."""
    (place.root / "a").mkdir()
    (place.root / "a").chmod(0o2711)
    assert place.access.apply_directories([change("/mnt/pv/a", 26, 27, 0o755, fields="owner")]) == (None,)
    assert look(place.root / "a") == (26, 27, "0o2711")


def test_a_change_of_mode_leaves_the_owner(place: Place) -> None:
    """Mode alone: the owner on disk stays, even where it is not the declared one."""
    (place.root / "a").mkdir()
    os.chown(place.root / "a", 7, 8)
    assert place.access.apply_directories([change("/mnt/pv/a", 26, 27, 0o2770, fields="mode")]) == (None,)
    assert look(place.root / "a") == (7, 8, "0o2770")


def test_a_change_touches_nothing_inside(place: Place) -> None:
    """Owner and mode are the directory's alone, never what is in it, and its time stays."""
    inner = place.root / "a/inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("kept")
    os.chown(inner, 7, 8)
    os.utime(place.root / "a", ns=(10**18 + 1, 10**18 + 123456789))
    assert place.access.apply_directories([change("/mnt/pv/a", 26, 27, 0o700, fields="owner mode")]) == (None,)
    assert look(place.root / "a") == (26, 27, "0o700")
    assert look(inner) == (7, 8, "0o755")
    assert (inner / "file").lstat().st_uid == 0
    assert (inner / "file").read_text() == "kept"
    assert (place.root / "a").stat().st_mtime_ns == 10**18 + 123456789


def test_a_new_directory_has_the_time_of_its_making(place: Place) -> None:
    """The time of a new directory is now, not the epoch."""
    place.access.apply_directories([create("/mnt/pv/a/b")])
    for one in ("a", "a/b"):
        assert abs((place.root / one).stat().st_mtime - time.time()) < 30


def test_a_directory_that_came_meanwhile_gets_owner_and_mode(place: Place) -> None:
    """A create for a directory that someone else has just made ends in the declared state, its content kept."""
    (place.root / "a").mkdir()
    (place.root / "a/file").write_text("kept")
    assert place.access.apply_directories([create("/mnt/pv/a", 26, 27, 0o711)]) == (None,)
    assert look(place.root / "a") == (26, 27, "0o711")
    assert (place.root / "a/file").read_text() == "kept"


def test_a_change_of_an_absent_directory_fails_and_makes_nothing(place: Place) -> None:
    """A directory that went away is not made by a change."""
    (outcome,) = place.access.apply_directories([change("/mnt/pv/a", 26, 27, 0o711, fields="owner")])
    assert isinstance(outcome, DirectoryGoneError)
    assert list(place.root.iterdir()) == []


def test_what_stands_at_each_path_is_observed_in_order(place: Place) -> None:
    """Directory, absent, file, symlink, FIFO and socket are told apart, in the order asked."""
    (place.root / "directory").mkdir(mode=0o700)
    (place.root / "file").write_text("x")
    (place.root / "symlink").symlink_to("directory")
    os.mkfifo(place.root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        folder = os.open(place.root, os.O_RDONLY)
        try:
            # Through /proc: a volume's own path is longer than a socket's may be.
            bound.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
    names = ["fifo", "absent", "socket", "directory", "symlink", "file", "absent/below"]
    observed = place.access.observe_directories([f"/mnt/pv/{one}" for one in names])
    assert observed == (
        ObservedDirectory("/mnt/pv/fifo", "other", obstacle="/mnt/pv/fifo"),
        ObservedDirectory("/mnt/pv/absent", "absent"),
        ObservedDirectory("/mnt/pv/socket", "other", obstacle="/mnt/pv/socket"),
        ObservedDirectory("/mnt/pv/directory", "directory", 0, 0, 0o700),
        ObservedDirectory("/mnt/pv/symlink", "symlink", obstacle="/mnt/pv/symlink"),
        ObservedDirectory("/mnt/pv/file", "file", obstacle="/mnt/pv/file"),
        ObservedDirectory("/mnt/pv/absent/below", "absent"),
    )


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host outside the volume, as a link's target: the real /etc is not put at risk by a bug."""
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o755)
    return folder


@pytest.mark.parametrize("target", ["/etc", "{outside}", "../" * 20 + "{outside}", "real", "dangling"])
def test_a_symlink_is_neither_followed_nor_removed(place: Place, outside: Path, target: str) -> None:
    """A link where a directory belongs is reported and left, wherever it leads."""
    target = target.format(outside=outside)
    # /etc has this owner and mode: following that link is found out without harm.
    uid, mode = (0, 0o755) if target == "/etc" else (26, 0o700)
    (place.root / "real").mkdir(mode=0o755)
    (place.root / "link").symlink_to(target)
    assert place.access.observe_directories(["/mnt/pv/link"]) == (
        ObservedDirectory("/mnt/pv/link", "symlink", obstacle="/mnt/pv/link"),
    )
    outcomes = place.access.apply_directories(
        [create("/mnt/pv/link", uid, uid, mode), change("/mnt/pv/link", uid, uid, mode, fields="owner mode")]
    )
    assert [type(one) for one in outcomes] == [PathObstructedError, PathObstructedError]
    assert "a symlink stands at /mnt/pv/link" in str(outcomes[0])
    assert (place.root / "link").readlink() == Path(target)
    assert look(place.root / "real") == look(outside) == (0, 0, "0o755")


@pytest.mark.parametrize("target", ["{outside}", "real"])
def test_a_symlink_in_a_parent_is_neither_followed_nor_removed(place: Place, outside: Path, target: str) -> None:
    """Nothing is made behind a link; the obstacle that is named is the link."""
    target = target.format(outside=outside)
    (place.root / "real").mkdir()
    (place.root / "link").symlink_to(target)
    path = "/mnt/pv/link/below/deeper"
    assert place.access.observe_directories([path]) == (ObservedDirectory(path, "symlink", obstacle="/mnt/pv/link"),)
    (outcome,) = place.access.apply_directories([create(path)])
    assert isinstance(outcome, PathObstructedError)
    assert (place.root / "link").readlink() == Path(target)
    assert list((place.root / "real").iterdir()) == list(outside.iterdir()) == []


def test_a_file_in_the_way_is_kept(place: Place) -> None:
    """A file at the path or in a parent is reported with its content untouched."""
    (place.root / "file").write_text("precious")
    observed = place.access.observe_directories(["/mnt/pv/file/below"])
    assert observed == (ObservedDirectory("/mnt/pv/file/below", "file", obstacle="/mnt/pv/file"),)
    outcomes = place.access.apply_directories([create("/mnt/pv/file"), create("/mnt/pv/file/below")])
    assert [type(one) for one in outcomes] == [PathObstructedError, PathObstructedError]
    assert (place.root / "file").read_text() == "precious"


def test_one_failure_stops_no_other_action(place: Place, outside: Path) -> None:
    """Each action has its own outcome, in order."""
    (place.root / "link").symlink_to(outside)
    outcomes = place.access.apply_directories([create("/mnt/pv/a"), create("/mnt/pv/link/x"), create("/mnt/pv/b/c")])
    assert [type(one) for one in outcomes] == [type(None), PathObstructedError, type(None)]
    assert look(place.root / "a") == look(place.root / "b/c") == (1000, 1000, "0o755")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names(place: Place, name: str) -> None:
    """Spaces, quotes, percent signs and any letters of the world reach the disk as they are."""
    if name == "tab\\":
        name = "tab\there"
    assert place.access.apply_directories([create(f"/mnt/pv/{name}/{name}", 5, 6, 0o711)]) == (None,)
    assert look(place.root / name / name) == (5, 6, "0o711")
    assert place.access.observe_directories([f"/mnt/pv/{name}/{name}"])[0].mode == 0o711


def test_a_name_that_no_file_system_holds_is_that_paths_problem(place: Place) -> None:
    """A component of 256 bytes fails alone."""
    path = f"/mnt/pv/{'y' * 256}"
    assert place.access.observe_directories([path, "/mnt/pv/a"])[1] == ObservedDirectory("/mnt/pv/a", "absent")
    outcomes = place.access.apply_directories([create(path), create("/mnt/pv/a")])
    assert isinstance(outcomes[0], VolumeError)
    assert outcomes[1] is None
    assert look(place.root / "a") == (1000, 1000, "0o755")


@pytest.mark.parametrize("path", ["/mnt/pv", "/mnt/pv/", "/mnt/pv/..", "/mnt/pv/a/../b", "/etc", "/mnt/pvx/a", "a"])
def test_a_path_outside_the_volume_is_refused(place: Place, path: str) -> None:
    """Whatever the contract's check let through, no call goes outside."""
    with pytest.raises(PathOutsideVolumeError):
        place.access.observe_directories([path])
    (outcome,) = place.access.apply_directories([create(path)])
    assert isinstance(outcome, PathOutsideVolumeError)


def test_a_thousand_directories_are_made_in_one_call(place: Place) -> None:
    """A large batch arrives whole."""
    actions = [create(f"/mnt/pv/stack-{number // 10}/d{number}", number, number, 0o750) for number in range(1000)]
    assert place.access.apply_directories(actions) == (None,) * 1000
    assert [look(place.root / f"stack-{number // 10}/d{number}") for number in range(1000)] == [
        (number, number, "0o750") for number in range(1000)
    ]


def test_two_threads_at_once_do_not_disturb_each_other(place: Place) -> None:
    """Overlapping calls from several threads all succeed, shared parents included."""
    outcomes: list[tuple[VolumeError | None, ...]] = []

    def work(thread: int) -> None:
        for number in range(5):
            outcomes.append(place.access.apply_directories([create(f"/mnt/pv/shared-{number}/d{thread}", thread, 9)]))
            place.access.observe_directories([f"/mnt/pv/shared-{number}/d{thread}", f"/mnt/pv/shared-{number}"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [(None,)] * 10
    for number in range(5):
        assert look(place.root / f"shared-{number}") == (0, 0, "0o755")
        assert [look(place.root / f"shared-{number}/d{thread}")[0] for thread in range(2)] == [0, 1]


def test_a_closed_access_says_so(place: Place) -> None:
    """After close, calls fail instead of opening everything anew."""
    place.access.close()
    with pytest.raises(AccessClosedError):
        place.access.observe_directories(["/mnt/pv/a"])


def test_may_set_owner_holds_for_root(place: Place) -> None:
    """The tests run as root, which may."""
    assert place.access.may_set_owner is True


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("place", [pytest.param("direct", marks=pytest.mark.engine), "host-directory"], indirect=True)
def test_a_root_that_is_removed_is_an_error_and_is_not_made_again(
    place: Place,
    comes_back: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A volume that goes away in mid-use is an error, also when an empty one has its name.

    The engine removes no volume that a helper container uses: for that way in see test_helper_container.py.
    """
    place.access.apply_directories([create("/mnt/pv/a")])
    place.root.rename(place.root.with_name("moved"))
    if comes_back:
        place.root.mkdir()
    with pytest.raises(VolumeGoneError):
        place.access.observe_directories(["/mnt/pv/a"])
    with pytest.raises(VolumeGoneError):
        place.access.apply_directories([create("/mnt/pv/b")])
    assert place.root.exists() is comes_back
    assert not comes_back or list(place.root.iterdir()) == []

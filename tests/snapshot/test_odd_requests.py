"""What a stranger asks for: each is refused in a sentence that says what to do, and changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import Ground, describe

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.snapshot_restore import RestoreOptions, restore
from hostk8s_agent.control.errors import RequestInvalidError, UnknownStackError
from hostk8s_agent.control.snapshot_answers import SnapshotAnswers
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.errors import (
    BundleRefusedError,
    NothingToUndoError,
    RepositoryUnusableError,
    RestoreFailedError,
    RestoreUnfitError,
    SnapshotError,
    SnapshotPinnedError,
    SnapshotUnknownError,
)
from hostk8s_agent.snapshot.expiring import Expiry
from hostk8s_agent.snapshot.exporting import export_snapshot, iterate_content
from hostk8s_agent.snapshot.model import SnapshotManifest
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.selecting import find_name_fault

NOTHING_ASKED = {"undo": False, "inUse": False, "scaleDown": False}


def take(ground: Ground, **fields: object) -> SnapshotManifest:
    """A snapshot of the ground's stack."""
    return ground.service.select(ground.create(**fields))


@contextmanager
def nothing_changes(ground: Ground) -> Iterator[None]:
    """Neither the tree nor what the repository holds."""

    def look() -> tuple[object, ...]:
        files = sorted(path for path in ground.repository.folder.rglob("*") if path.name != "lock")
        return describe(ground.path()), [(path, path.lstat().st_mtime_ns) for path in files if path.is_file()]

    before = look()
    yield
    assert look() == before


def test_a_file_that_is_there_is_never_written_over(ground: Ground, tmp_path: Path) -> None:
    """Whatever it is: a device, replaced by root, would be lost to all programs of the machine."""
    snapshot = take(ground)
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "to-nowhere").symlink_to("/nowhere/at/all")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("kept", "to-nowhere", "pipe", "folder"):
        before = (tmp_path / name).lstat()
        with pytest.raises(BundleRefusedError, match=f"{name} exists already"):
            write_bundle(ground.repository, snapshot, tmp_path / name)
        assert (tmp_path / name).lstat() == before
    assert (tmp_path / "kept").read_text() == "kept"


def test_nothing_is_copied_where_it_cannot_be_or_must_not(ground: Ground, tmp_path: Path) -> None:
    """Onto a file, below one, into the repository itself."""
    snapshot = take(ground)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full/of").mkdir(parents=True)
    places = [tmp_path / "file", tmp_path / "file/below", Path("/proc/nope"), tmp_path / "full"]
    inside = ground.repository.folder
    for place in [*places, inside, inside / "archives/../new"]:
        with nothing_changes(ground), pytest.raises(RestoreFailedError):
            export_snapshot(ground.repository, snapshot, place)
    with nothing_changes(ground), pytest.raises(RestoreFailedError, match="in the snapshot repository itself"):
        write_bundle(ground.repository, snapshot, inside / "bundle.tar")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can make a device node")
def test_a_device_node_alone_is_not_said_to_be_restored(ground: Ground, tmp_path: Path) -> None:
    """No restore makes one; its content is none either."""
    os.mknod(ground.path() / "null", 0o20666, os.makedev(1, 3))
    snapshot = take(ground)
    with nothing_changes(ground), pytest.raises(RestoreUnfitError, match="'data/null' is a device node"):
        ground.service.restore(RestoreRequest("sample", snapshot.id, path="data/null"))
    with pytest.raises(RestoreUnfitError):
        export_snapshot(ground.repository, snapshot, tmp_path / "copy", path="data/null")
    with pytest.raises(SnapshotUnknownError, match="holds no file 'data/null'; it is a character"):
        list(iterate_content(ground.repository, snapshot, "data/null"))


@pytest.mark.parametrize(
    "path", ["data/..", "data/../data", "..", "/", "data/nosuch", "data//pipe", "nosuch", "./data"]
)
def test_a_path_that_the_snapshot_does_not_have_is_none(ground: Ground, path: str) -> None:
    """It is compared as it is written, and never followed."""
    snapshot = take(ground)
    with nothing_changes(ground), pytest.raises(SnapshotUnknownError, match="holds nothing at"):
        ground.service.restore(RestoreRequest("sample", snapshot.id, path=path))
    with pytest.raises(SnapshotUnknownError, match="holds no file"):
        list(iterate_content(ground.repository, snapshot, path))


def test_the_undo_of_what_never_was_takes_no_snapshot(ground: Ground) -> None:
    """And does not say that it was brought back."""
    snapshot = take(ground)
    ground.service.restore(RestoreRequest("sample", snapshot.id))
    with nothing_changes(ground), pytest.raises(NothingToUndoError, match="data/nosuch is not there"):
        ground.service.restore(RestoreRequest("sample", "", path="data/nosuch", is_undo=True))


def test_a_snapshot_outlives_its_contract(ground: Ground, tmp_path: Path) -> None:
    """What to do without one is said; a copy needs none."""
    snapshot = take(ground)

    def find_none(stack: str) -> Any:
        raise UnknownStackError(stack)

    ground.change(load_contract=find_none)
    with nothing_changes(ground), pytest.raises(RestoreUnfitError, match="sample has no contract"):
        ground.service.restore(RestoreRequest("sample", snapshot.id))
    export_snapshot(ground.repository, snapshot, tmp_path / "copy")
    assert describe(tmp_path / "copy/data").keys() == describe(ground.path()).keys()


@pytest.mark.parametrize(
    "name",
    [
        "latest",
        "2 hours ago",
        "3d",
        "2026-01-31",
        "2026-01-31 08:00",
        "20260131",
        "20260131-0800",
        " x",
        "x\n",
        "\x1b[1m",
        "n" * 101,
    ],
)
def test_a_name_that_could_not_be_used_is_refused(ground: Ground, name: str) -> None:
    """It would mean another snapshot, or break the table."""
    answers = SnapshotAnswers(ground.service, Expiry(ground.service, lambda _stack: None))
    with pytest.raises(RequestInvalidError, match="cannot be used"):
        answers.answer("create", {"stack": "sample", "name": name})
    assert ground.service.list() == ((), ())
    assert not any(find_name_fault(fine) for fine in ("", "before upgrade", "v2.0/ü", "2026", "n" * 100, "3 days"[:1]))


def test_a_file_that_is_no_snapshot_is_refused_by_its_name(ground: Ground, tmp_path: Path) -> None:
    """One that is missing, a folder, one with another manifest; one that is here already is not read any further."""
    snapshot = take(ground)
    write_bundle(ground.repository, snapshot, tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "forged.tar").write_bytes(whole.replace(b"/sample/data", b"/sample/DATA"))
    other = Repository(tmp_path / "other")
    other.prepare()
    for name, words in (
        ("nosuch", "nosuch cannot be read: No such"),
        (".", "Is a directory"),
        ("forged.tar", "not the"),
    ):
        with pytest.raises(BundleRefusedError, match=words):
            read_bundle(other, tmp_path / name, lambda: ground.now)
    assert other.list_ids() == []
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with nothing_changes(ground):
        assert read_bundle(ground.repository, tmp_path / "cut.tar", lambda: ground.now).id == snapshot.id


@pytest.mark.parametrize(
    "look",
    [
        lambda one: one.service.list(),
        lambda one: one.service.plan_restore(RestoreRequest("sample", "latest")),
        lambda one: one.service.verify(),
        lambda one: one.create(),
        lambda one: one.service.recover(),
    ],
)
def test_a_repository_that_is_a_file_is_left_alone(ground: Ground, look: Callable[[Ground], object]) -> None:
    """And said to be none: not that there are no snapshots."""
    ground.repository.folder.write_text("kept")
    with pytest.raises(RepositoryUnusableError):
        look(ground)
    assert ground.repository.folder.read_text() == "kept"


def test_a_pinned_snapshot_is_forgotten_only_once_it_is_not_pinned(ground: Ground) -> None:
    """By its id, its name, or as the latest."""
    pinned = take(ground, name="mine", is_pinned=True)
    for which in (pinned.id, "mine", "latest"):
        with nothing_changes(ground), pytest.raises(SnapshotPinnedError, match=f"{pinned.id} is pinned"):
            ground.service.forget(which)
    ground.service.pin("mine", is_pinned=False)
    assert ground.service.forget("mine") == pinned.id


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can mount a small disk")
def test_a_full_disk_can_be_made_empty_by_forgetting(ground: Ground) -> None:
    """The lock has no room for its holder's name, and holds; nothing else can be added."""
    place = ground.repository.folder
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], check=True)
    try:
        first = ground.create()
        (place / "filler").write_bytes(bytes(shutil.disk_usage(place).free))
        (ground.path() / "new").write_bytes(os.urandom(5000))
        with pytest.raises(SnapshotError, match="No space left"):
            ground.create()
        assert ground.repository.list_ids() == [first]
        assert ground.service.forget(first) == first
        assert (ground.repository.list_ids(), ground.archives()) == ([], [])
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("reference", "fields", "to", "words"),
    [
        ("", {}, None, "no stack is named"),
        ("@latest", {}, None, "no stack is named"),
        ("sample@", {}, None, "nothing follows the @"),
        ("sample", {"path": ""}, None, "--path is empty"),
        ("sample", {"target": " "}, None, "--as is empty"),
        ("sample", {"inUse": True, "scaleDown": True}, None, "--scale-down and --in-use exclude each other"),
        ("sample@first", {"undo": True}, None, "--undo brings back what the last restore replaced"),
        ("sample", {"undo": True}, Path("/nowhere"), "leave out --undo"),
        ("sample", {"target": "other", "inUse": True}, Path("/nowhere"), "leave out --as, --in-use"),
    ],
)
def test_options_that_contradict_each_other_are_none_left_out_silently(
    capsys: pytest.CaptureFixture[str], reference: str, fields: dict[str, Any], to: Path | None, words: str
) -> None:
    """Before anything is looked at: a variable of a script that is not set must not mean everything."""
    options = RestoreOptions(reference, {**NOTHING_ASKED, **fields}, to, is_agreed=True)
    assert restore(options, "table", None) is ExitCode.ERROR
    assert words in capsys.readouterr().err

"""Taking, verifying and restoring snapshots, on a real file system, whichever engine keeps them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.snapshot.conftest import Ground, describe, fill
from tests.snapshot.restic_ground import PASSWORD

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.errors import (
    ManifestMissingError,
    NothingToUndoError,
    RepositoryLockedError,
    RepositoryNewerError,
    RestoreFailedError,
    RestoreSpaceError,
    RestoreUnfitError,
    SnapshotAmbiguousError,
    SnapshotError,
    SnapshotUnknownError,
    TargetInUseError,
)
from hostk8s_agent.snapshot.exporting import diff_snapshots, export_snapshot, iterate_content
from hostk8s_agent.snapshot.model import TAG_BEFORE_RESTORE, SnapshotState
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.restic.environment import ResticPlace
from hostk8s_agent.snapshot.scanning import scan_directory

LATEST = RestoreRequest("sample", "latest")


@pytest.fixture
def ground(ground: Ground, each_engine: ResticPlace | None) -> Ground:
    """A stack with one directory, whose snapshots each engine keeps in turn: the same tests for both."""
    ground.restic = each_engine
    return ground


def test_a_restore_brings_back_every_field_of_every_entry(ground: Ground) -> None:
    """Contents, owners, modes, times to the nanosecond, links, holes, attributes, names of any bytes."""
    before = describe(ground.path())
    ground.create()
    shutil.rmtree(ground.path())
    ground.path().mkdir()
    fill(ground.path(), seed=2)
    ground.service.restore(LATEST)
    assert describe(ground.path()) == before


def test_a_new_snapshot_is_read_back_before_it_counts_as_good(ground: Ground) -> None:
    """And says when that was."""
    ground.create()
    (snapshot,), problems = ground.service.list()
    assert (snapshot.state, snapshot.verified_at, problems) == (SnapshotState.GOOD, ground.now, ())


def test_an_unchanged_directory_adds_no_archive(ground: Ground) -> None:
    """It is addressed by its content, whatever was read."""
    ground.create()
    first = ground.stored()
    ground.now += timedelta(hours=1)
    ground.create()
    assert ground.stored() == first
    assert len(ground.service.list()[0]) == 2


def test_a_directory_that_has_settled_is_recognised_without_reading_it(ground: Ground) -> None:
    """Whoever changes a byte is noticed all the same: nobody can set a change time."""
    ground.change(settled_seconds=-1.0)
    ground.create()
    scan = scan_directory(ground.access, "/mnt/pv/sample/data", -1.0)
    assert scan is not None
    (kept,) = (ground.folder / "repository/scans").iterdir()
    assert json.loads(kept.read_text())["scan"] == scan.digest
    file = ground.path() / "first-name"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(b"TWO NAMES")
    os.utime(file, ns=times)
    ground.now += timedelta(hours=1)
    ground.create()
    assert len(ground.stored()) == 2


def test_a_directory_that_has_just_changed_is_not_recognised(ground: Ground) -> None:
    """Two changes in one tick of the clock look like one, so that it is read once more."""
    ground.create()
    assert list((ground.folder / "repository/scans").iterdir()) == []


def test_a_person_restores_by_hand(ground: Ground, tmp_path: Path) -> None:
    """Nothing of ours is needed to get at the files: zstd and tar, or restic and tar."""
    ground.create()
    (stored,) = ground.stored()
    by_hand = tmp_path / "by-hand"
    by_hand.mkdir()
    read = f"zstd -dc {ground.folder}/repository/archives/{stored}"
    if ground.restic:
        read = f"restic --repo {ground.restic.repository} dump {stored} /sample.data.tar"
    subprocess.run(
        f"{read} | tar x -p --numeric-owner --xattrs -C {by_hand}",
        shell=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
    )
    assert describe(by_hand) == describe(ground.path())


def test_what_a_restore_replaced_is_brought_back_by_an_undo(ground: Ground) -> None:
    """The safety snapshot has it."""
    ground.create()
    (ground.path() / "later").write_text("written after the snapshot")
    before = describe(ground.path())
    outcome = ground.service.restore(LATEST)
    assert outcome.safety is not None
    assert outcome.safety.tags == (TAG_BEFORE_RESTORE,)
    assert not (ground.path() / "later").exists()
    ground.now += timedelta(minutes=1)
    ground.service.restore(RestoreRequest("sample", "", is_undo=True))
    assert describe(ground.path()) == before


def test_without_a_restore_there_is_nothing_to_undo(ground: Ground) -> None:
    """It says so, and changes nothing."""
    ground.create()
    with pytest.raises(NothingToUndoError):
        ground.service.restore(RestoreRequest("sample", "", is_undo=True))


def test_a_restore_leaves_nothing_of_ours_in_the_volume(ground: Ground) -> None:
    """Neither the folder beside the live trees nor a journal."""
    ground.create()
    ground.service.restore(LATEST)
    assert [path.name for path in ground.root.iterdir()] == ["sample"]
    assert list((ground.folder / "repository/restores").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "wreck"),
    [
        ("conf", "emptied"),
        ("conf/deep/file", "changed"),
        ("conf/deep/file", "gone with its folder"),
        ("conf/deep/file", "a folder"),
        ("conf/other-name", "gone"),
        ("conf/link", "a folder"),
    ],
)
def test_one_file_or_folder_is_restored_alone_and_undone(tmp_path: Path, path: str, wreck: str) -> None:
    """With owner, mode and time as they were, also of one whose content stands elsewhere in the archive."""
    # What is tried here is the volume's side; test_ways_in has a part restored out of restic.
    ground = Ground(tmp_path, ("data", "logs"))
    (ground.path() / "conf/deep").mkdir(parents=True, mode=0o711)
    (ground.path() / "conf/deep/file").write_bytes(b"precious" * 100)
    (ground.path() / "conf/deep/file").chmod(0o4751)
    os.chown(ground.path() / "conf/deep/file", 1234, 4321)
    (ground.path() / "a-name").write_text("two names")
    os.link(ground.path() / "a-name", ground.path() / "conf/other-name")
    (ground.path() / "conf/link").symlink_to("/nowhere")
    taken = describe(ground.path() / "conf")
    ground.create()
    ground.now += timedelta(hours=1)
    (ground.path() / "a-name").write_text("written later")
    (ground.path() / "untouched").write_text("written later")
    place = ground.path() / path
    if wreck == "emptied":
        shutil.rmtree(place)
        place.mkdir()
    elif wreck == "gone with its folder":
        shutil.rmtree(place.parent)
    else:
        place.unlink()
        if wreck == "changed":
            place.write_text("wrecked")
        elif wreck == "a folder":
            place.mkdir()
            (place / "full").write_text("full")
    before = describe(ground.path())

    plan = ground.service.plan_restore(replace(LATEST, path=f"data/{path}"))
    assert ([one.path for one in plan.replacements], plan.left_alone) == ([f"/mnt/pv/sample/data/{path}"], ())
    outcome = ground.service.restore(replace(LATEST, path=f"data/{path}/"))
    after = describe(ground.path() / "conf")
    if path == "conf/other-name":
        assert place.read_text() == "two names"
    elif path == "conf":
        assert {name: one for name, one in after.items() if "name" not in name} == {
            name: one for name, one in taken.items() if "name" not in name
        }
    else:
        inner = path.removeprefix("conf/")
        assert after[inner] == taken[inner]
    assert (ground.path() / "untouched").read_text() == "written later"
    assert outcome.safety is not None
    assert [one.name for one in ground.root.iterdir()] == ["sample"]
    assert list((ground.folder / "repository/restores").iterdir()) == []

    ground.now += timedelta(minutes=1)
    ground.service.restore(RestoreRequest("sample", "", path=f"data/{path}", is_undo=True))
    undone = describe(ground.path())
    if wreck == "gone with its folder":
        assert not place.exists()
    else:
        assert {one: what[:2] + what[3:4] + what[5:6] for one, what in undone.items()} == {
            one: what[:2] + what[3:4] + what[5:6] for one, what in before.items()
        }


def test_a_path_that_cannot_be_is_told_and_changes_nothing(ground: Ground, tmp_path: Path) -> None:
    """Neither one that the snapshot does not have, nor one in whose way something stands."""
    (ground.path() / "conf").mkdir()
    (ground.path() / "conf/file").write_text("precious")
    ground.create()
    for path in ("data/no/such", "nothing", "data/../data", "data/conf/file/deeper"):
        with pytest.raises(SnapshotUnknownError, match="holds nothing at"):
            ground.service.restore(replace(LATEST, path=path))
    shutil.rmtree(ground.path() / "conf")
    (ground.path() / "conf").symlink_to(tmp_path)
    with pytest.raises(RestoreUnfitError, match="symlink"):
        ground.service.restore(replace(LATEST, path="data/conf/file"))
    assert not (tmp_path / "file").exists()
    assert [one.name for one in ground.root.iterdir()] == ["sample"]


def test_one_folder_is_copied_out_alone(ground: Ground, tmp_path: Path) -> None:
    """As it lies in its directory."""
    (ground.path() / "conf").mkdir()
    (ground.path() / "conf/file").write_text("precious")
    snapshot = ground.service.select(ground.create())
    export_snapshot(ground.repository, snapshot, tmp_path / "copy", path="data/conf")
    assert [str(one.relative_to(tmp_path / "copy")) for one in sorted((tmp_path / "copy").rglob("*"))] == [
        "data",
        "data/conf",
        "data/conf/file",
    ]


def test_a_directory_that_is_gone_is_made_by_the_restore(ground: Ground) -> None:
    """After the loss of the volume there is nothing to be safe about."""
    before = describe(ground.path())
    ground.create()
    shutil.rmtree(ground.root / "sample")
    outcome = ground.service.restore(LATEST)
    assert outcome.safety is None
    assert describe(ground.path()) == before


def manifest_of(ground: Ground, snapshot_id: str) -> Path:
    """Where a manifest lies."""
    return Path(ground.folder / "repository/manifests" / f"{snapshot_id}.json")


def test_a_missing_manifest_is_told(ground: Ground) -> None:
    """Nobody asked for it to go."""
    snapshot = ground.create()
    manifest_of(ground, snapshot).unlink()
    assert [problem.code for problem in ground.service.list()[1]] == ["ManifestMissing"]
    with pytest.raises(ManifestMissingError):
        ground.repository.load(snapshot)
    ground.service.forget(snapshot)
    assert ground.service.list() == ((), ())


def test_a_repository_of_a_newer_format_is_left_alone(ground: Ground) -> None:
    """With the word that the agent must be updated."""
    ground.create()
    (ground.folder / "repository/repository.json").write_text('{"format": 2}')
    for attempt in (ground.create, ground.service.list):
        with pytest.raises(RepositoryNewerError):
            attempt()


def test_a_locked_repository_names_its_holder(ground: Ground) -> None:
    """Who it is, and what for; looking needs no lock."""
    ground.create()
    with (
        ground.repository.lock.held("do something long", wait_seconds=0),
        pytest.raises(RepositoryLockedError, match=rf"process {os.getpid()} on .* to do something long"),
    ):
        ground.create()
    assert len(ground.service.list()[0]) == 1


def test_forgetting_a_snapshot_removes_what_no_other_one_has(ground: Ground) -> None:
    """And nothing else."""
    first = ground.create()
    ground.now += timedelta(hours=1)
    (ground.path() / "more").write_text("more")
    second = ground.create()
    assert len(ground.stored()) == 2
    ground.service.forget(first)
    assert len(ground.stored()) == 1
    assert ground.service.verify([second])[0][0].is_whole


def test_a_snapshot_is_meant_by_its_id_its_beginning_its_name_or_a_time(ground: Ground) -> None:
    """And an ambiguous word means none."""
    first = ground.create(name="first")
    ground.now += timedelta(hours=2)
    (ground.path() / "more").write_text("more")
    second = ground.create()
    ground.now += timedelta(minutes=30)
    service = ground.service
    asked = [first, first[:-2], "first", "latest", "1 hour ago", "20m", "2026-01-31T09:00:00+00:00"]
    assert [service.select(one).id for one in asked] == [first, first, first, second, first, second, first]
    with pytest.raises(SnapshotAmbiguousError):
        service.select("2026")
    for unknown in ("nothing", "3 hours ago"):
        with pytest.raises(SnapshotUnknownError):
            service.select(unknown)


def test_a_restore_into_a_stack_in_use_is_refused(ground: Ground) -> None:
    """Until a person says that it may be."""
    ground.create()
    ground.change(find_users=lambda _contract: ("default/postgres-0",))
    (ground.path() / "later").write_text("later")
    with pytest.raises(TargetInUseError, match="default/postgres-0"):
        ground.service.restore(LATEST)
    assert (ground.path() / "later").exists()
    ground.service.restore(RestoreRequest("sample", "latest", stop="freeze"))
    assert not (ground.path() / "later").exists()


@pytest.mark.parametrize(("is_before", "error"), [(True, RestoreSpaceError), (False, RestoreFailedError)])
def test_a_disk_that_is_full_before_or_in_the_middle_leaves_all_as_it_was(
    tmp_path: Path,
    is_before: bool,  # noqa: FBT001
    error: type[Exception],
) -> None:
    """Bytes are counted beforehand; that the inodes run out is seen when they do."""
    (tmp_path / "pv").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=40", "none", tmp_path / "pv"], check=True)
    try:
        ground = Ground(tmp_path)
        for number in range(20):
            (ground.path() / f"f{number}").write_bytes(b"x" * 100_000)
        ground.create()
        ground.now += timedelta(hours=1)
        (ground.path() / "f0").write_text("wrecked")
        if is_before:
            (ground.root / "filler").write_bytes(bytes(5 << 20))
        before = describe(ground.path())
        with pytest.raises(error, match="are free" if is_before else "No space left on device") as told:
            ground.service.restore(LATEST)
        assert "space" in str(getattr(told.value, "hint", ""))
        assert describe(ground.path()) == before
        assert {one.name for one in ground.root.iterdir()} <= {"sample", "filler"}
        assert list((tmp_path / "repository/restores").iterdir() if not is_before else []) == []
        ground.access.close()
    finally:
        subprocess.run(["umount", tmp_path / "pv"], check=True)


def test_a_contract_that_no_longer_fits_is_refused(tmp_path: Path, each_engine: ResticPlace | None) -> None:
    """A directory that it does not declare any more has no place to go to."""
    ground = Ground(tmp_path, ("data", "logs"), restic=each_engine)
    ground.create()
    narrow = Ground(tmp_path / "narrow", ("data",))
    ground.change(load_contract=narrow.surroundings.load_contract)
    with pytest.raises(RestoreUnfitError, match="logs"):
        ground.service.restore(LATEST)


def test_a_directory_that_lost_nearly_everything_makes_the_snapshot_suspect(ground: Ground) -> None:
    """A person looks at it, and accepts it or not."""
    ground.create()
    shutil.rmtree(ground.path())
    ground.path().mkdir()
    ground.now += timedelta(hours=1)
    snapshot = ground.create()
    assert ground.service.select(snapshot).state is SnapshotState.SUSPECT
    assert ground.service.accept(snapshot).state is SnapshotState.GOOD


def test_a_copy_outside_the_volume_is_the_same_tree(ground: Ground, tmp_path: Path) -> None:
    """For whoever wants to look before anything is replaced."""
    snapshot = ground.service.select(ground.create())
    export_snapshot(ground.repository, snapshot, tmp_path / "copy")
    assert describe(tmp_path / "copy/data") == describe(ground.path())


def test_a_file_is_read_out_of_a_snapshot_and_two_are_compared(ground: Ground) -> None:
    """By its first or its second name."""
    first = ground.service.select(ground.create())
    for name in ("data/first-name", "data/second-name"):
        assert b"".join(iterate_content(ground.repository, first, name)) == b"two names"
    with pytest.raises(SnapshotUnknownError):
        next(iterate_content(ground.repository, first, "data/none"))
    ground.now += timedelta(hours=1)
    (ground.path() / "more").write_text("more")
    (ground.path() / "pipe").unlink()
    second = ground.service.select(ground.create())
    assert sorted(diff_snapshots(ground.repository, first, second)) == [
        ("added", "data/more"),
        ("changed", "data"),
        ("removed", "data/pipe"),
    ]


def test_a_snapshot_travels_as_one_file(ground: Ground, tmp_path: Path) -> None:
    """To another repository, where it is good and restores the same tree."""
    snapshot = ground.service.select(ground.create())
    write_bundle(ground.repository, snapshot, tmp_path / "bundle.tar")
    other = Ground(tmp_path / "other")
    repository = other.repository
    repository.prepare()
    taken_in = read_bundle(repository, tmp_path / "bundle.tar", lambda: other.now)
    assert taken_in.state is SnapshotState.GOOD
    # What restic keeps is packed into files for it, under an id of its own.
    assert (taken_in.id == snapshot.id) == (ground.restic is None)
    other.service.restore(LATEST)
    assert describe(other.path()) == describe(ground.path())


def test_a_file_that_is_not_whole_adds_nothing(ground: Ground, tmp_path: Path) -> None:
    """Cut, changed, or something else altogether."""
    write_bundle(ground.repository, ground.service.select(ground.create()), tmp_path / "bundle.tar")
    whole = (tmp_path / "bundle.tar").read_bytes()
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    other = Ground(tmp_path / "other")
    other.repository.prepare()
    for content in (whole[:middle], changed, b"something else", whole.replace(b"/sample/data", b"/sample/DATA")):
        (tmp_path / "broken.tar").write_bytes(content)
        with pytest.raises(SnapshotError):
            read_bundle(other.repository, tmp_path / "broken.tar", lambda: other.now)
        assert other.repository.list_ids() == []


def test_every_error_has_a_hint(ground: Ground) -> None:
    """Whoever reads it knows what to do."""
    with pytest.raises(AgentError) as caught:
        ground.service.select("nothing")
    assert caught.value.hint

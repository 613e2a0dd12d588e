"""Rows of the fault catalogue about what lies in the repository: cut, forged, hostile, and suddenly far less."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.snapshot.conftest import Ground, describe
from tests.snapshot.hostile import ACCEPTED, HOSTILE, plant
from tests.snapshot.test_caretaking import House

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.documents import parse_manifest, render_manifest, seal_manifest
from hostk8s_agent.snapshot.errors import SnapshotError
from hostk8s_agent.snapshot.exporting import export_snapshot
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.verifying import Verifier
from reliability import Row

# A fixture of the caretaker's tests, which these tests ask for by name.
from tests.snapshot.test_caretaking import house  # isort: skip

__all__ = ["house"]


@contextmanager
def changed(ground: Ground) -> Iterator[Path]:
    """The repository, to be changed at will; afterwards it is what it was."""
    repository, kept = ground.folder / "repository", ground.folder / "kept"
    shutil.copytree(repository, kept)
    try:
        yield repository
    finally:
        shutil.rmtree(repository)
        kept.rename(repository)


def list_boundaries(stream: bytes) -> list[int]:
    """Where a member of a tar begins, and where the last one ends."""
    with tarfile.open(fileobj=io.BytesIO(stream), errors="surrogateescape") as archive:
        return [one.offset for one in archive.getmembers()] + [archive.offset]


@pytest.mark.fault(
    "I2",
    "an archive cut at every member's begin and at random places, its file cut at random places; half of them with a "
    "manifest that says the file is right",
    holds="verify finds it; restore refuses before touching live data",
    target="all",
    short=6,
    full=600,
)
def test_a_cut_archive_is_found_and_never_restored(row: Row, ground: Ground) -> None:
    """Also one whose compressed file is whole in itself, and of the length and hash that the manifest has."""
    dice = random.Random(2)
    snapshot = ground.repository.load(ground.create())
    [directory] = snapshot.directories
    packed = ground.archives()[0].read_bytes()
    stream = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    boundaries = list_boundaries(stream)
    row.note(f"{len(boundaries)} boundaries, each several times")
    # So that the snapshot before the restore does not store the damaged content anew.
    (ground.path() / "new").write_bytes(b"new")
    before = describe(ground.path())
    for trial in row.trials():
        with trial as number, changed(ground):
            end = boundaries[number // 3 % len(boundaries)] if number % 3 else dice.randrange(len(stream))
            cut = zstandard.ZstdCompressor(write_checksum=True).compress(stream[:end])
            if number % 3 == 1:
                cut = packed[: dice.randrange(len(packed))]
            identifier = snapshot.id
            if number % 2:
                identifier = forge(ground, snapshot, cut).id
            else:
                ground.repository.archives.path(directory.archive).write_bytes(cut)
            with pytest.raises(SnapshotError):
                ground.service.restore(RestoreRequest("sample", identifier))
            [verification], _ = ground.service.verify([identifier])
            assert verification.snapshot.state is SnapshotState.DAMAGED
            assert describe(ground.path()) == before
            assert [path.name for path in ground.root.iterdir()] == ["sample"]


def forge(ground: Ground, snapshot: Any, packed: bytes) -> Any:
    """Add a snapshot whose manifest is sealed for another archive of the same tree."""
    import hashlib  # noqa: PLC0415 - of this one place

    [directory] = snapshot.directories
    digest = hashlib.sha256(packed).hexdigest()
    archive = replace(directory.archive, stored_as=digest, packed_bytes=len(packed))
    forged = seal_manifest(replace(snapshot, directories=(replace(directory, archive=archive),), name="forged"))
    ground.repository.archives.path(archive).write_bytes(packed)
    ground.repository.add(forged)
    return forged


def swap(folder: Path, dice: random.Random) -> set[str]:
    """Two manifests have each other's names."""
    one, other = dice.sample(sorted(folder.iterdir()), 2)
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[1])
    other.write_bytes(texts[0])
    return {one.stem, other.stem}


def falsify(folder: Path, dice: random.Random) -> set[str]:
    """One value of one manifest is another one."""
    file = dice.choice(sorted(folder.iterdir()))
    document = json.loads(file.read_bytes())
    places = list(list_places(document))
    holder, key = dice.choice(places)
    holder[key] = f"{holder[key]}0" if isinstance(holder[key], str) else 1 - holder[key]
    file.write_text(json.dumps(document), encoding="utf-8")
    return {file.stem}


def list_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key of a text or a number."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(one, (dict, list)):
            yield from list_places(one)
        else:
            yield value, key


def delete(folder: Path, dice: random.Random) -> set[str]:
    """One is gone."""
    file = dice.choice(sorted(folder.iterdir()))
    file.unlink()
    return {file.stem}


def duplicate(folder: Path, dice: random.Random) -> set[str]:
    """One is there a second time, under a name of the same form."""
    file = dice.choice(sorted(folder.iterdir()))
    copy = file.with_name(f"{file.stem[:-8]}{dice.getrandbits(32):08x}.json")
    copy.write_bytes(file.read_bytes())
    return {copy.stem}


def postdate(folder: Path, dice: random.Random) -> set[str]:
    """One says, well sealed, that it was taken tomorrow."""
    file = dice.choice(sorted(folder.iterdir()))
    snapshot = parse_manifest(file.read_bytes(), file.stem)
    ahead = seal_manifest(replace(snapshot, taken_at=snapshot.taken_at + timedelta(days=dice.randrange(1, 400))))
    file.with_name(f"{ahead.id}.json").write_bytes(render_manifest(ahead))
    return {ahead.id}


FORGERIES: dict[str, tuple[Callable[[Path, random.Random], set[str]], set[str]]] = {
    "swapped": (swap, {"ManifestDuplicate"}),
    "forged": (falsify, {"ManifestForged"}),
    "deleted": (delete, {"ManifestMissing"}),
    "duplicated": (duplicate, {"ManifestDuplicate"}),
    "dated in the future": (postdate, {"ManifestFromFuture"}),
}


@pytest.mark.fault(
    "I3",
    "manifests swapped, forged (any one value), deleted, duplicated, dated in the future",
    holds="refused, each with its own error; the others stay usable, and nothing is swept",
    target="all",
    short=5,
    full=500,
)
def test_a_manifest_that_is_not_what_was_written_is_refused(row: Row, ground: Ground) -> None:
    """By its code, on every way: looking, restoring; and no archive goes while one may refer to it."""
    dice = random.Random(3)
    for _ in range(3):
        ground.create()
        ground.now += timedelta(minutes=1)
    before, ids = describe(ground.path()), set(ground.repository.list_ids())
    for trial in row.trials():
        with trial as number, changed(ground) as repository:
            kind = list(FORGERIES)[number % len(FORGERIES)]
            attack, codes = FORGERIES[kind]
            hit = attack(repository / "manifests", dice)
            snapshots, problems = ground.service.list()
            assert {one.code for one in problems} == codes, f"{kind}: {problems}"
            assert {one.id for one in snapshots} == ids - hit, kind
            for one in hit:
                with pytest.raises(SnapshotError) as refused:
                    ground.service.restore(RestoreRequest("sample", one))
                assert refused.value.code in {*codes, "SnapshotUnknown"}, kind
            archives = ground.archives()
            with ground.repository.lock.held("sweep", wait_seconds=1):
                ground.repository.sweep()
            assert ground.archives() == archives
            assert describe(ground.path()) == before


@pytest.mark.fault(
    "I5",
    "hostile archives with manifest and listing made to fit: .., absolute, through links, hard links outside, devices, "
    "10 GB of zeros, 10^6 entries, odd names; restored, copied out, verified, imported",
    holds="nothing outside the target; caps on entries and size; what is refused touches nothing",
    target="0 escapes",
    short=len(HOSTILE) + len(ACCEPTED),
    full=10 * (len(HOSTILE) + len(ACCEPTED)),
)
def test_a_hostile_archive_escapes_nowhere(row: Row, ground: Ground, tmp_path: Path) -> None:
    """Whatever way it is looked at or brought back."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    ground.create()
    for one in ground.path().iterdir():
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
    around = describe(outside)
    cases = [*((name, build, False) for name, build in HOSTILE.items()), *((n, b, True) for n, b in ACCEPTED.items())]
    for trial in row.trials():
        with trial as number, changed(ground):
            name, build, is_accepted = cases[number % len(cases)]
            snapshot = plant(ground, build(outside))
            live, copy = describe(ground.path()), ground.folder / "copy"
            bundle, other = ground.folder / "bundle.tar", Repository(ground.folder / "other", clock=lambda: ground.now)
            came = (
                is_done(ground.service.restore, RestoreRequest("sample", snapshot.id)),
                is_done(export_snapshot, ground.repository, snapshot, copy),
                is_done(take_in, ground, other, snapshot, bundle),
            )
            assert came == (is_accepted,) * 3, name
            [verification], _ = ground.service.verify([snapshot.id])
            assert verification.is_whole == is_accepted, name
            assert describe(outside) == around, name
            assert is_accepted or describe(ground.path()) == live, name
            assert [path.name for path in ground.root.iterdir()] == ["sample"], name
            assert not any(path.is_block_device() or path.is_char_device() for path in ground.path().rglob("*")), name
            bundle.unlink(missing_ok=True)
            for folder in (copy, other.folder):
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(ground.path())
            ground.path().mkdir(mode=0o750)


def take_in(ground: Ground, other: Repository, snapshot: Any, bundle: Path) -> None:
    """Hand a snapshot to another repository, as a colleague does."""
    write_bundle(ground.repository, snapshot, bundle)
    other.folder.mkdir()
    with other.lock.held("import", wait_seconds=1):
        other.prepare()
        taken = read_bundle(other, bundle, lambda: ground.now)
        assert Verifier(other, lambda: ground.now).verify(taken).is_whole


def is_done(attempt: Callable[..., object], *arguments: object) -> bool:
    """Whether it was done, and not refused."""
    with suppress(AgentError):
        attempt(*arguments)
        return True
    return False


def empty(ground: Ground, _dice: random.Random) -> None:
    """As a volume is that was made anew: the agent has made its directories, and they are empty."""
    shutil.rmtree(ground.path())
    ground.path().mkdir(mode=0o750)


def lose_bytes(ground: Ground, _dice: random.Random) -> None:
    """All files are there, and hold nothing."""
    for path in ground.path().rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)


def lose_files(ground: Ground, dice: random.Random) -> None:
    """Nine of ten files and more are gone, at random."""
    files = [path for path in ground.path().rglob("*") if path.is_file() and not path.is_symlink()]
    for path in dice.sample(files, len(files) * 95 // 100 + 1):
        path.unlink(missing_ok=True)


LOSSES = (empty, lose_bytes, lose_files)


@pytest.mark.fault(
    "I9",
    "a directory loses 90 % of its bytes or files, or its volume is there anew and empty; snapshots are scheduled",
    holds="the new snapshot is suspect, nothing expires however often, a person is told; no directory, no snapshot",
    target="always",
    short=3,
    full=150,
)
def test_a_directory_that_lost_nearly_everything_holds_expiry(row: Row, house: House) -> None:
    """Until a person has looked."""
    dice = random.Random(9)
    ground = house.ground
    fill_more(ground.path())
    caretaker = house.hire()
    for _ in range(3):
        caretaker.take_snapshot("sample")
        ground.now += timedelta(hours=1)
    # More than the policy keeps: without a hold the next one would let them expire.
    for _ in range(3):
        ground.create()
        ground.now += timedelta(hours=1)
    before = {one.id for one in house.list()}
    kept_tree = ground.folder / "tree"
    shutil.copytree(ground.path(), kept_tree, symlinks=True, ignore=lambda _folder, names: {"pipe"} & set(names))
    for trial in row.trials():
        with trial as number, changed(ground):
            LOSSES[number % len(LOSSES)](ground, dice)
            for _ in range(dice.randrange(1, 4)):
                ground.now += timedelta(hours=dice.randrange(1, 400))
                caretaker.take_snapshot("sample")
            after = house.list()
            assert before <= {one.id for one in after}
            assert {one.state for one in after if one.id not in before} == {SnapshotState.SUSPECT}
            assert {one.code for one in caretaker.list_problems(after)} == {"SnapshotSuspect"}
            assert house.expiry.judge()[0].held
            shutil.rmtree(ground.path())
            with pytest.raises(AgentError):
                caretaker.take_snapshot("sample")
            assert len(house.list()) == len(after)
            shutil.copytree(kept_tree, ground.path(), symlinks=True)


def fill_more(folder: Path) -> None:
    """So many files that nine of ten can go."""
    for number in range(30):
        (folder / f"more{number:02}").write_bytes(b"x" * 1000)

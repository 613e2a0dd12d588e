"""Rows of the fault catalogue about snapshots: crashes, full disks, flipped bits, cuts, drills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import Ground, describe, fill
from tests.snapshot.crashing import DONE_ALL_THE_SAME, REQUEST_FAILED
from tests.snapshot.striking import Strikes

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.errors import SnapshotError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.requests import RestoreRequest
from reliability import Row

ROOT = Path(__file__).parents[2]
LATEST = RestoreRequest("sample", "latest")


class Crashes:
    """Requests that are struck at one call after the other, each in a process of its own; then at the first again."""

    def __init__(self, ground: Ground, verbs: Iterable[str], kinds: Iterable[str] = ("KILL",)) -> None:
        self.ground = ground
        self._turns = cycle([(verb, kind) for verb in verbs for kind in kinds])
        self._verb, self._kind = next(self._turns)
        self._number = 0
        self._hour = 0

    def strike(self) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Strike one request; return which, and how its process ended."""
        while True:
            self._number += 1
            self._hour += 1
            self.ground.now += timedelta(hours=1)
            command = [sys.executable, "-m", "tests.snapshot.crashing", str(self.ground.folder), self._verb]
            done = subprocess.run(
                [*command, str(self._number), self._kind, str(self._hour)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            verb = self._verb
            if done.returncode in (-signal.SIGKILL, REQUEST_FAILED, DONE_ALL_THE_SAME):
                return f"{verb}, call {self._number}, {self._kind}", done
            assert done.returncode == 0, done.stderr
            self._verb, self._kind = next(self._turns)
            self._number = 0


def require_whole(ground: Ground) -> None:
    """Everything that is visible is whole, and the next request finds nothing in its way."""
    verified, problems = ground.service.verify()
    assert problems == ()
    assert [one.snapshot.id for one in verified if not one.is_whole] == []
    ground.now += timedelta(minutes=1)
    assert ground.service.select(ground.create()).state is SnapshotState.GOOD
    left = [path for path in (ground.folder / "repository").rglob("*") if path.name.startswith(".incoming-")]
    assert left == []
    ids = ground.repository.list_ids()
    for one in ids[1:-2]:
        ground.service.forget(one)


def change(ground: Ground, dice: random.Random) -> None:
    """Give the directory something that no snapshot has."""
    (ground.path() / "changing").write_bytes(dice.randbytes(20_000))


@pytest.mark.tools
@pytest.mark.fault(
    "D1",
    "kill -9 by strace before the Nth openat, write, fsync, rename, close, unlink, mkdir of taking and forgetting a "
    "snapshot, in any thread of it or in its tar",
    holds="what is visible is whole, nothing half-written is left, the next one succeeds",
    target="0 of ≥ 1,000",
    short=4,
    full=1000,
)
def test_a_snapshot_that_is_killed_leaves_the_repository_whole(row: Row, ground: Ground) -> None:
    """Old or new, never half of either; also where the repository itself is new."""
    dice = random.Random(1)
    strikes = Strikes(
        {
            "the first": (lambda: shutil.rmtree(ground.folder / "repository", ignore_errors=True), ground.create),
            "create": (lambda: None, ground.create),
            "forget": (lambda: None, lambda: ground.service.forget(ground.repository.list_ids()[-1])),
        }
    )
    for trial in row.trials():
        with trial:
            change(ground, dice)
            ground.now += timedelta(hours=1)
            strikes.strike()
            require_whole(ground)


@pytest.mark.fault(
    "D2/snapshot",
    "ENOSPC, EIO, EROFS at every system call that changes something, of taking a snapshot and of a restore",
    holds="error shown, the live tree and the repository intact, all well again when there is space",
    target="0 silent",
    short=2,
    full=150,
)
def test_a_call_that_fails_is_told_and_damages_nothing(row: Row, ground: Ground) -> None:
    """A full disk is no reason to lose what was there."""
    dice = random.Random(2)
    ground.create()
    crashes = Crashes(ground, ("create", "restore"), ("ENOSPC", "EIO", "EROFS"))
    for trial in row.trials():
        with trial:
            change(ground, dice)
            old, new = describe(ground.path()), _describe_oldest(ground)
            what, done = crashes.strike()
            assert done.returncode != 0, f"{what}: {done.stderr}"
            assert describe(ground.path()) in (old, new), what
            ground.service.recover()
            require_whole(ground)


@pytest.mark.fault(
    "D4",
    "kill -9 before every system call that changes something, of a restore",
    holds="the live tree is wholly old or wholly new, at once and after the next start",
    target="0 mixed of ≥ 300",
    short=2,
    full=300,
)
def test_a_restore_that_is_killed_leaves_the_old_tree_or_the_new_one(row: Row, ground: Ground) -> None:
    """A reader never sees a mixture, and nothing of ours is left in the volume."""
    dice = random.Random(4)
    ground.create()
    crashes = Crashes(ground, ("restore",))
    for trial in row.trials():
        with trial:
            change(ground, dice)
            old, new = describe(ground.path()), _describe_oldest(ground)
            what, _done = crashes.strike()
            assert describe(ground.path()) in (old, new), f"{what}: mixed"
            ground.service.recover()
            assert describe(ground.path()) in (old, new), f"{what}: mixed after the next start"
            assert [path.name for path in ground.root.iterdir()] == ["sample"], what
            require_whole(ground)


def _describe_oldest(ground: Ground) -> dict[str, tuple[object, ...]]:
    """What the directory is like in the oldest snapshot."""
    known = ground.folder / "oldest"
    if not known.exists():
        from hostk8s_agent.snapshot.exporting import export_snapshot  # noqa: PLC0415 - of this one place

        export_snapshot(ground.repository, ground.repository.load(ground.repository.list_ids()[0]), known)
    return describe(known / "data")


@pytest.mark.fault(
    "I1",
    "one random bit flipped in an archive or a manifest",
    holds="verify finds it; restore refuses before touching live data",
    target="2,000 of 2,000",
    short=10,
    full=2000,
)
def test_any_flipped_bit_is_found(row: Row, ground: Ground) -> None:
    """And the live tree stays as it is."""
    dice = random.Random(11)
    snapshot = ground.create()
    before = describe(ground.path())
    for trial in row.trials():
        with trial, _damaged(ground, dice) as what:
            with pytest.raises(SnapshotError):
                ground.service.restore(RestoreRequest("sample", snapshot))
            verified, problems = ground.service.verify()
            assert problems or not all(one.is_whole for one in verified), what
            assert describe(ground.path()) == before, what
            assert [path.name for path in ground.root.iterdir()] == ["sample"], what


@contextmanager
def _damaged(ground: Ground, dice: random.Random) -> Iterator[str]:
    """Flip a bit of the oldest snapshot's archive or manifest; afterwards all is as it was."""
    snapshot = ground.repository.list_ids()[0]
    kind = dice.choice(("archive", "archive", "manifest"))
    file = ground.folder / "repository/manifests" / f"{snapshot}.json"
    if kind == "archive":
        file = ground.repository.archives.path(ground.repository.load(snapshot).directories[0].archive)
    repository = ground.folder / "repository"
    kept = ground.folder / "kept"
    shutil.copytree(repository, kept)
    content = bytearray(file.read_bytes())
    place, bit = dice.randrange(len(content)), dice.randrange(8)
    content[place] ^= 1 << bit
    file.write_bytes(content)
    try:
        yield f"bit {bit} of byte {place} of the {kind}"
    finally:
        shutil.rmtree(repository)
        kept.rename(repository)


@pytest.mark.fault(
    "I4",
    "the engine's stream ends early, or fails, at any place",
    holds="nothing committed",
    target="0 committed",
    short=5,
    full=300,
)
def test_a_stream_that_ends_early_adds_nothing(row: Row, ground: Ground) -> None:
    """Also where it ends between two entries."""
    dice = random.Random(14)
    with ground.access.stream_tree_out("/mnt/pv/sample/data") as chunks:
        whole = b"".join(chunks)
    for trial in row.trials():
        with trial:
            size = dice.randrange(len(whole) - 1024)
            end = dice.choice((size, size - size % 512))
            ground.change(volume=lambda end=end: Short(ground.access, whole[:end], dice.random() < 0.5))
            with pytest.raises((AgentError, ConnectionError)):
                ground.create()
            assert ground.repository.list_ids() == []
            assert list((ground.folder / "repository/archives").iterdir()) == []


class Short:
    """A way into the volume whose stream is not all of it."""

    def __init__(self, access: Any, stream: bytes, is_reset: bool) -> None:  # noqa: FBT001 - of this one fake
        self._access = access
        self._stream = stream
        self._is_reset = is_reset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._access, name)

    @contextmanager
    def stream_tree_out(self, _path: str) -> Iterator[Iterator[bytes]]:
        yield self._iterate()

    def _iterate(self) -> Iterator[bytes]:
        for start in range(0, len(self._stream), 10_000):
            yield self._stream[start : start + 10_000]
        if self._is_reset:
            raise ConnectionResetError


@pytest.mark.fault(
    "I6",
    "restore drill: a random tree, a snapshot, everything removed, a restore",
    holds="equal in every field that the documentation claims",
    target="0 of ≥ 300 differ",
    short=3,
    full=300,
)
def test_a_random_tree_comes_back_as_it_was(row: Row, ground: Ground) -> None:
    """Modes, owners, links, holes, empty files, long and odd names, times to the nanosecond, attributes."""
    for number, trial in enumerate(row.trials()):
        with trial:
            shutil.rmtree(ground.path())
            ground.path().mkdir()
            ground.path().chmod(0o750)
            fill(ground.path(), seed=number, files=30)
            before = describe(ground.path())
            ground.now += timedelta(hours=1)
            snapshot = ground.create()
            shutil.rmtree(ground.path())
            ground.service.restore(RestoreRequest("sample", snapshot))
            assert describe(ground.path()) == before
            for one in ground.repository.list_ids():
                ground.service.forget(one)

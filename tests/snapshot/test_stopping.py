"""An agent that stops in the middle: what was under way is undone, and nobody stays at rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.snapshot.conftest import Ground, describe

from hostk8s_agent.contract.model import Directory, Quiesce
from hostk8s_agent.snapshot.drilling import drill_snapshot
from hostk8s_agent.snapshot.errors import SnapshotStoppedError
from hostk8s_agent.snapshot.ports import NoQuiescer, Rest
from hostk8s_agent.snapshot.progress import Progress
from hostk8s_agent.snapshot.reading import find_gnu_tar
from hostk8s_agent.snapshot.requests import CreateRequest, RestoreRequest
from hostk8s_agent.snapshot.service import SnapshotService

STALLING = """#!/bin/sh
[ "$1" = --version ] && echo "tar (GNU tar) 1" && exit
echo > {mark}
exec sleep 600
"""


class CountedRest:
    """Counts who is at rest."""

    def __init__(self) -> None:
        self.resting = 0

    @contextmanager
    def at_rest(self, stack: str, directories: Sequence[Directory], asked: Quiesce) -> Iterator[Rest]:
        self.resting += 1
        try:
            with NoQuiescer().at_rest(stack, directories, asked) as rest:
                yield rest
        finally:
            self.resting -= 1


def stop_in(service: SnapshotService, phase: str) -> Callable[[Progress], None]:
    """Stop the service as soon as the phase begins."""

    def hear(progress: Progress) -> None:
        if progress.phase == phase:
            service.stop()

    return hear


def leftovers(ground: Ground) -> list[str]:
    """What a snapshot that did not come about has left in the repository."""
    folders = ("archives", "listings", "manifests", "incoming")
    repository = ground.folder / "repository"
    return [str(one) for name in folders for one in (repository / name).glob("*")]


def test_a_snapshot_that_is_stopped_leaves_nothing_and_nobody_at_rest(ground: Ground) -> None:
    """As if it had never begun; the next one is whole."""
    rest = CountedRest()
    ground.change(quiescer=rest)
    service = ground.service
    with pytest.raises(SnapshotStoppedError):
        service.create(CreateRequest("sample"), on_progress=stop_in(service, "reading"))
    assert (rest.resting, leftovers(ground), service.list()) == (0, [], ((), ()))
    with pytest.raises(SnapshotStoppedError):
        service.create(CreateRequest("sample"))
    assert service.wait_until_idle(5)
    assert ground.create()


def test_a_restore_that_is_stopped_touches_nothing(ground: Ground) -> None:
    """The live tree is what it was, and what was written beside it is gone."""
    taken = ground.create()
    (ground.path() / "new").write_bytes(b"new")
    before = describe(ground.path())
    service = ground.service
    with pytest.raises(SnapshotStoppedError):
        service.restore(RestoreRequest("sample", taken), on_progress=stop_in(service, "restoring"))
    assert describe(ground.path()) == before
    assert [one.name for one in ground.root.iterdir()] == ["sample"]
    ground.service.recover()
    assert describe(ground.path()) == before


def test_a_drill_that_is_stopped_has_found_nothing(ground: Ground) -> None:
    """Neither that the snapshot is whole, nor that it is damaged."""
    snapshot = ground.service.select(ground.create())
    service = ground.service
    service.stop()
    with pytest.raises(SnapshotStoppedError):
        drill_snapshot(ground.repository, snapshot, service.build_meter())
    assert list((ground.folder / "drills").iterdir()) == []


def test_a_reader_that_stalls_does_not_hold_up_a_stop(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """A disk that does not answer: the program that reads it is ended."""
    program = tmp_path / "tar"
    program.write_text(STALLING.format(mark=tmp_path / "reading"), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # It is looked for once in a process.
    find_gnu_tar.cache_clear()
    service, ends = ground.service, list[Exception]()

    def create() -> None:
        try:
            service.create(CreateRequest("sample"))
        except SnapshotStoppedError as error:
            ends.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    wait_until((tmp_path / "reading").exists, "it is being read")
    service.stop()
    thread.join(10)
    find_gnu_tar.cache_clear()
    assert (len(ends), leftovers(ground)) == (1, [])

"""How far long work is, and what is left of it when it is interrupted."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from tests.snapshot.conftest import Ground, describe

from hostk8s_agent.cli.snapshot_progress import ProgressView, describe_interruption
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.exporting import export_snapshot
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.progress import Meter, Progress
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import CreateRequest, RestoreRequest


def test_a_meter_tells_rate_and_time_left_and_never_more_than_everything() -> None:
    """Half of it in two seconds takes two more; a tree that has grown is not more than whole."""
    now = [10.0]
    told: list[Progress] = []
    meter = Meter(told.append, lambda: now[0])
    meter.begin("reading", 1000)
    now[0] += 0.1
    meter.advance(100)
    now[0] += 1.9
    meter.advance(400)
    now[0] += 1
    meter.advance(700)
    meter.begin("verifying")
    assert told == [
        Progress("reading", 0, 1000, 0, None),
        Progress("reading", 500, 1000, 250, 2),
        Progress("reading", 1200, 1200, 400, 0),
        Progress("verifying", 0, None, 0, None),
    ]


def stop_at(phase: str) -> Callable[[Progress], None]:
    """What Ctrl-C does when a phase has begun."""

    def listen(progress: Progress) -> None:
        if progress.phase == phase:
            raise KeyboardInterrupt

    return listen


def test_each_work_tells_its_phases_with_what_there_is_to_do(ground: Ground, tmp_path: Path) -> None:
    """The first time it is measured, later it is as much as the snapshot before had."""
    told: list[Progress] = []
    snapshot = ground.service.create(CreateRequest("sample"), on_progress=told.append)
    (ground.path() / "more").write_bytes(b"more")
    ground.now += timedelta(hours=1)
    ground.service.create(CreateRequest("sample"), on_progress=told.append)
    ground.now += timedelta(hours=1)
    # What is there equals no snapshot, so that one is taken of it first.
    (ground.path() / "more").write_bytes(b"most")
    ground.service.restore(RestoreRequest("sample", snapshot.id), on_progress=told.append)
    ground.service.verify([snapshot.id], on_progress=told.append)
    export_snapshot(ground.repository, snapshot, tmp_path / "copy", meter=Meter(told.append))
    write_bundle(ground.repository, snapshot, tmp_path / "bundle.tar", meter=Meter(told.append))
    colleague = Repository(tmp_path / "colleague")
    colleague.prepare()
    read_bundle(colleague, tmp_path / "bundle.tar", lambda: ground.now, meter=Meter(told.append))
    begun = [one for one in told if not one.done_bytes]
    creating = ["waiting", "reading", "verifying"]
    assert [one.phase for one in begun] == [
        *creating,
        *creating,
        "waiting",
        "restoring",
        *creating,
        "swapping",
        "waiting",
        "verifying",
        "exporting",
        "exporting",
        "importing",
        "verifying",
    ]
    assert begun[-2].total_bytes == (tmp_path / "bundle.tar").stat().st_size
    assert begun[-1].total_bytes == snapshot.byte_count
    totals = [one.total_bytes for one in begun if one.phase == "reading"]
    assert totals[1:] == [snapshot.byte_count, snapshot.byte_count + 4]
    assert totals[0]
    assert [one.total_bytes for one in begun if one.phase == "restoring"] == [snapshot.byte_count]


def test_what_is_said_of_an_interrupted_work_is_true(ground: Ground) -> None:
    """Reading adds nothing, reading back leaves it unverified, and a restore that stops early replaces nothing."""
    with pytest.raises(KeyboardInterrupt):
        ground.service.create(CreateRequest("sample"), on_progress=stop_at("reading"))
    assert ground.repository.list_ids() == []
    assert "no snapshot was added" in describe_interruption("create", "reading", is_agents=False)
    with pytest.raises(KeyboardInterrupt):
        ground.service.create(CreateRequest("sample"), on_progress=stop_at("verifying"))
    [left] = ground.service.list()[0]
    assert left.state is SnapshotState.UNVERIFIED
    assert "unverified" in describe_interruption("create", "verifying", is_agents=False)
    before = describe(ground.path())
    with pytest.raises(KeyboardInterrupt):
        ground.service.restore(RestoreRequest("sample", left.id), on_progress=stop_at("restoring"))
    assert describe(ground.path()) == before
    assert "nothing was replaced" in describe_interruption("restore", "restoring", is_agents=False)
    (ground.path() / "first-name").write_bytes(b"what no snapshot has")
    before = describe(ground.path())
    # The second of the two is what the safety snapshot begins with.
    for phase in ("reading", "verifying", "swapping"):
        with pytest.raises(KeyboardInterrupt):
            ground.service.restore(RestoreRequest("sample", left.id), on_progress=stop_at(phase))
        assert describe(ground.path()) == before
        ground.now += timedelta(minutes=1)
    assert "nothing was replaced" in describe_interruption("restore", "verifying", is_agents=False)
    # From then on it may be either.
    assert "wholly the old one or wholly the new one" in describe_interruption("restore", "swapping", is_agents=False)


def test_an_import_that_is_interrupted_leaves_nothing(ground: Ground, tmp_path: Path) -> None:
    """Neither a snapshot nor a file of it; once it is being read back it is there, unverified."""
    snapshot = ground.service.create(CreateRequest("sample"))
    write_bundle(ground.repository, snapshot, tmp_path / "bundle.tar")
    colleague = Repository(tmp_path / "colleague")
    colleague.prepare()

    def stop_in_the_middle(progress: Progress) -> None:
        if progress.phase == "importing" and progress.done_bytes:
            raise KeyboardInterrupt

    ticks = count()
    meter = Meter(stop_in_the_middle, lambda: float(next(ticks)))
    with pytest.raises(KeyboardInterrupt):
        read_bundle(colleague, tmp_path / "bundle.tar", lambda: ground.now, meter=meter)
    assert colleague.list_ids() == []
    assert [list((colleague.folder / name).iterdir()) for name in ("archives", "listings")] == [[], []]
    assert "nothing was added" in describe_interruption("import", "importing", is_agents=False)

    with pytest.raises(KeyboardInterrupt):
        read_bundle(colleague, tmp_path / "bundle.tar", lambda: ground.now, meter=Meter(stop_at("verifying")))
    [left] = colleague.load_all()[0]
    assert left.state is SnapshotState.UNVERIFIED
    assert "unverified" in describe_interruption("import", "verifying", is_agents=False)


def test_a_terminal_shows_a_bar_with_rate_and_time_and_a_script_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both on stderr; what is neither says nothing."""
    halfway = Progress("verifying", 1 << 20, 2 << 20, 1 << 20, 1)
    for output in ("json", "table"):
        with ProgressView(output) as view:
            view.show_progress(halfway)
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {
        "type": "progress",
        "phase": "verifying",
        "doneBytes": 1 << 20,
        "totalBytes": 2 << 20,
        "bytesPerSecond": 1 << 20,
        "secondsLeft": 1,
    }
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with ProgressView("table") as view:
            view.show_progress(halfway)
    # It comes in pieces, and ends with an error once nobody has the other end (Linux).
    shown = ""
    with suppress(OSError):
        while piece := os.read(leader, 1 << 16):
            shown += piece.decode()
    os.close(leader)
    assert "verifying" in shown
    assert "1.0/2.1 MB" in shown
    assert "1.0 MB/s 0:01 left" in shown

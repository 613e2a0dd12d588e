"""One volume, several workspaces: who came first keeps a path, and a silent one's can be taken over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.volume.errors import HolderAliveError
from hostk8s_agent.volume.holders import HEARTBEAT_SECONDS, SILENT_SECONDS, HolderLedger, describe_me
from hostk8s_agent.volume.host_directory import HostDirectoryAccess

if TYPE_CHECKING:
    from tests.volume.conftest import Place

A = "/mnt/pv/a"


class Clock:
    """A clock that a test sets."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time of both workspaces."""
    return Clock()


@pytest.fixture
def access(tmp_path: Path) -> Iterator[HostDirectoryAccess]:
    """A volume: the files are the same through each way in."""
    opened = HostDirectoryAccess(tmp_path / "pv")
    yield opened
    opened.close()


class Pair:
    """Two workspaces on one volume."""

    def __init__(self, access: HostDirectoryAccess, folder: Path, clock: Clock) -> None:
        self.access, self.clock, self.folder = access, clock, folder
        self.changes: list[str] = []
        self.first, self.second = self.open("first"), self.open("second")

    def open(self, name: str) -> HolderLedger:
        """A workspace's agent starts."""
        (self.folder / name).mkdir(exist_ok=True)
        ledger = HolderLedger(
            describe_me(name, self.folder / name, f"cluster-of-{name}"),
            may_write=True,
            on_change=lambda: self.changes.append(name),
            clock=self.clock,
        )
        ledger.begin(self.access)
        return ledger

    def turn(self) -> None:
        """Time passes, and both agents check."""
        self.clock.now += 16
        self.first.turn(self.access)
        self.second.turn(self.access)


@pytest.fixture
def pair(access: HostDirectoryAccess, tmp_path: Path, clock: Clock) -> Pair:
    """Both have started, and hold nothing."""
    return Pair(access, tmp_path, clock)


@pytest.mark.parametrize("path", [A, "/mnt/pv/a/inner", "/mnt/pv"])
def test_the_second_to_claim_a_path_is_told_who_holds_it(pair: Pair, path: str) -> None:
    """The same path, one in it, one around it."""
    assert pair.first.claim("stack", [A, "/mnt/pv/b"]) == {}
    pair.turn()
    assert pair.changes == ["second"]
    lost = pair.second.claim("stack", [path, "/mnt/pv/other"])
    assert list(lost) == [path]
    assert lost[path].code == "PathHeldElsewhere"
    assert str(pair.folder / "first") in lost[path].message
    assert "cluster-of-first" in lost[path].message
    pair.turn()
    assert pair.first.claim("stack", [A, "/mnt/pv/b"]) == {}


def test_what_is_given_up_is_free_for_others(pair: Pair) -> None:
    """A contract that asks for it no more lets go of it, and the other one is woken."""
    pair.first.claim("stack", [A])
    pair.turn()
    assert pair.second.claim("stack", [A])
    pair.first.claim("stack", [])
    pair.turn()
    assert pair.changes == ["second", "second"]
    assert pair.second.claim("stack", [A]) == {}


def test_of_two_at_the_same_moment_the_earlier_keeps_it(pair: Pair) -> None:
    """Both claimed before either had read of the other: they agree on one as soon as they have."""
    pair.first.claim("stack", [A])
    pair.clock.now += 0.5
    assert pair.second.claim("stack", [A]) == {}
    pair.turn()
    pair.turn()
    assert pair.first.claim("stack", [A]) == {}
    assert list(pair.second.claim("stack", [A])) == [A]


def test_a_restart_gives_nothing_up(pair: Pair) -> None:
    """What was held before is held since then, though another one came while the agent was away."""
    pair.first.claim("stack", [A])
    pair.turn()
    pair.clock.now += 10 * SILENT_SECONDS
    second = pair.open("second")
    assert list(second.claim("stack", [A])) == [A]
    first = pair.open("first")
    assert first.claim("stack", [A]) == {}
    first.turn(pair.access)
    pair.clock.now += 3 * HEARTBEAT_SECONDS
    first.turn(pair.access)
    assert list(first.holders()[0].paths) == [A]


def test_what_no_stack_claims_after_a_restart_is_given_up(pair: Pair) -> None:
    """The contract went while the agent was away."""
    pair.first.claim("stack", [A])
    pair.turn()
    first = pair.open("first")
    pair.clock.now += 3 * HEARTBEAT_SECONDS
    first.turn(pair.access)
    pair.clock.now += 3 * HEARTBEAT_SECONDS
    pair.second.turn(pair.access)
    assert pair.second.claim("stack", [A]) == {}


def test_only_a_silent_holder_is_taken_over_from(pair: Pair) -> None:
    """A living one is named with its last heartbeat; a silent one loses the path, and finds out when it is back."""
    pair.first.claim("stack", [A])
    pair.turn()
    pair.second.claim("stack", [A])
    with pytest.raises(HolderAliveError, match="was heard of"):
        pair.second.take_over(A)
    pair.clock.now += SILENT_SECONDS + 1
    pair.second.turn(pair.access)
    assert [one.workspace for one in pair.second.take_over(A)] == [str(pair.folder / "first")]
    assert pair.second.claim("stack", [A]) == {}
    pair.second.turn(pair.access)
    back = pair.open("first")
    assert list(back.claim("stack", [A])) == [A]
    assert pair.second.take_over("/mnt/pv/free") == ()


def test_a_silent_holder_whose_checkout_is_gone_is_none(pair: Pair) -> None:
    """A worktree that was removed holds nothing; one that only sleeps does."""
    pair.first.claim("stack", [A])
    pair.turn()
    (pair.folder / "first").rmdir()
    pair.clock.now += HEARTBEAT_SECONDS + 1
    pair.second.turn(pair.access)
    assert pair.second.claim("stack", [A])
    pair.clock.now += SILENT_SECONDS
    pair.second.turn(pair.access)
    assert pair.second.claim("stack", [A]) == {}


def test_a_file_that_is_cut_leaves_the_one_before_in_force(pair: Pair) -> None:
    """Two files are written in turn: a writer that dies in one leaves the other."""
    pair.first.claim("stack", [A])
    pair.turn()
    pair.clock.now += HEARTBEAT_SECONDS + 1
    pair.first.turn(pair.access)
    folder = pair.folder / "pv/.hostk8s-agent/holders"
    files = sorted(folder.glob("first.*.json"), key=lambda file: int(json.loads(file.read_text())["sequence"]))
    assert len(files) == 2
    files[-1].write_text(files[-1].read_text()[:40])
    (folder / "nonsense.json").write_text("[]")
    pair.second.turn(pair.access)
    assert list(pair.second.claim("stack", [A])) == [A]


def test_a_heartbeat_costs_nothing_in_between(pair: Pair) -> None:
    """Nothing is written while nothing has changed and the heartbeat is not due."""
    pair.first.claim("stack", [A])
    pair.turn()
    folder = pair.folder / "pv/.hostk8s-agent/holders"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    pair.clock.now += HEARTBEAT_SECONDS - 20
    pair.turn()
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_holders_are_told_through_every_way_in(place: Place, tmp_path: Path) -> None:
    """Written and read back, over what was there; and given up on release."""
    (tmp_path / "ws").mkdir()
    first = HolderLedger(describe_me("first", tmp_path / "ws", "one"), may_write=True)
    first.begin(place.access)
    first.claim("stack", [A])
    first.turn(place.access)
    second = HolderLedger(describe_me("second", tmp_path, "two"), may_write=False)
    second.begin(place.access)
    assert list(second.claim("stack", [A])) == [A]
    HolderLedger(describe_me("first", tmp_path / "ws", "one"), may_write=True).release(place.access)
    third = HolderLedger(describe_me("third", tmp_path, "three"), may_write=False)
    third.begin(place.access)
    assert third.claim("stack", [A]) == {}

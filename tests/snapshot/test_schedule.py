"""The schedule at work: a real pool, work that reports to the tests, and circumstances of their choice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hostk8s_agent.contract.model import KeepPolicy, Quiesce
from hostk8s_agent.contract.schedules import IntervalSchedule
from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.circumstances import find_obstacle, read_battery_percent
from hostk8s_agent.snapshot.planner import Planner
from hostk8s_agent.snapshot.policies import PolicyInForce
from hostk8s_agent.snapshot.schedule import AT_ONCE, SnapshotSchedule

NEVER = PolicyInForce(None, ZoneInfo("UTC"), KeepPolicy(last=1), Quiesce.NONE)
DAILY = PolicyInForce(IntervalSchedule("every 1d", 86400), ZoneInfo("UTC"), KeepPolicy(last=1), Quiesce.NONE)


class Studio:
    """A schedule, and work that waits until the test lets it end."""

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts
        self.policies: dict[str, PolicyInForce] = {}
        self.obstacle = ""
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most_at_once = 0
        self.niceness: set[int] = set()
        self.may_end = threading.Event()
        self.may_look = threading.Event()
        self.may_look.set()
        self.is_looking = False
        self.failure: Exception | None = None
        self.ahead = timedelta(0)
        planner = Planner(facts, facts.__setitem__, jitter_seconds=0)
        self.schedule = SnapshotSchedule(self, planner, self.list_policies, lambda: self.obstacle, clock=self.clock)
        self._lock = threading.Lock()

    def list_policies(self) -> dict[str, PolicyInForce]:
        """What is in force, once it may be looked."""
        self.is_looking = not self.may_look.is_set()
        assert self.may_look.wait(60)
        return dict(self.policies)

    def clock(self) -> datetime:
        """The time of this schedule."""
        return datetime.now(UTC) + self.ahead

    def take_snapshot(self, stack: str) -> None:
        with self._lock:
            self.begun.append(stack)
            self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended))
            self.niceness.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.may_end.wait(60)
        with self._lock:
            self.ended.append(stack)
        if self.failure is not None:
            raise self.failure

    def drill(self, stack: str) -> None:
        self.begun.append(f"drill {stack}")

    def verify_share(self) -> None:
        self.begun.append("verify")


@pytest.fixture
def studio() -> Iterator[Studio]:
    """One that runs, with nothing to do."""
    studio = Studio({})
    studio.schedule.start()
    yield studio
    studio.may_end.set()
    studio.schedule.stop()


def test_two_snapshots_are_taken_at_once_and_the_others_wait(studio: Studio, wait_until: Callable[..., None]) -> None:
    """And none is taken twice, however often it is looked. They give way to everything else."""
    studio.policies = dict.fromkeys("abcde", DAILY)
    studio.schedule.look_now()
    wait_until(lambda: len(studio.begun) == AT_ONCE, "two begin")
    studio.schedule.look_now()
    studio.may_end.set()
    wait_until(lambda: sorted(studio.ended) == list("abcde"), "all are taken")
    studio.schedule.look_now()
    wait_until(lambda: len([one for one in studio.facts if one.startswith("snapshot.done.snapshot")]) == 5, "recorded")

    assert studio.most_at_once == AT_ONCE
    assert sorted(studio.begun) == list("abcde")
    assert studio.niceness == {10}


def test_a_saved_contract_puts_its_schedule_in_force_at_once(studio: Studio, wait_until: Callable[..., None]) -> None:
    """It is not waited for the next look."""
    studio.may_end.set()
    studio.policies = {"a": NEVER}
    studio.schedule.look_now()
    assert studio.schedule.list_next(studio.policies) == {}

    studio.policies = {"a": DAILY}
    studio.schedule.look_now()

    wait_until(lambda: studio.ended == ["a"], "the snapshot is taken")
    wait_until(lambda: studio.schedule.list_next(studio.policies)["a"] > studio.clock(), "the next is tomorrow")


def test_a_schedule_that_stands_still_gives_no_sign_of_life(studio: Studio, wait_until: Callable[..., None]) -> None:
    """A long snapshot does not hold it up; a look that never ends does, and that is what the watchdog goes by."""
    studio.policies = {"a": DAILY}
    studio.schedule.look_now()
    wait_until(lambda: studio.begun == ["a"], "a snapshot is under way")
    before = studio.schedule.heartbeat
    studio.schedule.look_now()
    wait_until(lambda: studio.schedule.heartbeat != before, "it looks all the same")
    studio.may_look.clear()
    studio.schedule.look_now()
    wait_until(lambda: studio.is_looking, "it looks and does not come back")
    stands_at = studio.schedule.heartbeat
    studio.schedule.look_now()
    assert studio.schedule.heartbeat == stands_at
    studio.may_look.set()
    wait_until(lambda: studio.schedule.heartbeat != stands_at, "it goes on")


def test_what_is_in_the_way_is_told_and_the_snapshot_taken_when_it_has_gone(
    studio: Studio, wait_until: Callable[..., None]
) -> None:
    """Skipped with its reason, not forgotten."""
    studio.may_end.set()
    studio.obstacle = "the battery is at 3 %"
    studio.policies = {"a": DAILY}
    studio.schedule.look_now()
    wait_until(lambda: studio.schedule.explain_delay("a") == "the battery is at 3 %", "the reason is told")
    assert studio.begun == []

    studio.obstacle = ""
    studio.schedule.look_now()

    wait_until(lambda: studio.ended == ["a"], "the snapshot is taken")
    wait_until(lambda: studio.schedule.explain_delay("a") == "", "nothing is in its way")


@pytest.mark.parametrize("failure", [AgentError("the disk is full"), ZeroDivisionError()])
def test_a_failure_is_told_and_tried_again(studio: Studio, wait_until: Callable[..., None], failure: Exception) -> None:
    """Whatever it was, and the other stacks go on."""
    studio.may_end.set()
    studio.failure = failure
    studio.policies = {"a": DAILY}
    studio.schedule.look_now()
    wait_until(lambda: studio.schedule.explain_delay("a"), "the failure is told")
    assert studio.ended == ["a"]

    studio.failure = None
    studio.ahead = timedelta(minutes=5)
    studio.schedule.look_now()

    wait_until(lambda: studio.ended == ["a", "a"], "it is tried again")
    wait_until(lambda: studio.schedule.explain_delay("a") == "", "it is well")


def test_the_last_success_is_known_after_a_restart(wait_until: Callable[..., None]) -> None:
    """So that a restart takes no snapshot that is not due."""
    facts: dict[str, str] = {}
    first = Studio(facts)
    first.may_end.set()
    first.policies = {"a": DAILY}
    first.schedule.start()
    wait_until(lambda: "snapshot.done.snapshot:a" in facts, "it is taken and recorded")
    first.schedule.stop()

    second = Studio(facts)
    second.policies = {"a": DAILY}
    second.schedule.start()
    due = second.schedule.list_next(second.policies)["a"]
    second.schedule.stop()

    assert due > datetime.now(UTC) + timedelta(hours=23)
    assert second.begun == []


def supply(folder: Path, name: str, **files: str) -> None:
    """A power supply as the kernel shows it."""
    (folder / name).mkdir()
    for file, text in files.items():
        (folder / name / file).write_text(f"{text}\n", encoding="utf-8")


def test_a_battery_counts_while_it_empties(tmp_path: Path) -> None:
    """The machine's, not a mouse's; the emptier of two."""
    assert read_battery_percent(tmp_path / "absent") is None
    supply(tmp_path, "AC", type="Mains", online="0")
    supply(tmp_path, "mouse", type="Battery", scope="Device", status="Discharging", capacity="5")
    supply(tmp_path, "full", type="Battery", status="Charging", capacity="7")
    assert read_battery_percent(tmp_path) is None

    supply(tmp_path, "BAT0", type="Battery", status="Discharging", capacity="80")
    supply(tmp_path, "BAT1", type="Battery", status="Discharging", capacity="19")
    assert read_battery_percent(tmp_path) == 19


def test_a_disk_that_is_nearly_full_is_in_the_way(tmp_path: Path) -> None:
    """Also where the repository has yet to be made."""
    repository = tmp_path / "not/yet/there"

    assert find_obstacle(repository, min_battery_percent=0, min_free_percent=0) == ""
    assert "left (setting snapshot_min_free_percent)" in find_obstacle(
        repository, min_battery_percent=0, min_free_percent=100
    )

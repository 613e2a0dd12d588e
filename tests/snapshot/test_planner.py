"""What is due, under a clock that the tests hold: sleep, summer time, a clock that is set, failures, restarts."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hostk8s_agent.contract.model import KeepPolicy, Quiesce, SnapshotPolicy
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.schedules import IntervalSchedule, parse_schedule
from hostk8s_agent.errors import SettingsError
from hostk8s_agent.settings import Settings
from hostk8s_agent.snapshot.planner import Planner, Work
from hostk8s_agent.snapshot.policies import PolicyInForce, find_policy, load_default_policy
from reliability import Row

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SNAPSHOT = Work("snapshot", "a")


def policies(schedule: str | None, zone: ZoneInfo = BERLIN, stack: str = "a") -> dict[str, PolicyInForce]:
    """One stack with a schedule."""
    parsed = parse_schedule(schedule) if schedule else None
    return {stack: PolicyInForce(parsed, zone, KeepPolicy(last=1), Quiesce.NONE)}


class Life:
    """An agent that looks at what is due, on a machine whose clock may be wrong by `skew`."""

    def __init__(self, schedule: str, started_at: datetime) -> None:
        self.facts: dict[str, str] = {}
        self.true_time = started_at
        self.skew = timedelta(0)
        self.taken: list[datetime] = []
        self.policies = policies(schedule)
        self.restart()

    def restart(self) -> None:
        """Forget all but the facts."""
        self.planner = Planner(dict(self.facts), self.facts.__setitem__, jitter_seconds=60)

    def run(self, duration: timedelta, look: timedelta = timedelta(minutes=1)) -> None:
        """Be awake for so long."""
        end = self.true_time + duration
        while self.true_time < end:
            self.true_time += look
            now = self.true_time + self.skew
            for work in self.planner.list_due(self.policies, now):
                if work.kind == "snapshot":
                    self.taken.append(self.true_time)
                self.planner.record_success(work, now)

    def sleep(self, duration: timedelta) -> None:
        """Be suspended, or off, for so long."""
        self.true_time += duration


def longest_gap(life: Life, begin: datetime) -> timedelta:
    """The longest time without a snapshot until now."""
    moments = [begin, *life.taken, life.true_time]
    return max(later - earlier for earlier, later in pairwise(moments))


@pytest.mark.fault(
    "T1",
    "clock jumps both ways, both summer-time changes, 8 h of sleep, restarts",
    holds="nothing missed beyond grace, at most one double",
    target="0 missed",
    short=10,
    full=1000,
)
def test_a_clock_that_jumps_costs_no_snapshot(row: Row) -> None:
    """While the agent is awake, no two snapshots are much farther apart than the schedule says, nor do many come."""
    source = random.Random(1)
    nights = (datetime(2026, 3, 28, 18, tzinfo=UTC), datetime(2026, 10, 24, 18, tzinfo=UTC), NOON)
    for trial in row.trials():
        with trial:
            text, hours = source.choice([("every 1h", 1), ("0 * * * *", 1), ("0 */6 * * *", 6), ("30 2 * * *", 24)])
            life = Life(text, source.choice(nights))
            life.run(timedelta(hours=hours + 2))
            before = len(life.taken)
            begin, slept = life.true_time, timedelta(0)
            disturbances = 0
            for _ in range(3):
                kind = source.choice(["sleep", "forward", "back", "restart", "nothing"])
                disturbances += kind != "nothing"
                if kind == "sleep":
                    slept += timedelta(hours=8)
                    life.sleep(timedelta(hours=8))
                elif kind == "forward":
                    life.skew += timedelta(hours=source.choice([1, 5, 30]))
                elif kind == "back":
                    life.skew -= timedelta(hours=source.choice([1, 5, 30]))
                elif kind == "restart":
                    life.restart()
                life.run(timedelta(hours=hours * 2 + 1), timedelta(minutes=1 if hours < 24 else 10))
            # A clock that is set moves a cron time by up to a whole span, and once more with each setting.
            grace = timedelta(hours=hours * 2, minutes=15) + (timedelta(hours=8) if slept else timedelta(0))
            assert longest_gap(life, begin) <= grace, text
            awake = life.true_time - begin - slept
            expected = awake / timedelta(hours=hours)
            assert len(life.taken) - before <= expected + disturbances + 2, text
            row.measure("longest gap in spans", longest_gap(life, begin) / timedelta(hours=hours), statistic="max")


def test_what_was_missed_in_a_night_is_caught_up_with_once() -> None:
    """One snapshot on waking, not one for each hour of the night."""
    life = Life("every 1h", NOON)
    life.run(timedelta(minutes=90))
    before = len(life.taken)

    life.sleep(timedelta(hours=8))
    life.restart()
    life.run(timedelta(minutes=30))

    assert len(life.taken) == before + 1


def test_an_edited_schedule_is_in_force_with_the_next_look() -> None:
    """Counted from the last success."""
    life = Life("every 6h", NOON)
    life.run(timedelta(minutes=60))
    assert len(life.taken) == 1

    life.policies = policies("every 30m")
    life.run(timedelta(minutes=1))
    assert len(life.taken) == 2

    life.policies = policies(None)
    life.run(timedelta(days=2))
    assert len(life.taken) == 2


def test_a_new_cron_schedule_waits_for_its_first_time_and_survives_a_restart() -> None:
    """Else an agent that is restarted each day before the time would never take a snapshot."""
    life = Life("30 13 * * *", NOON)
    life.run(timedelta(minutes=25))
    assert life.taken == []

    life.sleep(timedelta(hours=23))
    life.restart()
    life.run(timedelta(minutes=5))

    assert len(life.taken) == 1


def test_what_fails_is_tried_again_after_a_growing_while() -> None:
    """Not with each look, and not only when it is due the next time."""
    planner = Planner({}, lambda _name, _value: None, jitter_seconds=0)
    mine = policies("every 1d")
    now, attempts = NOON, []
    for _ in range(24 * 60):
        now += timedelta(minutes=1)
        if SNAPSHOT in planner.list_due(mine, now):
            attempts.append(now)
            planner.record_failure(SNAPSHOT, now)
    assert 15 <= len(attempts) <= 40
    assert attempts[1] - attempts[0] <= timedelta(minutes=3)
    # A clock that is set back by a year does not stop it.
    assert SNAPSHOT in planner.list_due(mine, now - timedelta(days=365))


def test_each_stack_is_drilled_weekly_and_the_repository_read_daily() -> None:
    """From a week and a day on."""
    life = Life("every 1d", NOON)
    done: list[Work] = []
    keep: Callable[[Work, datetime], None] = life.planner.record_success
    for hour in range(15 * 24):
        now = NOON + timedelta(hours=hour)
        for work in life.planner.list_due(life.policies, now):
            done.append(work)
            keep(work, now)

    assert done.count(Work("drill", "a")) == 2
    assert done.count(Work("verify")) == 14
    assert done.count(SNAPSHOT) == 15


def test_the_contract_wins_over_the_settings_field_by_field() -> None:
    """What it leaves out is the settings'."""
    default = load_default_policy(Settings(snapshot_timezone="Europe/Berlin"))
    hourly = IntervalSchedule("every 1h", 3600)
    contract = SnapshotPolicy(schedule=hourly, quiesce=Quiesce.FREEZE)

    assert find_policy(None, default) == default
    assert find_policy(contract, default) == PolicyInForce(hourly, BERLIN, default.keep, Quiesce.FREEZE)
    assert default.keep == KeepPolicy(3, 24, 7, 4, 6)
    assert find_policy(SnapshotPolicy(timezone="Mars/Olympus"), default).zone == BERLIN


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"snapshot_schedule": "hourly"}, "snapshot_schedule: .*has not five fields"),
        ({"snapshot_timezone": "Mars/Olympus"}, "snapshot_timezone: Mars/Olympus"),
        ({"snapshot_keep": {"lst": 1}}, "snapshot_keep: lst"),
        ({"snapshot_keep": {"last": -1}}, "snapshot_keep: last"),
        ({"snapshot_keep": {"last": 0}}, "snapshot_keep keeps nothing"),
        ({"snapshot_keep": {"within": "soon"}}, "snapshot_keep: .*soon"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(values: dict[str, Any], words: str) -> None:
    """At the start, not in the night when the first snapshot is due."""
    with pytest.raises(SettingsError, match=words):
        load_default_policy(Settings(**values))


CONTRACT = b"""\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata: {name: web}
spec:
  directories:
    - {name: one, path: /mnt/pv/one, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: web}
"""


def test_the_schedule_can_be_turned_off() -> None:
    """And the rest of the policy is still there, for snapshots that a person takes."""
    default = load_default_policy(Settings(snapshot_schedule="off", snapshot_keep={"within": "2d", "tags": ["v1"]}))

    assert default.schedule is None
    # And a contract can turn it off for itself: it is not the same as to say nothing.
    said = parse_contract(CONTRACT + b"  snapshots: {schedule: off}\n", file="f", stack="web")
    silent = parse_contract(CONTRACT + b"  snapshots: {}\n", file="f", stack="web")
    assert find_policy(said.snapshots, load_default_policy(Settings())).schedule is None
    assert find_policy(silent.snapshots, load_default_policy(Settings())).schedule is not None
    assert said.digest != silent.digest
    assert default.keep == KeepPolicy(within_seconds=172800, tags=("v1",))

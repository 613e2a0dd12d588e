"""What is told, when, and how often: decided from a status and two clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hostk8s_agent.errors import Problem
from hostk8s_agent.notification.conditions import Condition, Look, find_conditions
from hostk8s_agent.notification.noticing import SETTLE_SECONDS, Notice, Noticer, Terms
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryProtection,
    DockerStatus,
    SnapshotsStatus,
    StackStatus,
    WatchStatus,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FAILURES = ("problem", "snapshot-failed", "snapshot-overdue", "snapshot-suspect")
WELL = AgentStatus(
    AgentInfo("Running", "1", 1, "/w", ""),
    DockerStatus("Connected", "", "", ""),
    ClusterStatus("Absent", "", "", ""),
    WatchStatus("inotify", (), ""),
    (StackStatus("good", "", "Ready", ""),),
)
BLOCKED = Condition("stack:a", "problem", "a is Blocked: why", "do this", "a")
SUSPECT = Condition("suspect", "snapshot-suspect", "a shrank", must_last=False)


class Watched:
    """A noticer with a clock that the test moves, and a look each 15 s of it."""

    def __init__(self, about: Sequence[str] = FAILURES, told: str = "", max_per_hour: int = 6) -> None:
        self.noticer = Noticer(Terms(about, 300, 86400, max_per_hour), "w", told)
        self.at = 1000.0

    def look(self, *conditions: Condition, seconds: float = 15, unseen: tuple[str, ...] = ()) -> list[Notice]:
        """Look again and again for so long, and return what was told."""
        told: list[Notice] = []
        end = self.at + seconds
        while self.at < end:
            self.at += 15
            told += self.noticer.notice(Look(conditions, unseen), self.at, 1e9 + self.at)
        return told


def test_what_lasts_is_told_once_and_again_after_a_day() -> None:
    """Not what is over before, and not at every look."""
    watched = Watched()
    assert watched.look(BLOCKED, seconds=285) == []
    (notice,) = watched.look(BLOCKED, seconds=60)
    assert (notice.title, notice.text) == ("HostK8s w: a is Blocked: why", "a is Blocked: why (do this)")
    assert (notice.kinds, notice.stacks, notice.is_failure) == (("problem",), ("a",), True)
    assert watched.look(BLOCKED, seconds=86000) == []
    assert len(watched.look(BLOCKED, seconds=600)) == 1


def test_what_does_not_go_by_itself_is_told_at_once() -> None:
    """A suspect snapshot stays suspect until a person has looked."""
    assert len(Watched().look(SUSPECT)) == 1


def test_a_machines_sleep_is_no_time_that_a_problem_lasted() -> None:
    """What was wrong when the lid was closed has a chance to mend itself when it opens."""
    watched = Watched()
    watched.look(BLOCKED, seconds=60)
    watched.at += 8 * 3600
    assert watched.look(BLOCKED) == []


def test_a_restart_tells_nothing_twice() -> None:
    """What was told before is known, and its end is an end."""
    before = Watched()
    assert before.look(SUSPECT)
    after = Watched((*FAILURES, "recovery"), told=before.noticer.render_told())
    assert after.look(SUSPECT, seconds=60) == []
    (over,) = after.look(seconds=SETTLE_SECONDS + 15)
    assert (over.title, over.kinds, over.is_failure) == ("HostK8s w: over: a shrank", ("recovery",), False)


def test_recovery_is_told_only_where_that_is_wished() -> None:
    """It is no failure."""
    watched = Watched()
    assert watched.look(SUSPECT)
    assert watched.look(seconds=3600) == []


def test_what_flaps_is_not_over_and_does_not_begin_anew() -> None:
    """Gone for less than a minute it is the same thing, and is told when it has been there for long enough."""
    watched = Watched((*FAILURES, "recovery"))
    told = [notice for _ in range(15) for notice in (*watched.look(BLOCKED, seconds=30), *watched.look(seconds=15))]
    assert [notice.kinds for notice in told] == [("problem",)]


def test_of_what_is_not_seen_nothing_is_said() -> None:
    """A stack that cannot be judged while Docker is away has not recovered."""
    watched = Watched((*FAILURES, "recovery"))
    assert len(watched.look(BLOCKED, seconds=400)) == 1
    assert watched.look(seconds=3600, unseen=("stack:",)) == []
    assert watched.look(BLOCKED, seconds=3600) == []


def test_a_storm_is_one_notification_and_the_hour_has_a_limit() -> None:
    """What is beyond the limit comes later, together; nothing is lost."""
    many = [replace(BLOCKED, key=f"stack:{number:02}", message=f"{number:02} is Blocked") for number in range(30)]
    (notice,) = Watched().look(*many, seconds=400)
    assert notice.title == "HostK8s w: 30 problems"
    assert notice.text.splitlines()[-1] == "and 20 more: hostk8s-agent status"
    watched = Watched(max_per_hour=2)
    suspects = [replace(SUSPECT, key=f"suspect:{number}") for number in range(6)]
    told = [notice for number in range(6) for notice in watched.look(*suspects[: number + 1])]
    assert len(told) == 2
    (rest,) = watched.look(*suspects, seconds=3600)
    assert rest.title == "HostK8s w: 4 problems"


def test_a_secret_in_a_message_is_hidden() -> None:
    """A problem's words may quote an address with a password."""
    (notice,) = Watched().look(replace(SUSPECT, message="tcp://ada:hunter2@host cannot be reached"))
    assert "hunter2" not in notice.title + notice.text


def keys(status: AgentStatus) -> dict[str, str]:
    """The kinds of what is wrong, by key."""
    return {one.key: one.kind for one in find_conditions(status, NOW).conditions}


def test_what_is_wrong_is_read_from_the_status() -> None:
    """Problems, stacks that are not Ready, and snapshots that are late or overdue."""
    assert keys(WELL) == {}
    late = DirectoryProtection("late", "d", is_protected=True, snapshots=1, next_due_at="2026-01-31T11:59:00Z")
    wrong = replace(
        WELL,
        problems=(
            Problem("WatchesExhausted", "m", "h"),
            Problem("SnapshotSuspect", "the snapshot 1", "h"),
            Problem("SnapshotDamaged", "the snapshot 2", "h"),
            Problem("NotificationFailed", "m", "h"),
        ),
        stacks=(StackStatus("bad", "", "Blocked", ""), StackStatus("going", "", "Removing", "")),
        snapshots=SnapshotsStatus(
            directories=(
                replace(late, delay="the disk is full"),
                replace(late, stack="flat", delay="the battery is at 15 % and not charging"),
                replace(late, stack="old", is_protected=False, last_good_at="2026-01-30T00:00:00Z"),
                replace(late, stack="new", is_protected=False, snapshots=0),
                replace(late, stack="never", is_protected=False, snapshots=0, next_due_at="2026-01-31T10:00:00Z"),
            )
        ),
    )
    assert keys(wrong) == {
        "problem:WatchesExhausted:": "problem",
        "problem:SnapshotSuspect:the snapshot 1": "snapshot-suspect",
        "problem:SnapshotDamaged:the snapshot 2": "snapshot-failed",
        "stack:bad": "problem",
        "late:late": "snapshot-failed",
        "overdue:old": "snapshot-overdue",
        "overdue:never": "snapshot-overdue",
    }


@pytest.mark.parametrize(
    ("status", "unseen"),
    [
        (replace(WELL, agent=replace(WELL.agent, state="Starting")), ("",)),
        (replace(WELL, docker=replace(WELL.docker, state="Unreachable")), ("stack:", "late:", "overdue:")),
    ],
)
def test_what_waits_for_docker_is_not_told_stack_by_stack(status: AgentStatus, unseen: tuple[str, ...]) -> None:
    """A thousand stacks that wait for one engine are one problem."""
    waiting = tuple(StackStatus(f"s{number}", "", "Pending", "") for number in range(1000))
    look = find_conditions(replace(status, stacks=waiting), NOW)
    assert look.unseen == unseen
    assert len(look.conditions) <= 1

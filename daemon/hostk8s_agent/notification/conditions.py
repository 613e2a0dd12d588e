"""What of a status is worth telling somebody who does not look: pure, from the status that everybody sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.circumstances import BATTERY_LOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.settings.notifications import NotificationKind
    from hostk8s_agent.status.model import AgentStatus, DirectoryProtection, StackStatus

CODE_UNDELIVERED: Final = "NotificationFailed"
"""The problem of a channel that fails: telling it would be one more notification that fails."""

FIRST_GRACE: Final = timedelta(hours=1)
"""How late the first snapshot of a stack may be; later ones have twice their schedule (`isProtected`)."""

_AT_ONCE: Final[dict[str, NotificationKind]] = {
    "SnapshotSuspect": "snapshot-suspect",
    "SnapshotDamaged": "snapshot-failed",
    "DrillFailed": "snapshot-failed",
}
_PRESENT: Final = frozenset({"Connected", "Absent"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong. `key` stays the same as long as it is the same thing, whatever its words become.

    `must_last`: it is told only once it has lasted; else at once, because it does not go by itself.
    """

    key: str
    kind: NotificationKind
    message: str
    hint: str = ""
    stack: str = ""
    must_last: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """What is wrong now. Of keys that begin with one of `unseen` nothing can be said: neither that, nor that not."""

    conditions: tuple[Condition, ...]
    unseen: tuple[str, ...] = ()


def find_conditions(status: AgentStatus, now: datetime) -> Look:
    """Return what is wrong.

    An agent that starts or stops has not seen it. While Docker or the cluster is away, that is told, and not each
    stack that waits for it.
    """
    if status.agent.state != "Running":
        return Look((), unseen=("",))
    away = [one for one in (status.docker, status.cluster) if one.state not in _PRESENT]
    found = [
        Condition(
            f"problem:{one.code}:{one.message if one.code in _AT_ONCE else one.file or ''}",
            _AT_ONCE.get(one.code, "problem"),
            one.message,
            one.hint,
            must_last=one.code not in _AT_ONCE,
        )
        for one in status.problems
        if one.code != CODE_UNDELIVERED
    ]
    if away and not status.problems:
        found.append(Condition("away", "problem", "Docker or the cluster cannot be reached", "hostk8s-agent doctor"))
    if away:
        return Look(tuple(found), unseen=("stack:", "late:", "overdue:"))
    found += map(_judge_stack, (stack for stack in status.stacks if stack.state not in {"Ready", "Removing"}))
    found += _find_late(status.snapshots.directories, now)
    return Look(tuple(found))


def _judge_stack(stack: StackStatus) -> Condition:
    hint = stack.problems[0].hint if stack.problems else f"hostk8s-agent status {stack.name}"
    return Condition(
        f"stack:{stack.name}", "problem", f"{stack.name} is {stack.state}: {stack.message}", hint, stack.name
    )


def _find_late(directories: Iterable[DirectoryProtection], now: datetime) -> Iterator[Condition]:
    """Give for each stack what keeps its snapshot from being taken, and that its protection has lapsed."""
    known: set[str] = set()
    for one in directories:
        stack = one.stack
        hint = f"hostk8s-agent snapshot create {stack}"
        late, overdue = f"late:{stack}", f"overdue:{stack}"
        if one.delay and not one.delay.startswith(BATTERY_LOW) and late not in known:
            known.add(late)
            message = f"a snapshot of {stack} is due and does not come about: {one.delay}"
            yield Condition(late, "snapshot-failed", message, hint, stack)
        if overdue not in known and (message := _find_lapse(one, now)):
            known.add(overdue)
            yield Condition(overdue, "snapshot-overdue", message, hint, stack)


def _find_lapse(one: DirectoryProtection, now: datetime) -> str:
    if not one.next_due_at or one.is_protected:
        return ""
    if one.last_good_at:
        return f"the last good snapshot of {one.stack} is of {one.last_good_at}, twice its schedule ago or more"
    if now - datetime.fromisoformat(one.next_due_at) > FIRST_GRACE:
        return f"there is no good snapshot of {one.stack}; the first was due at {one.next_due_at}"
    return ""

"""Which change of a stack's status is an event, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostk8s_agent.status.model import StackStatus

STATE_CHANGED = "stack.state"
"""A stack went from one state to another, which is news for who follows and no matter for the history."""

_HELD = frozenset({"Blocked", "Invalid"})


@dataclass(frozen=True, slots=True)
class Telling:
    """An event before it has its number and its time. `reason` is CamelCase, `subject` as in `Event`."""

    type: str
    message: str
    reason: str
    subject: str = ""
    is_warning: bool = False


def find_telling(before: StackStatus | None, after: StackStatus, held: Telling | None) -> Telling | None:
    """Return what to tell of a stack's new status, None when neither state nor message is another.

    `held` is what was told last of the stack being held back, None when it was Ready since: a stack that waits for
    Docker in between is neither held back anew nor recovered by that.
    """
    if before is not None and (before.state, before.message) == (after.state, after.message):
        return None
    message = f"{after.state}: {after.message}"
    telling = find_held_telling(after)
    if telling is not None and telling != held:
        return telling
    if held is not None and after.state == "Ready":
        return Telling("recovered", message, "Recovered", held.subject)
    return Telling(STATE_CHANGED, message, after.state)


def find_held_telling(status: StackStatus) -> Telling | None:
    """Return what to tell of a stack that is held back, None for one that is not."""
    if status.state not in _HELD:
        return None
    reason = status.problems[0].code if status.problems else status.state
    message = f"{status.state}: {status.message}"
    return Telling(status.state.lower(), message, reason, _find_held_part(status), is_warning=True)


def _find_held_part(status: StackStatus) -> str:
    """Return the first volume that is held back, else the first directory, as an event's subject; empty for none."""
    volumes = (f"PersistentVolume/{one.name}" for one in status.volumes if one.state == "Blocked")
    directories = (one.path for one in status.directories if one.state == "Blocked")
    return next(chain(volumes, directories), "")

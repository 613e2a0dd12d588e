"""The thread-safe board: who knows something writes it here, who shows something reads it here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from hostk8s_agent.status.telling import STATE_CHANGED, Telling, find_held_telling, find_telling

if TYPE_CHECKING:
    from hostk8s_agent.status.model import StackStatus

HISTORY_LENGTH = 1_000

Severity = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `sequence` rises, also over restarts; `stack` is empty for what concerns the agent.

    `type` says what kind of thing (`drift`, `blocked`, `docker.state`); `subject` is what it happened to, a path or
    `Kind/name`, empty for the stack or the agent as a whole; `reason` is one CamelCase word for it, a problem's code
    where there is one; `severity` is as Kubernetes has it.
    """

    sequence: int
    at: str
    type: str
    stack: str
    message: str
    subject: str = ""
    severity: Severity = "Normal"
    reason: str = ""


EventListener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a directory's files held at an instant: the fields are `DirectoryStatus`'s."""

    used_bytes: int
    at: str
    changed_bytes: int | None = None
    changed_since: str = ""


def render_time(unix_seconds: float) -> str:
    """A time as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _carry_usage(before: StackStatus, status: StackStatus) -> StackStatus:
    """Return `status` with what is known of its directories' usage, which no reconcile looks at."""
    known = {one.path: one for one in before.directories if one.used_bytes is not None}
    if not known:
        return status
    directories = tuple(
        replace(
            one,
            used_bytes=known[one.path].used_bytes,
            used_at=known[one.path].used_at,
            changed_bytes=known[one.path].changed_bytes,
            changed_since=known[one.path].changed_since,
        )
        if one.path in known and one.used_bytes is None
        else one
        for one in status.directories
    )
    return replace(status, directories=directories)


class StatusBoard:
    """The stacks' statuses and the recent events. Every method may be called from any thread.

    `past` are the kept events of earlier agents, and `last_sequence` the number after which this one's begin.
    `listeners` are told each event that is kept, in order and under the board's lock: they return at once.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        past: Sequence[Event] = (),
        last_sequence: int = 0,
        listeners: Sequence[EventListener] = (),
    ) -> None:
        self._clock = clock
        self._listeners = tuple(listeners)
        self._stacks: dict[str, StackStatus] = {}
        self._held: dict[str, Telling] = {}
        # Changes of state are told to who follows. In the history a thousand stacks that wait for Docker, and then
        # are Ready again, would leave room for nothing else.
        self._events: deque[Event] = deque(past, maxlen=HISTORY_LENGTH)
        self._kept: deque[Event] = deque(past, maxlen=HISTORY_LENGTH)
        self._sequence = last_sequence
        self._changed = threading.Condition()
        self._revision = 0

    def update_stack(self, status: StackStatus) -> bool:
        """Show `status` for its stack; return whether anything but the time of the run differs from before."""
        with self._changed:
            before = self._stacks.get(status.name)
            if before is not None:
                status = _carry_usage(before, status)
                # A run that had nothing to change says nothing of the last one that had.
                status = replace(status, last_changed_at=status.last_changed_at or before.last_changed_at)
            self._stacks[status.name] = status
            is_changed = before is None or replace(before, last_reconciled_at=status.last_reconciled_at) != status
            if telling := find_telling(before, status, self._held.get(status.name)):
                self._append(status.name, telling)
            elif is_changed:
                self._tell_change()
            self._note_held(status)
            return is_changed

    def remember(self, status: StackStatus) -> None:
        """Know what an earlier agent showed of a stack, without showing it: what is told of it is no news again."""
        with self._changed:
            self._note_held(status)

    def remove_stack(self, name: str, reason: str) -> None:
        """Take a stack off the board."""
        with self._changed:
            self._held.pop(name, None)
            if self._stacks.pop(name, None) is not None:
                self._append(name, Telling("stack.removed", reason, "StackRemoved"))

    def stack(self, name: str) -> StackStatus | None:
        """One stack's status, None when the board does not have it."""
        with self._changed:
            return self._stacks.get(name)

    def stacks(self) -> tuple[StackStatus, ...]:
        """All stacks, sorted by name."""
        with self._changed:
            return tuple(self._stacks[name] for name in sorted(self._stacks))

    def record_usage(self, stack: str, path: str, usage: Usage) -> None:
        """Show what the files of the stack's directory at `path` hold; later statuses of the stack keep it."""
        with self._changed:
            before = self._stacks.get(stack)
            if before is None:
                return
            directories = tuple(
                replace(
                    one,
                    used_bytes=usage.used_bytes,
                    used_at=usage.at,
                    changed_bytes=usage.changed_bytes,
                    changed_since=usage.changed_since,
                )
                if one.path == path
                else one
                for one in before.directories
            )
            self._stacks[stack] = replace(before, directories=directories)
            known = (usage.used_bytes, usage.changed_bytes)
            if any(one.path == path and (one.used_bytes, one.changed_bytes) != known for one in before.directories):
                self._tell_change()

    def record_event(
        self,
        event_type: str,
        message: str,
        stack: str = "",
        *,
        subject: str = "",
        reason: str = "",
        is_warning: bool = False,
    ) -> None:
        """Add one event to the history, wake those who follow it, and tell the listeners. The fields are `Event`'s.

        An event whose subject is `PersistentVolume/NAME` is shown on that object by the cluster, too.
        """
        with self._changed:
            self._append(stack, Telling(event_type, message, reason, subject, is_warning))

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        """Return the events after `sequence`, waiting for at least one up to the timeout; empty when none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._sequence > sequence, timeout_seconds)
            return tuple(event for event in self._events if event.sequence > sequence)

    def wait_for_change(self, revision: int, timeout_seconds: float) -> int:
        """Return the number of the newest change, waiting up to the timeout for one after number `revision`.

        A change is an event, or anything of a stack but the time of its run. 0 is before the first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._revision > revision, timeout_seconds)
            return self._revision

    def history(self) -> tuple[Event, ...]:
        """The events that are kept, oldest first: all but mere changes of a stack's state."""
        with self._changed:
            return tuple(self._kept)

    @property
    def last_sequence(self) -> int:
        """The number of the newest event, 0 when there is none."""
        with self._changed:
            return self._sequence

    def _note_held(self, status: StackStatus) -> None:
        if telling := find_held_telling(status):
            self._held[status.name] = telling
        elif status.state == "Ready":
            self._held.pop(status.name, None)

    def _append(self, stack: str, telling: Telling) -> None:
        self._sequence += 1
        event = Event(
            self._sequence,
            render_time(self._clock()),
            telling.type,
            stack,
            telling.message,
            telling.subject,
            "Warning" if telling.is_warning else "Normal",
            telling.reason,
        )
        self._events.append(event)
        if event.type != STATE_CHANGED:
            self._kept.append(event)
            for listener in self._listeners:
                listener(event)
        self._tell_change()

    def _tell_change(self) -> None:
        self._revision += 1
        self._changed.notify_all()

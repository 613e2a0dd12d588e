"""The thread-safe board: who knows something writes it here, who shows something reads it here."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.status.model import StackStatus

HISTORY_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `sequence` rises by one; `stack` is empty for what concerns the whole agent."""

    sequence: int
    at: str
    type: str
    stack: str
    message: str


def render_time(unix_seconds: float) -> str:
    """A time as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _carry_usage(before: StackStatus, status: StackStatus) -> StackStatus:
    """Return `status` with what is known of its directories' usage, which no reconcile looks at."""
    known = {one.path: one for one in before.directories if one.used_bytes is not None}
    if not known:
        return status
    directories = tuple(
        replace(one, used_bytes=known[one.path].used_bytes, used_at=known[one.path].used_at)
        if one.path in known and one.used_bytes is None
        else one
        for one in status.directories
    )
    return replace(status, directories=directories)


@dataclass(slots=True)
class StatusBoard:
    """The stacks' statuses and the recent events. Every method may be called from any thread."""

    clock: Callable[[], float] = time.time
    _stacks: dict[str, StackStatus] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _sequence: int = 0
    _revision: int = 0

    def update_stack(self, status: StackStatus) -> bool:
        """Show `status` for its stack; return whether anything but the time of the run differs from before."""
        with self._changed:
            before = self._stacks.get(status.name)
            if before is not None:
                status = _carry_usage(before, status)
            self._stacks[status.name] = status
            is_changed = before is None or replace(before, last_reconciled_at=status.last_reconciled_at) != status
            if before is None or (before.state, before.message) != (status.state, status.message):
                self._append("stack.state", status.name, f"{status.state}: {status.message}")
            elif is_changed:
                self._tell_change()
            return is_changed

    def remove_stack(self, name: str, reason: str) -> None:
        """Take a stack off the board."""
        with self._changed:
            if self._stacks.pop(name, None) is not None:
                self._append("stack.removed", name, reason)

    def stack(self, name: str) -> StackStatus | None:
        """One stack's status, None when the board does not have it."""
        with self._changed:
            return self._stacks.get(name)

    def stacks(self) -> tuple[StackStatus, ...]:
        """All stacks, sorted by name."""
        with self._changed:
            return tuple(self._stacks[name] for name in sorted(self._stacks))

    def record_usage(self, stack: str, path: str, used_bytes: int, used_at: str) -> None:
        """Show what the files of the stack's directory at `path` hold; later statuses of the stack keep it."""
        with self._changed:
            before = self._stacks.get(stack)
            if before is None:
                return
            directories = tuple(
                replace(one, used_bytes=used_bytes, used_at=used_at) if one.path == path else one
                for one in before.directories
            )
            self._stacks[stack] = replace(before, directories=directories)
            if any(one.path == path and one.used_bytes != used_bytes for one in before.directories):
                self._tell_change()

    def record_event(self, event_type: str, message: str, stack: str = "") -> None:
        """Add one event to the history and wake those who follow it."""
        with self._changed:
            self._append(event_type, stack, message)

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

    @property
    def last_sequence(self) -> int:
        """The number of the newest event, 0 when there is none."""
        with self._changed:
            return self._sequence

    def _append(self, event_type: str, stack: str, message: str) -> None:
        self._sequence += 1
        self._events.append(Event(self._sequence, render_time(self.clock()), event_type, stack, message))
        self._tell_change()

    def _tell_change(self) -> None:
        self._revision += 1
        self._changed.notify_all()

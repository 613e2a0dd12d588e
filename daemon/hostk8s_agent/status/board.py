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


@dataclass(slots=True)
class StatusBoard:
    """The stacks' statuses and the recent events. Every method may be called from any thread."""

    clock: Callable[[], float] = time.time
    _stacks: dict[str, StackStatus] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _sequence: int = 0

    def update_stack(self, status: StackStatus) -> bool:
        """Show `status` for its stack; return whether anything but the time of the run differs from before."""
        with self._changed:
            before = self._stacks.get(status.name)
            self._stacks[status.name] = status
            is_changed = before is None or replace(before, last_reconciled_at=status.last_reconciled_at) != status
            if before is None or (before.state, before.message) != (status.state, status.message):
                self._append("stack.state", status.name, f"{status.state}: {status.message}")
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

    def record_event(self, event_type: str, message: str, stack: str = "") -> None:
        """Add one event to the history and wake those who follow it."""
        with self._changed:
            self._append(event_type, stack, message)

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        """Return the events after `sequence`, waiting for at least one up to the timeout; empty when none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._sequence > sequence, timeout_seconds)
            return tuple(event for event in self._events if event.sequence > sequence)

    @property
    def last_sequence(self) -> int:
        """The number of the newest event, 0 when there is none."""
        with self._changed:
            return self._sequence

    def _append(self, event_type: str, stack: str, message: str) -> None:
        self._sequence += 1
        self._events.append(Event(self._sequence, render_time(self.clock()), event_type, stack, message))
        self._changed.notify_all()

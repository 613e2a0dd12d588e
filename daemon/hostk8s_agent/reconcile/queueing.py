"""A keyed work queue: a key is never worked on twice at once, and events during a run cause one more run.

The rules are those of client-go's workqueue (util/workqueue/queue.go): a key that is added while it waits is
added once; one that is added while it is worked on is worked on again afterwards.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class WorkQueue:
    """Thread-safe. Urgent keys (a save, a command) overtake the others (a resync of everything)."""

    clock: Callable[[], float] = time.monotonic
    _urgent: deque[str] = field(default_factory=deque)
    _ordinary: deque[str] = field(default_factory=deque)
    _waiting: dict[str, bool] = field(default_factory=dict)  # the key, and whether it is urgent
    _working: set[str] = field(default_factory=set)
    _again: dict[str, bool] = field(default_factory=dict)
    _delayed: list[tuple[float, int, str]] = field(default_factory=list)
    _due_at: dict[str, float] = field(default_factory=dict)
    _order: count[int] = field(default_factory=count)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _is_closed: bool = False

    def add(self, key: str, *, is_urgent: bool = True) -> None:
        """Ask for a run of `key`. A run that was put off for later is no longer needed."""
        with self._changed:
            self._due_at.pop(key, None)
            self._add(key, is_urgent=is_urgent)

    def add_after(self, key: str, seconds: float) -> None:
        """Ask for a run of `key` in `seconds`, unless one is due earlier."""
        with self._changed:
            due_at = self.clock() + seconds
            if key in self._due_at and self._due_at[key] <= due_at:
                return
            self._due_at[key] = due_at
            heapq.heappush(self._delayed, (due_at, next(self._order), key))
            self._changed.notify()

    def get(self) -> str | None:
        """Wait for a key and return it, None once the queue is closed. The caller must call `finish`."""
        with self._changed:
            while True:
                if self._is_closed:
                    return None
                wait_seconds = self._release_due()
                if self._urgent or self._ordinary:
                    key = (self._urgent or self._ordinary).popleft()
                    if key not in self._waiting:
                        continue  # it was made urgent and run: this is the place in the other line that it left
                    del self._waiting[key]
                    self._working.add(key)
                    if self._delayed:
                        # Another waiter has to take over the wait for what is due next.
                        self._changed.notify()
                    return key
                self._changed.wait(wait_seconds)

    def finish(self, key: str) -> None:
        """Say that the run of `key` is over; it is queued once more if it was added meanwhile."""
        with self._changed:
            self._working.discard(key)
            if key in self._again:
                self._add(key, is_urgent=self._again.pop(key))

    def close(self) -> None:
        """Let every `get` return None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """How many keys wait for a worker, those put off for later not counted."""
        with self._changed:
            return len(self._waiting)

    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is worked on."""
        with self._changed:
            return not (self._waiting or self._working)

    def _add(self, key: str, *, is_urgent: bool) -> None:
        if key in self._working:
            self._again[key] = is_urgent or self._again.get(key, False)
            return
        was_urgent = self._waiting.get(key)
        if was_urgent is None:
            self._changed.notify()
        elif was_urgent or not is_urgent:
            return
        self._waiting[key] = is_urgent
        (self._urgent if is_urgent else self._ordinary).append(key)

    def _release_due(self) -> float | None:
        """Queue what is due; return the seconds until the next one, None when there is none."""
        now = self.clock()
        while self._delayed:
            due_at, _, key = self._delayed[0]
            if self._due_at.get(key) != due_at:
                heapq.heappop(self._delayed)  # it was run or put off meanwhile
            elif due_at <= now:
                heapq.heappop(self._delayed)
                del self._due_at[key]
                self._add(key, is_urgent=True)
            else:
                return due_at - now
        return None

"""What any thread may tell the watcher's thread: flags, and the one that wakes it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signals:
    """Set by the threads of events and callers, cleared by the watcher's thread."""

    wake: threading.Event = field(default_factory=threading.Event)
    scan_wanted: threading.Event = field(default_factory=threading.Event)
    events_lost: threading.Event = field(default_factory=threading.Event)
    canary_seen: threading.Event = field(default_factory=threading.Event)

    def ask_for_scan(self) -> None:
        """Somebody wants the truth soon."""
        self.scan_wanted.set()
        self.wake.set()

    def lose_events(self) -> None:
        """The operating system dropped events: the watch must be set up anew, and a scan follow."""
        self.events_lost.set()
        self.wake.set()

    def see_canary(self) -> None:
        """The canary's event arrived."""
        self.canary_seen.set()
        self.wake.set()

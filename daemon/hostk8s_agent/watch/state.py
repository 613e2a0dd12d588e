"""How the watch does, for the status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.model import WatchStatus

if TYPE_CHECKING:
    from hostk8s_agent.errors import Problem


@dataclass(frozen=True, slots=True)
class WatchState:
    """How the watch does, at an instant.

    `backend` is what delivers events: `inotify`, `fsevents`, …, `polling`, or `waiting` while the stacks
    folder is missing and before the start. `roots` are the watched folders, now one. `last_scan_at` is unix
    seconds, None before the first scan. `heartbeat` is the monotonic second at which the watcher's thread was
    last seen to run: older than some ten seconds means that it hangs. `problems` holds the watch's and the
    last scan's.
    """

    backend: str
    roots: tuple[str, ...]
    last_scan_at: float | None
    heartbeat: float
    problems: tuple[Problem, ...]

    def describe(self) -> WatchStatus:
        """Return it as people are shown it."""
        scanned = "" if self.last_scan_at is None else render_time(self.last_scan_at)
        return WatchStatus(self.backend, self.roots, scanned)

"""How much each directory holds, found out at leisure: nothing is decided by it, people look at it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.status.board import Usage, render_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from hostk8s_agent.status.board import StatusBoard
    from hostk8s_agent.status.model import DirectoryStatus
    from hostk8s_agent.volume.access import VolumeAccess

log = structlog.get_logger()

# How often it is looked whether a directory is due: a new one is measured this soon.
LOOK_SECONDS = 5.0
# How old a figure becomes.
INTERVAL_SECONDS = 600.0
# So much time for each second of measuring: at most two thousandths of one processor, whatever there is to count.
COST_FACTOR = 500.0
# After this much work the others may have the processor.
SLICE_SECONDS = 0.05
# A stop waits no longer for the end of a large directory.
STOP_SECONDS = 1.0


class UsageMeter:
    """Writes on the board what the files of each directory hold, where the way into the volume can tell."""

    def __init__(
        self,
        board: StatusBoard,
        volume: Callable[[], VolumeAccess],
        find_last_good: Callable[[str, str], datetime | None] = lambda _stack, _directory: None,
    ) -> None:
        """`find_last_good` gives when a stack's directory was last in a good snapshot, None while it is in none."""
        self._board = board
        self._volume = volume
        self._find_last_good = find_last_good
        # Since when changes were counted: a new snapshot makes the figure worthless.
        self._counted_since: dict[str, datetime | None] = {}
        self._due_at: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def stop(self) -> None:
        """End it; a directory that is being measured is measured to its end, by a thread that nobody waits for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        wait_seconds = LOOK_SECONDS
        while not self._stopping.wait(wait_seconds):
            started = time.monotonic()
            try:
                self._measure_what_is_due(started)
            except VolumeError:
                # There is no way into the volume now: why is told by whoever reconciles.
                continue
            except Exception:
                # Somebody's odd directory must not end the measuring of all others.
                log.exception("usage.crashed")
            wait_seconds = max(LOOK_SECONDS, (time.monotonic() - started) * COST_FACTOR)

    def _measure_what_is_due(self, started: float) -> None:
        volume = self._volume()
        if volume.access == "helper-container":
            # The engine would start a container, or send every byte: people can do without the figure.
            return
        wanted = list(self._find_directories())
        paths = {one.path for _stack, one in wanted}
        self._due_at = {path: due for path, due in self._due_at.items() if path in paths}
        self._counted_since = {path: since for path, since in self._counted_since.items() if path in paths}
        last_good = {one.path: self._find_last_good(stack, one.name) for stack, one in wanted}
        for path, since in last_good.items():
            if path in self._counted_since and self._counted_since[path] != since:
                self._due_at[path] = 0.0
        for stack, one in sorted(wanted, key=lambda one: self._due_at.get(one[1].path, 0.0)):
            now = time.monotonic()
            if self._due_at.get(one.path, 0.0) > now or now - started > SLICE_SECONDS or self._stopping.is_set():
                return
            self._due_at[one.path] = now + INTERVAL_SECONDS
            self._measure(volume, stack, one.path, last_good[one.path])

    def _measure(self, volume: VolumeAccess, stack: str, path: str, since: datetime | None) -> None:
        self._counted_since[path] = since
        (size,) = volume.measure_trees([path], changed_since=since.timestamp() if since else None)
        if not isinstance(size, VolumeError):
            counted_since = render_time(since.timestamp()) if since else ""
            usage = Usage(size.size_bytes, render_time(time.time()), size.changed_bytes, counted_since)
            self._board.record_usage(stack, path, usage)

    def _find_directories(self) -> Iterator[tuple[str, DirectoryStatus]]:
        for stack in self._board.stacks():
            for directory in stack.directories:
                if directory.state == "Ready":
                    yield stack.name, directory

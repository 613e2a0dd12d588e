"""The watcher: keeps the events flowing, scans, and says what state the watch is in."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import structlog

from hostk8s_agent.watch import problems
from hostk8s_agent.watch.canary import Canary, remove_stale_canaries
from hostk8s_agent.watch.filesystem import (
    find_filesystem_type,
    find_identity,
    find_inotify_watch_limit,
    has_native_events,
)
from hostk8s_agent.watch.native import open_native_source
from hostk8s_agent.watch.reporter import StackReporter
from hostk8s_agent.watch.scan import ScanResult, scan_contract_files
from hostk8s_agent.watch.signals import Signals
from hostk8s_agent.watch.state import WatchState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.watch.events import EventSource, OpenSource

logger = structlog.get_logger()

# How often the stacks folder's identity and the source's threads are looked at: three system calls.
TICK_SECONDS = 1.0
# Polling: at least this apart, and so far apart that a scan costs at most one percent of one processor.
POLL_SECONDS = 2.0
POLL_COST_FACTOR = 100.0
# A storm of lost events must not become a storm of scans.
SCAN_GAP_SECONDS = 0.2
SCAN_GAP_COST_FACTOR = 5.0


class ContractWatcher:
    """Watches the contracts of one stacks folder, which may be missing, come later, go and come back.

    `on_stack` gets the name of a stack whose contract was written, moved in or out, or is confirmed gone:
    what is true of it must be read anew. It is called at once from the thread of the event, so also
    concurrently, and must not block. `on_scan` gets each scan's result after the stacks that differ were
    told; always from one thread.
    """

    def __init__(
        self,
        stacks_root: Path,
        *,
        on_stack: Callable[[str], None],
        on_scan: Callable[[ScanResult], None],
        scan_interval_seconds: float = 30.0,
        backend: Literal["auto", "native", "polling"] = "auto",
        open_source: OpenSource = open_native_source,
    ) -> None:
        """Take the stacks folder and the consumer; nothing runs until `start`.

        `backend` `native` trusts events whatever the file system and the canary say, `polling` never asks for
        them.
        """
        # Absolute, and not resolved: the path must lead to whatever folder is put there later.
        self._root = stacks_root.absolute()
        self._on_scan = on_scan
        self._scan_interval_seconds = scan_interval_seconds
        self._wanted = backend
        self._open_source = open_source
        self._signals = Signals()
        self._reporter = StackReporter(self._root, on_stack, self._signals)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._source: EventSource | None = None
        self._canary: Canary | None = None
        self._identity: tuple[int, int] | None = None
        self._is_root_replaced = False
        self._is_watch_new = False
        self._scan: ScanResult | None = None
        self._scan_seconds = 0.0
        self._scanned_at = 0.0
        self._last_scan_at: float | None = None
        self._heartbeat = time.monotonic()
        self._watch_problem: Problem | None = None

    def start(self) -> None:
        """Begin to watch, in threads of its own; returns at once, the first scan follows."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="contract-watcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End all threads and give back all descriptors. May be called twice; not from a callback."""
        if self._thread is None:
            return
        self._stopping.set()
        self._signals.wake.set()
        self._thread.join()
        self._thread = None

    def scan_now(self) -> None:
        """Ask for a scan soon, though not sooner after the last one than its cost allows."""
        self._signals.ask_for_scan()

    def is_expected(self, stack: str) -> bool:
        """Whether the stack's contract is taken to be there: it was seen, and is not confirmed gone."""
        return self._reporter.is_expected(stack)

    def state(self) -> WatchState:
        """Say how the watch does now."""
        source, scan, problem = self._source, self._scan, self._watch_problem
        found = [problem] if problem is not None else []
        if source is not None and source.unwatched:
            found.append(problems.inotify_watches_exhausted(source.unwatched, find_inotify_watch_limit()))
        without_source = "waiting" if self._identity is None else "polling"
        return WatchState(
            backend=source.backend if source is not None else without_source,
            roots=(str(self._root),),
            last_scan_at=self._last_scan_at,
            heartbeat=self._heartbeat,
            problems=(*found, *(scan.problems if scan is not None else ())),
        )

    def _run(self) -> None:
        self._identity = find_identity(self._root)
        self._scanned_at = 0.0
        # The first turn is one that knows nothing: it sets up the watch and scans.
        self._signals.lose_events()
        try:
            while not self._stopping.is_set():
                self._signals.wake.wait(self._seconds_to_wait())
                self._signals.wake.clear()
                if not self._stopping.is_set():
                    self._turn_safely(time.monotonic())
        finally:
            self._close_source()
            self._identity = None

    def _turn_safely(self, now: float) -> None:
        """Outlive what nobody foresaw: the next turn begins anew, and the heartbeat stands still till one is well."""
        try:
            self._turn(now)
        except Exception:
            logger.exception("watch.turn_failed", root=str(self._root))
            self._signals.lose_events()
            self._stopping.wait(TICK_SECONDS)
        else:
            self._heartbeat = now

    def _turn(self, now: float) -> None:
        """One turn of the loop: whatever is due, in the order in which it may matter to the next."""
        if self._has_lost_the_root():
            self._is_root_replaced = True
            self._establish()
            self._scan_once()
        elif self._is_scan_due(now):
            if self._signals.events_lost.is_set():
                # Folders may have come and gone untold: watch all anew, with the scan right behind.
                self._establish()
            self._scan_once()
        self._reporter.check_due(now)
        self._reporter.check_links()
        self._watch_canary(now)

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        times = [now + TICK_SECONDS, self._next_scan_at()]
        next_look_at = self._reporter.next_look_at()
        if next_look_at is not None:
            times.append(next_look_at)
        return max(0.0, min(times) - now)

    def _has_lost_the_root(self) -> bool:
        """Whether the path leads to another folder than the one watched, or the source died."""
        if find_identity(self._root) != self._identity:
            return True
        return self._source is not None and not self._source.is_alive()

    def _is_scan_due(self, now: float) -> bool:
        return now >= self._next_scan_at()

    def _next_scan_at(self) -> float:
        """When the next scan is due: soon if asked for, else by the interval of the backend."""
        if self._signals.scan_wanted.is_set() or self._signals.events_lost.is_set():
            return self._scanned_at + max(SCAN_GAP_SECONDS, SCAN_GAP_COST_FACTOR * self._scan_seconds)
        interval = self._scan_interval_seconds
        if self._scan is not None and self._scan.root_state != "present":
            # Such a scan costs nothing, and neither a changed mode nor a mount sends an event.
            return self._scanned_at + min(interval, TICK_SECONDS)
        if self._source is None or self._source.unwatched:
            interval = min(interval, max(POLL_SECONDS, POLL_COST_FACTOR * self._scan_seconds))
        return self._scanned_at + interval

    def _establish(self) -> None:
        """Watch the folder that the path leads to now, by the best means that its file system has."""
        self._close_source()
        self._is_watch_new = True
        self._signals.events_lost.clear()
        self._watch_problem = None
        self._identity = find_identity(self._root)
        # Nothing counts as gone before the scan has looked at what stands here.
        self._reporter.set_root_identity(None)
        if self._identity is None or self._wanted == "polling":
            return
        remove_stale_canaries(self._root)
        filesystem_type = find_filesystem_type(self._root)
        if self._wanted == "auto" and not has_native_events(filesystem_type):
            logger.info("watch.polling", root=str(self._root), filesystem_type=filesystem_type)
            return
        try:
            self._source = self._open_source(str(self._root), self._reporter)
        except OSError as error:
            self._watch_problem = problems.native_events_unavailable(error.strerror or str(error))
            logger.warning("watch.native_events_unavailable", root=str(self._root), error=str(error))
            return
        if self._wanted == "auto":
            self._canary = Canary(self._root, self._signals.canary_seen)
            self._canary.advance(time.monotonic())

    def _close_source(self) -> None:
        source, self._source, self._canary = self._source, None, None
        if source is not None:
            source.close()

    def _scan_once(self) -> None:
        self._signals.scan_wanted.clear()
        source = self._source
        if source is not None:
            source.forgive_refusals()
        began = time.monotonic()
        scan = scan_contract_files(
            self._root,
            before_listing=source.watch_folder if source is not None else None,
        )
        self._scanned_at = time.monotonic()
        self._scan_seconds = self._scanned_at - began
        scan = self._scan = self._doubt_empty_replacement(scan)
        self._last_scan_at = time.time()
        self._reporter.set_root_identity(self._identity if scan.root_state == "present" else None)
        missed = self._reporter.compare(scan)
        if missed and source is not None and not source.unwatched and not self._is_watch_new:
            # A save while this scan ran looks the same; setting the watch up anew is cheap.
            logger.warning("watch.events_missed", root=str(self._root), stacks=missed)
            self._signals.lose_events()
        self._is_watch_new = False
        try:
            self._on_scan(scan)
        except Exception:
            # The consumer's error must not end the watch.
            logger.exception("watch.consumer_failed")

    def _doubt_empty_replacement(self, scan: ScanResult) -> ScanResult:
        """Take a folder without contracts that stands where another was for what it is: an unmounted disk.

        An emptied stacks folder is still the same one, and believed.
        """
        if scan.root_state != "present":
            return scan
        if scan.files or not self._is_root_replaced or not self._reporter.has_known_stacks():
            self._is_root_replaced = False
            return scan
        problem = problems.stacks_folder_replaced_empty(str(self._root))
        return replace(scan, root_state="missing", problems=(problem, *scan.problems))

    def _watch_canary(self, now: float) -> None:
        """Believe the events once a canary was seen; poll if none ever was."""
        if self._canary is None:
            return
        state = self._canary.advance(now)
        if state == "waiting":
            return
        if state == "silent":
            logger.warning("watch.events_not_arriving", root=str(self._root))
            self._close_source()
            self._watch_problem = problems.events_not_arriving(str(self._root))
        self._canary = None

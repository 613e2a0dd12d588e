"""Workers that take keys from the queue and run the reconciler, each key in one worker at a time."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from hostk8s_agent.pacing import Backoff
from hostk8s_agent.reconcile.queueing import WorkQueue

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    `is_failed` asks for another run after the stack's back-off; `requeue_after_seconds` for one at that time;
    with neither, the next event brings the next run.
    """

    is_failed: bool = False
    requeue_after_seconds: float | None = None


Reconciler = Callable[[str], RunResult]

RunOutcome = Literal["ok", "retry", "crashed"]
ReportRun = Callable[[RunOutcome, float], None]
"""Told of each run how it ended and how many seconds it took, from the worker's thread."""


@dataclass(slots=True)
class _Progress:
    """Which requests have been served: each has a ticket, and a run serves all tickets given before it began."""

    issued: int = 0
    served: dict[str, int] = field(default_factory=dict)


class Controller:
    """Runs `reconcile(key)` for each key that is asked for. Thread-safe."""

    def __init__(
        self, reconcile: Reconciler, *, workers: int, on_run: ReportRun = lambda _outcome, _seconds: None
    ) -> None:
        self._reconcile = reconcile
        self._on_run = on_run
        self._queue = WorkQueue()
        self._backoffs: dict[str, Backoff] = {}
        self._progress = _Progress()
        self._served = threading.Condition()
        self._heartbeats: dict[str, float] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"reconcile-{number}", daemon=True) for number in range(workers)
        ]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the runs under way finish, start no others, and wait for the workers."""
        self._queue.close()
        with self._served:
            self._served.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def enqueue(self, keys: Iterable[str], *, is_urgent: bool = True) -> None:
        """Ask for a run of each key."""
        for key in keys:
            self._queue.add(key, is_urgent=is_urgent)

    def wake(self, keys: Iterable[str]) -> None:
        """Ask for a run of each key now, whatever back-off it is in: what it waited for has come back."""
        waking = tuple(keys)
        with self._served:
            for key in waking:
                self._backoffs.pop(key, None)
        self.enqueue(waking, is_urgent=False)

    def run_and_wait(self, keys: Iterable[str], timeout_seconds: float | None) -> bool:
        """Ask for a run of each key that begins from now on; return whether all ended within the timeout."""
        wanted = tuple(keys)
        with self._served:
            self._progress.issued += 1
            ticket = self._progress.issued
        self.enqueue(wanted)
        with self._served:
            return self._served.wait_for(
                lambda: all(self._progress.served.get(key, 0) >= ticket for key in wanted), timeout_seconds
            )

    def is_idle(self) -> bool:
        """Whether no key waits and none is worked on (those put off for later do not count)."""
        return self._queue.is_idle()

    @property
    def queue_depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._queue)

    def oldest_heartbeat(self) -> float | None:
        """When the longest run under way began, on the monotonic clock; None when no worker is busy."""
        with self._served:
            return min(self._heartbeats.values(), default=None)

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            with self._served:
                ticket = self._progress.issued
                self._heartbeats[key] = time.monotonic()
            try:
                self._run(key)
            finally:
                with self._served:
                    del self._heartbeats[key]
                    self._progress.served[key] = ticket
                    self._served.notify_all()
                # Last: from here on another worker may have the key, with its own heartbeat and ticket.
                self._queue.finish(key)

    def _run(self, key: str) -> None:
        # The id ties all lines of one run together, whichever room writes them.
        with structlog.contextvars.bound_contextvars(reconcile_id=secrets.token_hex(4), stack=key):
            started = time.perf_counter()
            outcome: RunOutcome
            try:
                result = self._reconcile(key)
                outcome = "retry" if result.is_failed else "ok"
            except Exception:
                # A defect in one stack's run must not end the worker: the others' stacks depend on it.
                log.exception("reconcile.crashed")
                result, outcome = RunResult(is_failed=True), "crashed"
            self._on_run(outcome, time.perf_counter() - started)
        if result.is_failed:
            with self._served:
                backoff = self._backoffs.setdefault(key, Backoff())
            self._queue.add_after(key, backoff.next_seconds())
            return
        with self._served:
            self._backoffs.pop(key, None)
        if result.requeue_after_seconds is not None:
            self._queue.add_after(key, result.requeue_after_seconds)

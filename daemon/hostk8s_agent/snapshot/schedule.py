"""The schedule at work: looks at least twice a minute what is due, and has it done, two at once at most.

What is due, `planner` says. APScheduler has the work done: its pool, one instance of each work, nothing dropped for
being late. Its own triggers are not used: its waits do not advance while a machine sleeps, a clock that is set back
stops them, its weekdays begin on Monday, and it fires twice in the hour that summer's end repeats.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.circumstances import give_way
from hostk8s_agent.snapshot.planner import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hostk8s_agent.snapshot.planner import Planner
    from hostk8s_agent.snapshot.policies import PolicyInForce

log = structlog.get_logger()

WORK_BEGAN = "schedule.work_began"
WORK_DONE = "schedule.work_done"
WORK_FAILED = "schedule.work_failed"
WORK_SKIPPED = "schedule.work_skipped"
LOOK_FAILED = "schedule.look_failed"

AT_ONCE: Final = 2
LOOK_SECONDS: Final = 20.0
# A look at thousands of stacks does not hold up the save that it is for, and a thousand saves are a few looks.
GATHER_SECONDS: Final = 0.5


class ScheduledWork(Protocol):
    """What the schedule has done. Each call returns when it is done, and raises an `AgentError` when it failed."""

    def take_snapshot(self, stack: str) -> None:
        """Take a snapshot of the stack, read it back, and let expire what its policy no longer keeps."""

    def drill(self, stack: str) -> None:
        """Restore the stack's newest good snapshot into scratch, compare every hash, and remove it."""

    def verify_share(self) -> None:
        """Read back a day's share of the repository."""


class SnapshotSchedule:
    """Does what is due. `start` and `stop` once each; the rest from any thread.

    `policies` returns what is in force for each stack, `find_obstacle` in words why nothing should begin now, else
    empty. Every look asks them anew, so that a saved contract's schedule is in force with the next one; `look_now`
    makes that soon.
    """

    def __init__(
        self,
        work: ScheduledWork,
        planner: Planner,
        policies: Callable[[], Mapping[str, PolicyInForce]],
        find_obstacle: Callable[[], str],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._work = work
        self._planner = planner
        self._policies = policies
        self._find_obstacle = find_obstacle
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: set[Work] = set()
        self._skipped: dict[Work, str] = {}
        self._failed: dict[Work, str] = {}
        self._stopping = threading.Event()
        # When the thread that looks was last known to go on. What it has done by others may take hours.
        self.heartbeat: float | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-schedule", daemon=True)
        pool = ThreadPoolExecutor(AT_ONCE, pool_kwargs={"initializer": give_way, "thread_name_prefix": "snapshot"})
        self._scheduler = BackgroundScheduler(
            executors={"default": pool},
            # Late by a night is not too late, and what was missed ten times is done once.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )

    def start(self) -> None:
        """Begin to look."""
        self._scheduler.start()
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing any more, and wait for what is under way."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def look_now(self) -> None:
        """Look soon (`GATHER_SECONDS`): a contract was saved."""
        self._wake.set()

    def list_next(self, policies: Mapping[str, PolicyInForce]) -> Mapping[str, datetime]:
        """Return when the next snapshot is due of each stack that has a schedule."""
        with self._lock:
            now = self._clock()
            times = {stack: self._planner.find_next(Work("snapshot", stack), policies, now) for stack in policies}
        return {stack: at for stack, at in times.items() if at is not None}

    def explain_delay(self, stack: str) -> str:
        """Return in words why the stack's snapshot is due and not taken, empty when nothing is in its way."""
        with self._lock:
            work = Work("snapshot", stack)
            return self._skipped.get(work, "") or self._failed.get(work, "")

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.heartbeat = time.monotonic()
            try:
                self._look()
            except Exception:
                # A schedule that dies of one odd contract would leave all others without snapshots for good.
                log.exception(LOOK_FAILED)
            if self._wake.wait(LOOK_SECONDS):
                self._stopping.wait(GATHER_SECONDS)
            self._wake.clear()
            # Whatever it waits for: during a machine's sleep its wait has not advanced.
            self._scheduler.wakeup()

    def _look(self) -> None:
        policies = self._policies()
        with self._lock:
            due = [one for one in self._planner.list_due(policies, self._clock()) if one not in self._under_way]
            self._skipped = {work: reason for work, reason in self._skipped.items() if work in due}
        if not due:
            return
        obstacle = self._find_obstacle()
        for work in due:
            if obstacle:
                self._skip(work, obstacle)
            elif not self._stopping.is_set():
                self._begin(work)

    def _skip(self, work: Work, reason: str) -> None:
        with self._lock:
            is_new = work not in self._skipped
            self._skipped[work] = reason
        if is_new:
            log.warning(WORK_SKIPPED, work=work.kind, stack=work.stack, reason=reason)

    def _begin(self, work: Work) -> None:
        with self._lock:
            self._under_way.add(work)
            self._skipped.pop(work, None)
        # Without a trigger: as soon as the pool has a thread.
        self._scheduler.add_job(self._carry_out, args=(work,), id=work.name, replace_existing=True)

    def _carry_out(self, work: Work) -> None:
        if self._stopping.is_set():
            return
        began_at = self._clock()
        failure = ""
        try:
            log.info(WORK_BEGAN, work=work.kind, stack=work.stack)
            self._call(work)
        except AgentError as error:
            failure = error.message
        except Exception:
            log.exception(WORK_FAILED, work=work.kind, stack=work.stack)
            failure = "it failed unexpectedly: see the agent's log"
        self._settle(work, began_at, failure)

    def _call(self, work: Work) -> None:
        if work.kind == "snapshot":
            self._work.take_snapshot(work.stack)
        elif work.kind == "drill":
            self._work.drill(work.stack)
        else:
            self._work.verify_share()

    def _settle(self, work: Work, began_at: datetime, failure: str) -> None:
        with self._lock:
            self._under_way.discard(work)
            if failure:
                self._failed[work] = failure
                self._planner.record_failure(work, self._clock())
            else:
                self._failed.pop(work, None)
                self._planner.record_success(work, began_at)
        if failure:
            log.warning(WORK_FAILED, work=work.kind, stack=work.stack, reason=failure)
        else:
            seconds = round((self._clock() - began_at).total_seconds(), 3)
            log.info(WORK_DONE, work=work.kind, stack=work.stack, duration_seconds=seconds)

"""Freeze: every container with one of a stack's directories is paused while these are read, and woken in every case.

The node is never paused: the API server and everybody else would stop with it. A deadline wakes the containers while
the reading goes on; the snapshot is then told as not consistent.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.model import Consistency
from hostk8s_agent.snapshot.node_runtime import is_paused, is_running
from hostk8s_agent.snapshot.ports import Reached
from hostk8s_agent.snapshot.rest_journal import RestEntry, RestJournal
from hostk8s_agent.snapshot.users import RestError, get_runtime_id, require_started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.snapshot.node_runtime import NodeRuntime
    from hostk8s_agent.snapshot.users import PodUse

log = structlog.get_logger()

FROZEN = "rest.frozen"
THAWED = "rest.thawed"
THAW_FAILED = "rest.thaw_failed"
DEADLINE_PASSED = "rest.deadline_passed"

# A container that starts while the others are being paused is paused too; who starts them without end is not followed.
_ROUNDS: Final = 3
_WAKE_ATTEMPTS: Final = 3


class Freeze:
    """One freeze of one stack. `begin`, `reached`, `end`, in this order, from one thread; the deadline has its own."""

    def __init__(
        self,
        stack: str,
        journal: RestJournal,
        runtimes: Mapping[str, NodeRuntime],
        find_users: Callable[[], Iterable[PodUse]],
        deadline_seconds: float,
    ) -> None:
        self._stack = stack
        self._journal = journal
        self._runtimes = runtimes
        self._find_users = find_users
        self._deadline_seconds = deadline_seconds
        self._timer = self._set_timer()
        # Held while containers are paused or woken, so that the deadline never wakes one that is paused after it.
        self._lock = threading.Lock()
        self._paused: dict[str, RestEntry] = {}
        self._resting: set[str] = set()
        self._is_over = False
        self._is_late = False
        self._began_at = 0.0

    def begin(self) -> None:
        """Pause them all. Raises an `AgentError`, or an `OSError` of the journal, with whatever is paused to `end`."""
        self._began_at = time.monotonic()
        self._timer.start()
        for _ in range(_ROUNDS):
            found = self._list_awake()
            if not found:
                break
            with self._lock:
                self._require_time()
                # Before the first of them: a crash in between must not leave one paused that nobody knows of.
                self._journal.write([*self._paused.values(), *found])
                self._paused.update({one.container: one for one in found})
            for one in found:
                with self._lock:
                    self._require_time()
                    self._runtimes[one.node].pause(one.container)
                    self._resting.add(one.container)
        else:
            raise RestError("containers start faster than they can be paused", hint="look at the stack's pods")
        log.info(FROZEN, stack=self._stack, containers=len(self._resting), duration_seconds=self._elapsed())

    def reached(self) -> Reached:
        """Return what was reached from the beginning until now."""
        if self._is_late:
            return Reached(
                Consistency.LIVE,
                f"the containers were woken after {self._deadline_seconds:g} s, before everything was read",
            )
        try:
            if awake := self._list_awake():
                return Reached(Consistency.LIVE, f"{_name(awake[0])} ran meanwhile")
        except AgentError as error:
            return Reached(Consistency.LIVE, f"whether all were at rest to the end is not known: {error.message}")
        # Asked last: the deadline may have passed while it was looked.
        if self._is_late:
            return self.reached()
        return Reached(Consistency.FROZEN if self._resting else Consistency.UNUSED)

    def hold(self, *, restarts: bool) -> bool:
        """Give them the time of a deadline once more; return False where the first has passed.

        With `restarts`, `end`, and whoever takes up the journal after a crash, kills the containers that were paused
        and wakes none. Raises an `OSError` of the journal, with nothing held.
        """
        with self._lock:
            if self._is_over:
                return False
            self._timer.cancel()
            if restarts and self._paused:
                ending = {name: replace(one, kind="restart") for name, one in self._paused.items()}
                self._journal.write(ending.values())
                self._paused = ending
            self._timer = self._set_timer()
            self._timer.start()
            return True

    def end(self) -> None:
        """Wake them all. What cannot be woken now stays in the journal, for whoever looks after those."""
        self._timer.cancel()
        self._wake_all()

    def _set_timer(self) -> threading.Timer:
        timer = threading.Timer(self._deadline_seconds, self._pass_deadline)
        timer.daemon = True
        return timer

    def _require_time(self) -> None:
        if self._is_over:
            raise RestError(
                f"pausing all containers took more than {self._deadline_seconds:g} s",
                hint="raise the setting snapshot_freeze_seconds",
            )

    def _list_awake(self) -> list[RestEntry]:
        """Return the containers with one of the directories that run now."""
        states: dict[str, Mapping[str, str]] = {}
        awake = []
        uses = tuple(self._find_users())
        require_started(uses)
        for use in uses:
            runtime = self._runtimes.get(use.pod.node)
            if runtime is None:
                raise RestError(
                    f"the node {use.pod.node} of the pod {use.name} is not in the Docker engine",
                    hint="use the engine that runs the cluster",
                )
            if use.pod.node not in states:
                states[use.pod.node] = runtime.list_states()
            for container in use.containers:
                identity = get_runtime_id(use.pod, container)
                if is_paused(states[use.pod.node], identity):
                    # By us, or by somebody else, who will want to wake it himself.
                    self._resting.add(identity)
                elif is_running(states[use.pod.node], identity):
                    node = runtime.node
                    pod = use.pod
                    entry = RestEntry(
                        "paused", node.name, node.container_id, identity, pod.namespace, pod.name, pod.uid
                    )
                    awake.append(entry)
        return awake

    def _pass_deadline(self) -> None:
        self._is_late = True
        log.warning(DEADLINE_PASSED, stack=self._stack, deadline_seconds=self._deadline_seconds)
        self._wake_all()

    def _wake_all(self) -> None:
        with self._lock:
            if self._is_over and not self._paused:
                return
            self._is_over = True
            left = wake_containers(self._paused.values(), self._runtimes)
            self._paused = {one.container: one for one in left}
            if not left:
                self._journal.remove()
        if self._resting:
            log.info(THAWED, stack=self._stack, left=len(left), frozen_seconds=self._elapsed())

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began_at, 3)


def wake_containers(entries: Iterable[RestEntry], runtimes: Mapping[str, NodeRuntime]) -> list[RestEntry]:
    """Wake the containers; return those that may be paused still. A node that is gone has taken its own with it."""
    left = []
    for one in entries:
        runtime = runtimes.get(one.node)
        if runtime is None or runtime.node.container_id != one.node_id:
            continue
        if not _wake(one, runtime):
            left.append(one)
    return left


def _wake(entry: RestEntry, runtime: NodeRuntime) -> bool:
    for _ in range(_WAKE_ATTEMPTS):
        try:
            if entry.kind == "restart":
                runtime.end(entry.container)
            runtime.wake(entry.container)
        except AgentError as error:
            log.warning(THAW_FAILED, container=entry.container, pod=_name(entry), reason=error.message)
        else:
            return True
    return False


def _name(entry: RestEntry) -> str:
    return f"a container of the pod {entry.namespace}/{entry.pod}"

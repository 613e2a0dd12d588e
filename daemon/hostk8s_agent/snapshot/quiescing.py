"""Bringing a stack to rest while its directories are read: not at all, by freezing its containers, or by its hooks.

What was reached is never silently less than what was asked: it is in the snapshot, with the reason. Whatever happens,
everybody is woken: on every path out of the rest, at its deadline, and after a crash from the journal.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.freezing import Freeze, wake_containers
from hostk8s_agent.snapshot.hooking import HookedRest, run_hook
from hostk8s_agent.snapshot.hooks import find_hook
from hostk8s_agent.snapshot.model import Consistency
from hostk8s_agent.snapshot.node_runtime import open_runtimes
from hostk8s_agent.snapshot.ports import Reached, Rest
from hostk8s_agent.snapshot.rest_journal import RestJournals
from hostk8s_agent.snapshot.users import find_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.snapshot.node_runtime import NodeCommands, NodeRuntime
    from hostk8s_agent.snapshot.rest_journal import RestEntry, RestJournal
    from hostk8s_agent.snapshot.users import PodUse

log = structlog.get_logger()

LEFT_AT_REST = "rest.left_by_crash"
REST_FAILED = "rest.failed"

DEFAULT_DEADLINE_SECONDS = 30.0
JOURNAL_FOLDER = "rest"


@dataclass(frozen=True, slots=True)
class _Awake:
    """A rest that did not come about."""

    note: str

    def reached(self) -> Reached:
        return Reached(Consistency.LIVE, self.note)


class ClusterQuiescer:
    """Brings the pods of a cluster to rest. Implements `Quiescer`; safe from several threads.

    `cluster` and `nodes` return what there is now, or raise the `AgentError` that says why there is nothing;
    `cluster` returns None where there is none. One stack rests at a time: two stacks may share a container, and the
    first to wake it would wake it under the other.
    """

    def __init__(
        self,
        cluster: Callable[[], ClusterAccess | None],
        nodes: Callable[[], NodeCommands],
        state_folder: Path,
        *,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._journals = RestJournals(state_folder / JOURNAL_FOLDER)
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()

    @contextmanager
    def at_rest(self, stack: str, directories: Sequence[Directory], asked: Quiesce) -> Iterator[Rest]:
        """Bring the users of the directories to rest, as far as it can be done; wake them on leaving, in every case."""
        with ExitStack() as leaving:
            yield self._begin(leaving, stack, directories, asked)

    def _begin(self, leaving: ExitStack, stack: str, directories: Sequence[Directory], asked: Quiesce) -> Rest:
        """Begin a rest that ends with `leaving`. Where none comes about, nobody else has to wait for its end."""
        if asked is Quiesce.NONE:
            return _Awake("")
        with ExitStack() as failing:
            failing.enter_context(self._lock)
            try:
                resting = self._open(stack, directories, asked)
                if resting is None:
                    return _Awake("there is no cluster whose pods could be brought to rest")
                failing.callback(resting.end)
                resting.begin()
            except (AgentError, OSError) as error:
                return _Awake(_explain(stack, error))
            leaving.push(failing.pop_all())
            return resting

    def wake_leftovers(self) -> bool:
        """Wake what a crash left at rest, and run the hooks that it owes; return whether nothing is left.

        What cannot be reached now (a node that does not run) stays in its journal. Raises the `AgentError` that says
        why nothing could be tried. Call it at the start, and again from time to time until it returns True.
        """
        with self._lock:
            left = [(journal, journal.read()) for journal in self._journals.list_left()]
            if not left:
                return True
            runtimes = open_runtimes(self._nodes())
            for journal, entries in left:
                log.warning(LEFT_AT_REST, entries=len(entries))
                remaining = wake_containers([one for one in entries if one.kind != "hook"], runtimes)
                # Only once its containers run can a pod's hook.
                owed = [one for one in entries if one.kind == "hook"]
                remaining += owed if remaining else self._run_owed(owed, runtimes)
                _settle(journal, entries, remaining)
            return not self._journals.list_left()

    def _open(self, stack: str, directories: Sequence[Directory], asked: Quiesce) -> Freeze | HookedRest | None:
        cluster = self._cluster()
        if cluster is None:
            return None
        runtimes = open_runtimes(self._nodes())
        journal = self._journals.begin()

        def find() -> tuple[PodUse, ...]:
            return find_users(cluster, stack, directories)

        if asked is Quiesce.HOOKS:
            return HookedRest(journal, runtimes, find)
        return Freeze(stack, journal, runtimes, find, self._deadline_seconds)

    def _run_owed(self, owed: Sequence[RestEntry], runtimes: Mapping[str, NodeRuntime]) -> list[RestEntry]:
        """Run the hooks after; return those whose pod cannot be looked up now. A pod that is gone owes nothing."""
        left: list[RestEntry] = []
        for one in owed:
            try:
                cluster = self._cluster()
                pods = cluster.observe_pods(one.namespace) if cluster else ()
            except AgentError:
                left.append(one)
                continue
            for pod in pods:
                hook = find_hook(pod.annotations, "post") if pod.uid == one.pod_uid else None
                if hook is not None:
                    run_hook(pod, hook, runtimes, "post")
        return left


def _settle(journal: RestJournal, before: Sequence[RestEntry], remaining: Sequence[RestEntry]) -> None:
    if not remaining:
        journal.remove()
    elif len(remaining) < len(before):
        journal.write(remaining)


def _explain(stack: str, error: AgentError | OSError) -> str:
    message = error.message if isinstance(error, AgentError) else f"the journal cannot be written: {error.strerror}"
    log.warning(REST_FAILED, stack=stack, reason=message)
    return message

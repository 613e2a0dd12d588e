"""Hooks: each pod's own command before its directories are read, and the one after, which runs in every case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.hooks import find_hook
from hostk8s_agent.snapshot.model import Consistency
from hostk8s_agent.snapshot.ports import Reached
from hostk8s_agent.snapshot.rest_journal import RestEntry, RestJournal
from hostk8s_agent.snapshot.users import RestError, get_runtime_id, require_started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hostk8s_agent.plan.observed import ObservedContainer, ObservedPod
    from hostk8s_agent.snapshot.hooks import Hook, Moment
    from hostk8s_agent.snapshot.node_runtime import NodeRuntime
    from hostk8s_agent.snapshot.users import PodUse

log = structlog.get_logger()

HOOK_RAN: Final = "rest.hook_ran"
HOOK_FAILED: Final = "rest.hook_failed"


class HookedRest:
    """The hooks of one stack's pods. `begin`, `reached`, `end`, in this order, from one thread."""

    def __init__(
        self,
        journal: RestJournal,
        runtimes: Mapping[str, NodeRuntime],
        find_users: Callable[[], Sequence[PodUse]],
    ) -> None:
        self._journal = journal
        self._runtimes = runtimes
        self._find_users = find_users
        self._uses: tuple[PodUse, ...] = ()
        self._owed: list[PodUse] = []
        self._failures: list[str] = []

    def begin(self) -> None:
        """Run the hooks before. One that fails and must not ends the row.

        Raises `RestError`, or `OSError` of the journal.
        """
        self._uses = tuple(self._find_users())
        require_started(self._uses)
        for use in self._uses:
            hook = find_hook(use.pod.annotations, "pre")
            post = find_hook(use.pod.annotations, "post")
            if hook is None and post is None:
                self._failures.append(f"the pod {use.name} has no hooks")
                continue
            if post is not None:
                # Before its first hook runs: a crash in between must not leave a database in its backup mode.
                self._owed.append(use)
                self._journal.write([self._describe(one) for one in self._owed])
            if hook is None:
                continue
            failure = self._run(use.pod, hook, "pre")
            if failure and not hook.may_fail:
                return

    def reached(self) -> Reached:
        """Run the hooks after, since all was read, and return what was reached with both."""
        self.end()
        try:
            started = {one.pod.uid for one in self._find_users()} - {one.pod.uid for one in self._uses}
        except AgentError as error:
            return Reached(Consistency.LIVE, f"whether another pod wrote meanwhile is not known: {error.message}")
        if started:
            return Reached(Consistency.LIVE, "a pod started meanwhile, whose hook did not run")
        if self._failures:
            return Reached(Consistency.LIVE, "; ".join(self._failures))
        return Reached(Consistency.HOOKS if self._uses else Consistency.UNUSED)

    def end(self) -> None:
        """Run the hooks after that are owed. Each is run once; one that fails is told and not run again."""
        while self._owed:
            use = self._owed[0]
            hook = find_hook(use.pod.annotations, "post")
            if hook is not None:
                self._run(use.pod, hook, "post")
            self._owed.pop(0)
        self._journal.remove()

    def _run(self, pod: ObservedPod, hook: Hook, moment: Moment) -> str:
        failure = run_hook(pod, hook, self._runtimes, moment)
        if failure:
            self._failures.append(failure)
        return failure

    def _describe(self, use: PodUse) -> RestEntry:
        runtime = self._runtimes.get(use.pod.node)
        node_id = runtime.node.container_id if runtime else ""
        return RestEntry("hook", use.pod.node, node_id, "", use.pod.namespace, use.pod.name, use.pod.uid)


def run_hook(pod: ObservedPod, hook: Hook, runtimes: Mapping[str, NodeRuntime], moment: Moment) -> str:
    """Run one hook of a pod; return in words why it failed, empty when it did not. Nothing is raised."""
    name = f"{pod.namespace}/{pod.name}"
    words = f"the {moment} hook of the pod {name}"
    try:
        failure = _run_in_node(pod, hook, runtimes)
    except AgentError as error:
        failure = f"could not be run: {error.message}"
    if failure:
        log.warning(HOOK_FAILED, pod=name, moment=moment, reason=failure)
        return f"{words} {failure}"
    log.info(HOOK_RAN, pod=name, moment=moment)
    return ""


def _run_in_node(pod: ObservedPod, hook: Hook, runtimes: Mapping[str, NodeRuntime]) -> str:
    runtime = runtimes.get(pod.node)
    if runtime is None:
        raise RestError(f"its node {pod.node} is not in the Docker engine", hint="use the engine that runs the cluster")
    chosen = [one for one in pod.containers if one.name == hook.container] if hook.container else _first(pod)
    if not chosen:
        raise RestError(f"it has no container {hook.container}", hint="mend the pod's annotation")
    return runtime.run_hook(get_runtime_id(pod, chosen[0]), hook.command, hook.timeout_seconds)


def _first(pod: ObservedPod) -> Sequence[ObservedContainer]:
    # Velero's default is the first of the pod's containers, of which init containers are none: those have ended.
    return [one for one in pod.containers if one.is_running][:1]

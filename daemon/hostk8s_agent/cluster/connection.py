"""The connection to the cluster: made, kept, and made again, by one supervising thread.

The supervisor alone decides when to connect: while the server is away nothing else asks for it, so that all
attempts together stay within the back-off.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.cluster.applying import Applier
from hostk8s_agent.cluster.claims import ClaimsInMirror
from hostk8s_agent.cluster.connecting import Connector
from hostk8s_agent.cluster.containing import contain
from hostk8s_agent.cluster.errors import ClusterAnswerError, ClusterUnavailableError
from hostk8s_agent.cluster.kubeconfig_watch import KubeconfigWatch
from hostk8s_agent.cluster.mirror import Mirror
from hostk8s_agent.cluster.pods import list_pods
from hostk8s_agent.cluster.requests import RequestCounter
from hostk8s_agent.cluster.rising import RisingServer
from hostk8s_agent.cluster.scratch import clear_scratch_folder
from hostk8s_agent.cluster.session import Session, doubting, explain_staleness
from hostk8s_agent.cluster.state import ClusterState, ConnectionState, ConnectionTiming, state_of
from hostk8s_agent.cluster.workloads import find_workload, scale_workload
from hostk8s_agent.errors import ClusterError, Problem
from hostk8s_agent.pacing import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.cluster.kubeconfig import KubeconfigSource
    from hostk8s_agent.cluster.requests import ClusterClient
    from hostk8s_agent.plan.actions import DeleteObject, ObjectAction
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject, ObservedPod, ObservedWorkload, OwnerReference

log = structlog.get_logger()

STATE_CHANGED = "cluster.state_changed"
CLUSTER_REPLACED = "cluster.replaced"
SUPERVISOR_CRASHED = "cluster.supervisor_crashed"

_CONNECTING = Problem(
    "ClusterConnecting", "the cluster is being connected to", "nothing to do: it takes a moment after a start"
)
_STOP_SECONDS = 2.0


class ClusterConnection(ClaimsInMirror):
    """Keeps a connection to the cluster that the kubeconfig names, and answers from a mirror of it.

    Implements `ClusterAccess`. It can be started before the cluster, or the kubeconfig, exists. `on_change` is
    called when the state changes, `on_object` with each StorageClass or PersistentVolume that someone else
    changed (or whose claim changed); both from threads of ours, and they should return at once.
    `scratch_folder` is ours alone: key material stands in it for moments. `find_reason` returns why a server cannot be
    reached, where that is known better than by knocking at its port.
    """

    def __init__(
        self,
        *,
        source: KubeconfigSource,
        scratch_folder: Path,
        on_change: Callable[[], None],
        on_object: Callable[[ObjectKey], None],
        timing: ConnectionTiming | None = None,
        find_reason: Callable[[], Problem | None] = lambda: None,
    ) -> None:
        self._timing = timing or ConnectionTiming()
        self._scratch_folder = scratch_folder
        self._find_reason = find_reason
        self._on_change = contain(on_change)
        self._counter = RequestCounter()
        self._mirror = Mirror()
        self._on_object = contain(on_object)
        self._applier = Applier(self._mirror, self._on_object)
        self._kubeconfigs = KubeconfigWatch(source)
        self._connector = Connector(scratch_folder, self._counter, self._timing)
        self._backoff = Backoff(self._timing.backoff_first, self._timing.backoff_cap)
        self._rising = RisingServer(self._timing)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._alive_at = time.monotonic()
        self._state = ClusterState(since_seconds=time.time())
        self._session: Session | None = None
        self._attempt_at = 0.0
        self._connected_at = 0.0

    # The service's side

    def start(self) -> None:
        """Begin to connect, in a thread of our own; returns at once."""
        clear_scratch_folder(self._scratch_folder)
        self._thread = threading.Thread(target=self._run, name="cluster-connection", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all threads, whatever they wait for. The connection is not used again."""
        self._stopping.set()
        self._wake.set()
        self._connector.close()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._applier.close()
        clear_scratch_folder(self._scratch_folder)

    def state(self) -> ClusterState:
        """Return how the connection stands."""
        state = self._state
        reason = self._find_reason() if state.state in {"Unreachable", "NoKubeconfig"} else None
        return state if reason is None else replace(state, problem=reason)

    @property
    def alive_at(self) -> float:
        """When the supervising thread was last seen alive, on the monotonic clock; at most 15 s ago if it is well."""
        return self._alive_at

    def request_counts(self) -> Mapping[tuple[str, str], int]:
        """Return the number of requests sent so far, keyed by (verb, HTTP status or `none`)."""
        return self._counter.snapshot()

    def watch_restarts(self) -> int:
        """Return how many watches ended before their time so far."""
        return self._counter.watch_restarts

    # The reconciler's side: ClusterAccess

    def observe_objects(self, stack: str, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        """Return those of the objects that exist, from the mirror. Raises `ClusterUnavailableError`."""
        del stack
        self._require_session()
        return self._mirror.find_objects(keys)

    def client(self) -> ClusterClient:
        """Return a client of the cluster that is connected now. Raises `ClusterUnavailableError`."""
        return self._require_session().client

    def observe_pods(self, namespace: str = "") -> tuple[ObservedPod, ...]:
        """Ask the server for the pods of a namespace, empty for all. Raises a `ClusterError`."""
        return list_pods(self._require_session().client, namespace)

    def find_workload(self, namespace: str, owner: OwnerReference) -> ObservedWorkload | None:
        """Ask the server for what made a pod. Raises a `ClusterError`."""
        return find_workload(self._require_session().client, namespace, owner)

    def scale_workload(
        self, workload: ObservedWorkload, replicas: int, annotation: tuple[str, str]
    ) -> ObservedWorkload:
        """Scale a workload that is as it was observed. Raises a `ClusterError`."""
        return scale_workload(self._require_session().client, workload, replicas, annotation)

    def observe_volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that lead to a path, into it, or around it. Raises `ClusterUnavailableError`."""
        self._require_session()
        return self._mirror.find_volumes_at(path)

    def observe_volumes_of_class(self, stack: str, storage_class: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that name the StorageClass. Raises `ClusterUnavailableError`."""
        del stack
        self._require_session()
        return self._mirror.find_volumes_of_class(storage_class)

    def delete_objects(self, stack: str, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        """Delete the objects concurrently; return for each why not, None when it is gone or on its way."""
        del stack
        try:
            session = self._require_session()
        except ClusterUnavailableError as error:
            return tuple(ClusterUnavailableError(error.cause) for _ in actions)
        return doubting(session, self._applier.delete_objects(session.client, actions))

    def apply_objects(self, stack: str, actions: Sequence[ObjectAction]) -> tuple[ObservedObject | ClusterError, ...]:
        """Apply the objects concurrently; return for each the object as the server has it now, or why not."""
        del stack
        try:
            session = self._require_session()
        except ClusterUnavailableError as error:
            return tuple(ClusterUnavailableError(error.cause) for _ in actions)
        return doubting(session, self._applier.apply_objects(session.client, actions))

    @property
    def cluster_uid(self) -> str:
        """What tells this cluster from its successor, empty before the first connection."""
        return self._state.uid

    def _require_session(self) -> Session:
        session = self._session
        if session is None:
            raise ClusterUnavailableError(self.state().problem or _CONNECTING)
        if not session.is_fresh():
            raise ClusterUnavailableError(explain_staleness(self._state.server, self._timing).problem)
        return session

    # The supervising thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._alive_at = time.monotonic()
            try:
                self._look_around()
            except ClusterError as error:
                self._fall_back(error)
            except Exception:
                log.exception(SUPERVISOR_CRASHED)
                self._fall_back(
                    ClusterAnswerError(
                        "connecting to the cluster failed unexpectedly",
                        hint="look at the log; the agent tries again by itself",
                    )
                )
            self._wake.wait(self._timing.look_away if self._session is None else self._timing.poll_kubeconfig)
            self._wake.clear()
        self._drop_session()

    def _look_around(self) -> None:
        """Do what is due now. Raises a `ClusterError` when the session, or an attempt to make one, failed."""
        was_unusable = self._kubeconfigs.problem is not None
        is_another = self._kubeconfigs.look()
        problem = self._kubeconfigs.problem
        if was_unusable and problem is None:
            self._attempt_at = 0.0
        if is_another:
            # Another kubeconfig: whatever was wrong with the former one is of no interest.
            self._drop_session()
            self._connector.forget()
            self._backoff.reset()
            self._attempt_at = 0.0
            if was_unusable or self._connected_at:
                # Kind writes it when it has made a cluster: mostly that is one that just came up.
                self._rising.begin()
            self._publish("Connecting", None)
        if self._session is not None:
            self._tend(self._session)
            self._publish("Connected", problem)
        elif problem is not None:
            self._publish("NoKubeconfig", problem)
        elif time.monotonic() >= self._attempt_at or self._rising.has_come_up(self._state.server):
            self._connect()

    def _connect(self) -> None:
        kubeconfig = self._kubeconfigs.current
        if kubeconfig is None:
            return
        self._state = replace(self._state, context=kubeconfig.context, server=kubeconfig.server)
        established = self._connector.connect(kubeconfig, self._mirror, self._on_object, self._wake.set)
        if self._stopping.is_set():
            return
        self._session = established.session
        self._connected_at = time.monotonic()
        self._state = replace(self._state, uid=established.uid, version=established.version)
        established.session.start(established.answered_at)
        self._publish("Connected", None)
        for key in sorted(established.changed):
            self._on_object(key)

    def _tend(self, session: Session) -> None:
        if session.failure is not None:
            raise session.failure
        if session.is_heartbeat_due() and session.get_cluster_uid() != self._state.uid:
            log.warning(CLUSTER_REPLACED, server=self._state.server)
            self._drop_session()
            self._publish("Connecting", None)
            self._connect()

    def _fall_back(self, error: ClusterError) -> None:
        """Give the session up, say why, and wait before the next attempt."""
        if self._stopping.is_set():
            return
        if self._session is not None and time.monotonic() - self._connected_at > self._timing.backoff_reset:
            self._backoff.reset()
        self._drop_session()
        self._connector.take_failure(error)
        eager = self._rising.find_pause_seconds(self._state.server, error)
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        wait = max(self._backoff.next_seconds() if eager is None else eager, asked)
        self._attempt_at = time.monotonic() + wait
        self._publish(state_of(error), error.problem)

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._connector.remember_check(session.failed_check)
            session.close(_STOP_SECONDS)

    def _publish(self, state: ConnectionState, problem: Problem | None) -> None:
        """Make this the state; tell it only when it is another one, and not with each attempt."""
        before = self._state
        since = before.since_seconds if state == before.state else time.time()
        self._state = replace(before, state=state, problem=problem, since_seconds=since)
        code = problem.code if problem is not None else ""
        if (before.state, before.problem.code if before.problem is not None else "") == (state, code):
            return
        level = log.warning if problem is not None else log.info
        level(
            STATE_CHANGED,
            state=state,
            code=code,
            reason=problem.message if problem is not None else "",
            context=self._state.context,
            server=self._state.server,
        )
        self._on_change()

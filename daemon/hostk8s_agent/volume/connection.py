"""The supervised way to the volume: finds the engine, notices its loss, and comes back by itself."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import Problem, VolumeError
from hostk8s_agent.pacing import Backoff
from hostk8s_agent.volume.endpoint import DockerEndpoint, EndpointSources, find_endpoint, list_endpoints
from hostk8s_agent.volume.engine import ask_runs_node
from hostk8s_agent.volume.errors import (
    AccessClosedError,
    AccessImpossibleError,
    ContextUnknownError,
    EndpointRefusedError,
    EngineChangedError,
    EngineFailedError,
    EngineUnreachableError,
    VolumeLostError,
)
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.volume.link import DockerLink
from hostk8s_agent.volume.state import ConnectionState, DockerState, Pace, VolumeOptions
from hostk8s_agent.volume.waking import Waker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.engine import EngineIdentity
    from hostk8s_agent.volume.nodes import ClusterNodes

log = structlog.get_logger()

STATE_CHANGED = "volume.connection_changed"
TURN_FAILED = "volume.connection_turn_failed"

_REFUSALS = (EngineChangedError, EndpointRefusedError, ContextUnknownError, AccessImpossibleError)


class VolumeConnection:
    """Holds the way into the volume while there is one. `start` and `stop` once each; the rest from any thread.

    `on_change` is called at each change of state, from the connection's thread, after the new state can be read; it
    must return soon.
    """

    def __init__(
        self,
        options: VolumeOptions,
        *,
        sources: EndpointSources,
        on_change: Callable[[], None],
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._options = options
        self._sources = sources
        self._on_change = on_change
        self._pace = pace or Pace()
        self._clock = clock
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._state = DockerState("Connecting", options.volume_name, clock())
        self._access: VolumeAccess | None = None
        self._nodes: ClusterNodes | None = None
        self._error: VolumeError = EngineUnreachableError(
            "the agent has not connected to Docker yet", hint="wait a moment"
        )
        self._endpoint: DockerEndpoint | None = None
        self._pinned: DockerEndpoint | None = None
        self._pinned_id = ""
        self._remembered = options.remembered
        self._is_stopping = False
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="volume-connection", daemon=True)
        self._heartbeat = time.monotonic()

    def start(self) -> None:
        """Begin to look for the engine."""
        self._thread.start()

    def stop(self) -> None:
        """Let go of everything; a helper container is removed. Returns when that is done. Twice is as good as once."""
        self._is_stopping = True
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._waker.close()

    def current_access(self) -> VolumeAccess:
        """Return the way in. Raises the `VolumeError` that says why there is none."""
        with self._lock:
            if self._access is not None:
                return self._access
            raise self._copy_error()

    def current_nodes(self) -> ClusterNodes:
        """Return the way to the cluster's nodes in the engine. Raises the `VolumeError` that says why there is none."""
        with self._lock:
            if self._nodes is not None:
                return self._nodes
            if self._access is not None:
                raise EngineUnreachableError("no Docker engine is in use", hint="nothing to do")
            raise self._copy_error()

    def accept_loss(self) -> bool:
        """Begin anew with whatever has the volume's name, or make it; return whether a loss was there to accept."""
        with self._lock:
            if self._state.state != "VolumeLost":
                return False
            self._remembered = None
        self._waker.wake()
        return True

    def state(self) -> DockerState:
        """Return the state at this instant."""
        with self._lock:
            return self._state

    @property
    def heartbeat(self) -> float:
        """When the connection's thread last turned, on the monotonic clock, in seconds."""
        return self._heartbeat

    def _copy_error(self) -> VolumeError:
        # An error raised in many threads would collect all their tracebacks.
        return type(self._error)(self._error.message, hint=self._error.hint)

    def _run(self) -> None:
        if self._options.backend == "host-directory":
            self._serve_host_directory()
            self._wait_for_stop()
        while not self._is_stopping:
            try:
                self._turn()
            except Exception:
                # A supervisor that dies of an engine's odd answer would leave the agent blind for good.
                log.exception(TURN_FAILED)
                message = "the Docker engine gave an answer that the agent does not understand"
                self._publish_failure(EngineFailedError(message, hint="see the agent's log"))
                self._wait_for_change(self._describe_situation(), self._backoff.next_seconds())
        if (access := self._forget_access()) is not None:
            access.close()

    def _turn(self) -> None:
        """Try once to reach an engine; serve it until it is lost, or wait until another try makes sense."""
        situation = self._describe_situation()
        try:
            endpoint = self._find_endpoint()
            if endpoint is None:
                self._serve_absence()
                self._wait_for_change(situation, None)
                return
            link = self._connect(endpoint)
        except EngineChangedError as error:
            self._publish_failure(error)
            self._wait_for_stop()
        except _REFUSALS as error:
            self._publish_failure(error)
            self._wait_for_change(situation, None)
        except VolumeError as error:
            self._publish_failure(error)
            self._wait_for_change(situation, self._backoff.next_seconds())
        else:
            self._supervise(link)

    def _find_endpoint(self) -> DockerEndpoint | None:
        # Resolved once: a Docker context that is switched later must not move the agent to another engine.
        return self._pinned or find_endpoint(self._sources, lambda one: ask_runs_node(one, self._options.cluster_name))

    def _connect(self, endpoint: DockerEndpoint) -> DockerLink:
        self._endpoint = endpoint
        options = replace(self._options, remembered=self._remembered)
        link = DockerLink(endpoint, options, pinned_id=self._pinned_id, report_loss=lambda _: self._waker.wake())
        self._remembered = link.remembered
        self._pinned, self._pinned_id = endpoint, link.identity.engine_id
        self._backoff.reset()
        return link

    def _supervise(self, link: DockerLink) -> None:
        """Serve the link until it is lost or the agent stops."""
        checks = 0
        self._nodes = link.nodes
        try:
            self._publish("Connected", link.access, identity=link.identity)
            while not self._is_stopping:
                link.wait_for_news(self._wait, self._pace.check_seconds)
                if not self._is_stopping:
                    checks += 1
                    link.check(identifies=checks % self._pace.identify_every == 0)
        except VolumeError as error:
            self._nodes, self._remembered = None, link.remembered
            self._publish_failure(error)
            link.abandon()
            if isinstance(error, EngineChangedError):
                # A connection made anew would be one to the wrong engine.
                self._wait_for_stop()
        except BaseException:
            link.abandon()
            raise
        else:
            self._forget_access()
            link.close()

    def _serve_absence(self) -> None:
        if self._options.backend == "auto" and not self._options.expects_docker:
            self._serve_host_directory()
            return
        self._publish_failure(
            EngineUnreachableError(
                "there is no Docker endpoint: no DOCKER_HOST, no context, and none of the known sockets",
                hint="start Docker; the agent notices by itself",
            )
        )

    def _serve_host_directory(self) -> None:
        if self.state().state != "Absent":
            self._publish("Absent", HostDirectoryAccess(self._options.host_directory))

    def _forget_access(self) -> VolumeAccess | None:
        """Give out no access any more: the agent stops."""
        with self._lock:
            access, self._access = self._access, None
            self._nodes = None
            self._error = AccessClosedError("the agent stops", hint="start it again: `hostk8s-agent run`")
        return access

    def _publish_failure(self, error: VolumeError) -> None:
        """Publish that there is no engine. A host directory that serves goes on serving until an engine answers."""
        state: ConnectionState = "VolumeLost" if isinstance(error, VolumeLostError) else "Unreachable"
        state = "Refused" if isinstance(error, _REFUSALS) else state
        if self.state().state == "Absent" and state == "Unreachable":
            return
        with self._lock:
            self._error = error
        self._publish(state, None, problem=error.problem)

    def _publish(
        self,
        state: ConnectionState,
        access: VolumeAccess | None,
        *,
        identity: EngineIdentity | None = None,
        problem: Problem | None = None,
    ) -> None:
        with self._lock:
            former, self._access, before = self._access, access, self._state
            endpoint = self._endpoint if state != "Absent" else None
            after = replace(
                before,
                state=state,
                endpoint=endpoint.url if endpoint else "",
                origin=endpoint.origin if endpoint else "",
                access=access.access if access else None,
                engine_id=identity.engine_id if identity else before.engine_id,
                version=identity.version if identity else before.version,
                problem=problem,
                remembered=self._remembered,
            )
            is_changed = after.summary != before.summary
            self._state = after if after.state == before.state else replace(after, since=self._clock())
        # A link closes its own access; the host directory has no link.
        if isinstance(former, HostDirectoryAccess) and former is not access:
            former.close()
        if is_changed:
            log.info(STATE_CHANGED, state=state, endpoint=after.endpoint, problem=problem.code if problem else None)
            self._on_change()

    def _describe_situation(self) -> object:
        """What a failed attempt depended on and a cheap look can see: endpoints, their sockets, an accepted loss."""
        try:
            endpoints = (self._pinned,) if self._pinned else list_endpoints(self._sources)
        except VolumeError as error:
            return error.message
        return self._remembered, *((endpoint, endpoint.sign_socket()) for endpoint in endpoints)

    def _wait_for_change(self, situation: object, limit_seconds: float | None) -> None:
        """Return when the situation is another one, the limit is over or the agent stops."""
        deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
        while not self._is_stopping and (deadline is None or time.monotonic() < deadline):
            self._wait(None, self._pace.look_seconds)
            if self._describe_situation() != situation:
                self._backoff.reset()
                return

    def _wait_for_stop(self) -> None:
        while not self._is_stopping:
            self._wait(None, self._pace.check_seconds)

    def _wait(self, tripwire: socket.socket | None, seconds: float) -> bool:
        self._heartbeat = time.monotonic()
        is_woken = self._waker.wait(tripwire, seconds)
        self._heartbeat = time.monotonic()
        return is_woken

"""One established connection: a client, a watcher for each resource, and whether what they know is fresh."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from hostk8s_agent.cluster.errors import (
    ClusterAnswerError,
    ClusterTimeoutError,
    ClusterUnauthenticatedError,
    ClusterUnreachableError,
)
from hostk8s_agent.cluster.requests import ClusterClient, Request
from hostk8s_agent.cluster.resources import MIRRORED
from hostk8s_agent.cluster.watching import ResourceWatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cluster.mirror import Mirror
    from hostk8s_agent.cluster.state import ConnectionTiming
    from hostk8s_agent.errors import ClusterError
    from hostk8s_agent.plan.desired import ObjectKey

_IDENTITY = Request("get", "/api/v1/namespaces/kube-system", "get Namespace/kube-system")
Outcome = TypeVar("Outcome")

_VERSION = Request("get", "/version", "get the version")


def get_cluster_uid(client: ClusterClient) -> str:
    """Ask which cluster it is. Raises a `ClusterError`."""
    answer = client.send(_IDENTITY)
    metadata = answer.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    if not isinstance(uid, str) or not uid:
        raise ClusterAnswerError(
            "the API server says nothing of its namespace kube-system",
            hint="check that the kubeconfig names an API server; the agent goes on trying",
        )
    return uid


def get_server_version(client: ClusterClient) -> str:
    """Ask for the server's version, for instance `v1.33.1`; empty where it does not say. Raises a `ClusterError`."""
    version = client.send(_VERSION).get("gitVersion")
    return version if isinstance(version, str) else ""


class Session:
    """From the first list to the first failure that a watcher cannot mend. It is never used again after `close`."""

    def __init__(
        self,
        client: ClusterClient,
        mirror: Mirror,
        timing: ConnectionTiming,
        *,
        on_object: Callable[[ObjectKey], None],
        wake: Callable[[], None],
    ) -> None:
        self.client = client
        self._timing = timing
        self._wake = wake
        self._lock = threading.Lock()
        self._watchers = tuple(ResourceWatcher(one, client, mirror, timing, on_object) for one in MIRRORED)
        self._failure: ClusterError | None = None
        self._failed_check: Callable[[ClusterClient], None] | None = None
        self._is_doubted = False
        self._answered_at = 0.0

    def list_everything(self) -> set[ObjectKey]:
        """Fill the mirror; return the keys that changed since it was filled last. Raises the first `ClusterError`."""
        changed: set[ObjectKey] = set()
        for watcher in self._watchers:
            self._failed_check = watcher.check_list
            changed |= watcher.list_now()
        self._failed_check = None
        return changed

    def start(self, answered_at: float) -> None:
        """Watch. `answered_at` is when the server told its identity, on the monotonic clock."""
        self._answered_at = answered_at
        for watcher in self._watchers:
            watcher.start(self._take_failure, self.doubt)

    @property
    def failure(self) -> ClusterError | None:
        """Why the session is over, None as long as it is not."""
        return self._failure

    @property
    def failed_check(self) -> Callable[[ClusterClient], None] | None:
        """The one small request that tells whether what failed would work by now, None where it is the heartbeat."""
        return self._failed_check

    def is_heartbeat_due(self) -> bool:
        """Whether the server should be asked for its identity now."""
        return self._is_doubted or time.monotonic() - self._answered_at >= self._timing.heartbeat

    def get_cluster_uid(self) -> str:
        """Ask which cluster it is now: the heartbeat. Raises a `ClusterError`."""
        started = time.monotonic()
        self._is_doubted = False
        uid = get_cluster_uid(self.client)
        self._answered_at = started
        return uid

    def doubt(self) -> None:
        """Have the next heartbeat at once: something broke."""
        self._is_doubted = True
        self._wake()

    def is_fresh(self) -> bool:
        """Whether the server was heard of recently on every way on which it should be heard."""
        oldest = min(self._answered_at, *(watcher.heard_at for watcher in self._watchers))
        return self._failure is None and time.monotonic() - oldest <= self._timing.fresh

    def close(self, timeout_seconds: float = 2.0) -> None:
        """End the watchers, also those that wait for the server, and wait for them."""
        for watcher in self._watchers:
            watcher.stop()
        self.client.close()
        deadline = time.monotonic() + timeout_seconds
        for watcher in self._watchers:
            watcher.join(max(0.0, deadline - time.monotonic()))

    def _take_failure(self, watcher: ResourceWatcher, error: ClusterError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
                self._failed_check = watcher.check_watch
        self._wake()


def explain_staleness(server: str, timing: ConnectionTiming) -> ClusterTimeoutError:
    """Return the error of a session that is connected and has not been heard of for too long."""
    return ClusterTimeoutError(
        f"the API server at {server} was last heard of more than {timing.fresh:.0f} s ago",
        hint="nothing to do: the agent finds out whether it is still there",
    )


def doubting(session: Session, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Return the outcomes, and have the session looked at when one of them says that something broke."""
    if any(isinstance(one, (ClusterUnreachableError, ClusterUnauthenticatedError)) for one in outcomes):
        session.doubt()
    return outcomes

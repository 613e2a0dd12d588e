"""One attempt to connect: credentials, client, which cluster it is, a full mirror of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.errors import (
    ClusterTlsError,
    ClusterUnauthenticatedError,
    ClusterUnreachableError,
    KubeconfigError,
)
from hostk8s_agent.cluster.requests import ClusterClient, RequestCounter
from hostk8s_agent.cluster.session import Session, get_cluster_uid, get_server_version
from hostk8s_agent.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cluster.credentials import Credentials
    from hostk8s_agent.cluster.kubeconfig import Kubeconfig
    from hostk8s_agent.cluster.mirror import Mirror
    from hostk8s_agent.cluster.state import ConnectionTiming
    from hostk8s_agent.plan.desired import ObjectKey

Check = Callable[[ClusterClient], None]


@dataclass(frozen=True, slots=True)
class Established:
    """What an attempt that succeeded has brought.

    `session` is listed and not started yet; `answered_at` is when the server told its `uid`, on the monotonic
    clock; `changed` are the objects that changed since the same cluster was connected before.
    """

    session: Session
    uid: str
    version: str
    answered_at: float
    changed: frozenset[ObjectKey]


class Connector:
    """Makes sessions. Used by one thread; `close` alone may be called by another."""

    def __init__(self, scratch_folder: Path, counter: RequestCounter, timing: ConnectionTiming) -> None:
        self._scratch_folder = scratch_folder
        self._counter = counter
        self._timing = timing
        self._lock = threading.Lock()
        self._is_closed = False
        self._client: ClusterClient | None = None
        self._credentials: Credentials | None = None
        self._mirrored = ("", "")
        self._check: Check | None = None

    def connect(
        self,
        kubeconfig: Kubeconfig,
        mirror: Mirror,
        on_object: Callable[[ObjectKey], None],
        wake: Callable[[], None],
    ) -> Established:
        """Connect and fill the mirror. Raises a `ClusterError`; an attempt that fails like the last is one request."""
        client = self._open_client(kubeconfig)
        try:
            if self._check is not None:
                self._check(client)
                self._check = None
            answered_at = time.monotonic()
            uid = get_cluster_uid(client)
            is_known = self._mirrored == (kubeconfig.server, uid)
            if not is_known:
                mirror.clear()
            session = Session(client, mirror, self._timing, on_object=on_object, wake=wake)
            try:
                changed = session.list_everything()
            except ClusterError:
                self._check = session.failed_check
                raise
            self._mirrored = (kubeconfig.server, uid)
            version = _find_server_version(client)
        except BaseException:
            client.close()
            raise
        # A mirror that was empty has no news: whoever is told of the connection looks at everything.
        told = frozenset(changed) if is_known else frozenset()
        return Established(session, uid, version, answered_at, told)

    def take_failure(self, error: ClusterError) -> None:
        """Learn from a failure: keys and tokens that were not accepted are read anew."""
        if isinstance(error, (ClusterTlsError, ClusterUnauthenticatedError, KubeconfigError)):
            self._credentials = None

    def remember_check(self, check: Check | None) -> None:
        """Begin the next attempt with this request, which tells whether what ended a session works by now."""
        self._check = check

    def forget(self) -> None:
        """Forget everything about the former kubeconfig, but for the mirror's cluster."""
        self._credentials = None
        self._check = None

    def close(self) -> None:
        """Break the connections of the client that is in use, and of any that is made from now on."""
        with self._lock:
            self._is_closed = True
            if self._client is not None:
                self._client.close()

    def _open_client(self, kubeconfig: Kubeconfig) -> ClusterClient:
        # Imported here, in the supervising thread, because it costs a quarter of a second.
        from hostk8s_agent.cluster.client import ApiServerClient  # noqa: PLC0415
        from hostk8s_agent.cluster.credentials import load_credentials  # noqa: PLC0415

        if self._credentials is None:
            self._credentials = load_credentials(kubeconfig, self._scratch_folder)
        client = ApiServerClient(
            self._credentials,
            self._counter,
            connect_timeout_seconds=self._timing.connect_timeout,
            read_timeout_seconds=self._timing.read_timeout,
        )
        with self._lock:
            self._client = client
            if self._is_closed:
                client.close()
        return client


def _find_server_version(client: ClusterClient) -> str:
    try:
        return get_server_version(client)
    except ClusterUnreachableError:
        raise
    except ClusterError:
        return ""  # a server that keeps its version to itself is as good as any

"""The snapshots of one workspace for a single command, while no agent runs."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hostk8s_agent.connections import ConnectionReports, Connections
from hostk8s_agent.control.snapshot_answers import SnapshotAnswers
from hostk8s_agent.reconcile.contracts import ContractBook
from hostk8s_agent.snapshot.expiring import Expiry
from hostk8s_agent.snapshot.policies import find_stack_policy, load_default_policy
from hostk8s_agent.snapshots import build_quiescer, build_service
from hostk8s_agent.status.records import Records
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.status.model import DockerStatus
    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.nodes import ClusterNodes
    from hostk8s_agent.workspace import Workspace

CONNECT_SECONDS = 20.0
_POLL_SECONDS = 0.02
# Then a person's command says who is at work.
_LOCK_WAIT_SECONDS = 5.0


@contextmanager
def open_snapshots(workspace: Workspace, settings: Settings) -> Iterator[SnapshotAnswers]:
    """Open the snapshots of a workspace for one command, while no agent runs: connects to the volume alone."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    # As Ctrl-C does: by way of the clean-up, the helper container's too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    records = Records(state_folder(workspace), is_kept=False)
    connections = Connections(
        workspace,
        settings,
        records.load_facts(),
        ConnectionReports(lambda _name, _state: None, lambda _key: None, lambda _name, _value: None, lambda: None),
        may_create_volume=False,
    )
    book = ContractBook(workspace, last_good={}, holders={})
    way = _LateConnections(connections)
    quiescer = build_quiescer(workspace, settings, way)
    try:
        service = build_service(workspace, settings, book, way, quiescer, lock_wait_seconds=_LOCK_WAIT_SECONDS)
        default = load_default_policy(settings)
        yield SnapshotAnswers(
            service, Expiry(service, lambda stack: find_stack_policy(book.read(stack).contract, default))
        )
    finally:
        way.stop()


class _LateConnections:
    """Connections that are made when the volume is first asked for: looking at the repository needs none."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._is_started = False

    def volume(self) -> VolumeAccess:
        """Return the way into the volume, once there is one."""
        return self._connected().volume()

    def docker_status(self) -> DockerStatus:
        """How Docker is."""
        return self._connected().docker_status()

    def find_cluster(self) -> ClusterAccess | None:
        """Return the real cluster, None where there is none."""
        return self._connected().find_cluster()

    def nodes(self) -> ClusterNodes:
        """Return the cluster's nodes."""
        return self._connected().nodes()

    def _connected(self) -> Connections:
        if not self._is_started:
            self._is_started = True
            self._connections.start()
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._connections.is_connecting() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return self._connections

    def stop(self) -> None:
        """Let go of what was connected."""
        if self._is_started:
            self._connections.stop()

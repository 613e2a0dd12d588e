"""The mount watch on what really serves: the volume's connection, its engine, or the one that runs the nodes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hostk8s_agent.volume.mount_watch import MountSources, MountWatch
from hostk8s_agent.volume.node_engine import NodeEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.mounting import MountFinding
    from hostk8s_agent.volume.connection import VolumeConnection
    from hostk8s_agent.volume.endpoint import EndpointSources
    from hostk8s_agent.volume.nodes import ClusterNodes
    from hostk8s_agent.volume.state import VolumeOptions


class NodeMounts:
    """Whether the nodes have the volume. `start` and `stop` once each; the rest from any thread.

    `find_cluster` returns the connected cluster's UID and its API server's URL, None while none is connected; `on_wake`
    is called when what is known may be another thing. For commands that only look nothing is ever probed.
    """

    def __init__(
        self,
        volume: VolumeConnection,
        options: VolumeOptions,
        sources: EndpointSources,
        *,
        find_cluster: Callable[[], tuple[str, str] | None],
        on_wake: Callable[[], None],
    ) -> None:
        self._volume = volume
        self._options = options
        self._on_wake = on_wake
        self._engine = NodeEngine(sources, options.cluster_name)
        self._waiting: deque[Callable[[], None]] = deque()
        self._watch = MountWatch(
            MountSources(
                cluster_name=options.cluster_name,
                workspace=options.workspace,
                cluster=find_cluster,
                volume=volume.current_access,
                nodes=self._find_nodes,
                mountpoint=self._find_mountpoint,
            ),
            self._on_looked,
            may_probe=options.may_create_volume,
        )

    def start(self) -> None:
        """Begin to look."""
        self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._watch.stop()
        self._engine.close()

    def current_finding(self) -> MountFinding:
        """Return what is known now. Asks nobody anything."""
        return self._watch.current_finding()

    def find_away(self) -> Problem | None:
        """Return what is known of nodes that were there and are gone or stopped. Asks nobody anything."""
        return self._watch.find_away()

    def look_soon(self, then: Callable[[], None] | None = None) -> None:
        """Look now, because the cluster or the volume is another one; `then` is called when it is known."""
        if then is not None:
            self._waiting.append(then)
        self._watch.look_soon()

    def forget_waiting(self) -> None:
        """Call nobody any more who waits: what they would tell is over."""
        self._waiting.clear()

    def _on_looked(self) -> None:
        if not self._waiting:
            self._on_wake()
        while self._waiting:
            self._waiting.popleft()()

    def _find_nodes(self) -> ClusterNodes:
        is_absent = self._volume.state().state == "Absent"
        return self._engine.current_nodes() if is_absent else self._volume.current_nodes()

    def _find_mountpoint(self) -> str:
        state = self._volume.state()
        if state.state == "Absent" or state.remembered is None:
            return str(self._options.host_directory)
        return state.remembered.mountpoint

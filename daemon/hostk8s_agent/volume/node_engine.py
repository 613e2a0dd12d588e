"""The engine that runs the nodes, where the volume itself is a folder of the workspace and no engine serves it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hostk8s_agent.volume.endpoint import EndpointSources, find_endpoint
from hostk8s_agent.volume.engine import Engine, ask_runs_node
from hostk8s_agent.volume.errors import EngineUnreachableError
from hostk8s_agent.volume.nodes import ClusterNodes

if TYPE_CHECKING:
    from hostk8s_agent.volume.endpoint import DockerEndpoint


class NodeEngine:
    """Opens the engine when it is first asked for. Safe from several threads; close it."""

    def __init__(self, sources: EndpointSources, cluster_name: str) -> None:
        self._sources = sources
        self._cluster_name = cluster_name
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def current_nodes(self) -> ClusterNodes:
        """Return the way to the nodes. Raises the `VolumeError` that says why there is none."""
        with self._lock:
            if self._engine is None:
                endpoint = find_endpoint(self._sources, self._ask)
                if endpoint is None:
                    raise EngineUnreachableError("no Docker engine was found", hint="start Docker")
                self._engine = Engine(endpoint)
            return ClusterNodes(self._engine, self._cluster_name)

    def close(self) -> None:
        """Let go of the engine."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def _ask(self, endpoint: DockerEndpoint) -> bool | None:
        return ask_runs_node(endpoint, self._cluster_name)

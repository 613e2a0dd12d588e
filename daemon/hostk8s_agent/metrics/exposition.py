"""All figures in Prometheus' text format, from a registry of our own: the library's global one is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

from hostk8s_agent.metrics.collecting import AgentCollector
from hostk8s_agent.metrics.observing import ReconcileMeter, SnapshotMeter

if TYPE_CHECKING:
    from hostk8s_agent.metrics.collecting import Sources


class AgentMetrics:
    """The metrics of one agent. `reconciles` is who is told of runs, `snapshots` of snapshots."""

    def __init__(self, sources: Sources) -> None:
        # When a counter began is when the process did: a second series for each would tell nothing.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self._registry = CollectorRegistry(auto_describe=False)
        self.reconciles = ReconcileMeter(self._registry)
        self.snapshots = SnapshotMeter(self._registry)
        self._registry.register(AgentCollector(sources))
        # The process' own: processor time, memory, descriptors, start (Linux alone).
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the text."""
        return generate_latest(self._registry)

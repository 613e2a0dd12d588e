"""What is true now, as metrics: read off the status when somebody asks, so that it costs nothing in between."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from hostk8s_agent.status.model import STACK_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from hostk8s_agent.status.model import AgentStatus

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the metrics ask. Every call is quick, and asks nobody else.

    `queue_depth` is how many stacks wait for a worker; `request_counts` the requests sent to the API server so far,
    keyed by (verb, HTTP status or `none`), `watch_restarts` the watches that ended before their time.
    """

    status: Callable[[], AgentStatus]
    queue_depth: Callable[[], int]
    request_counts: Callable[[], Mapping[tuple[str, str], int]]
    watch_restarts: Callable[[], int]


class AgentCollector(Collector):
    """Gives the families of an agent anew each time that they are asked for."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Give every family, whatever is in it."""
        status = self._sources.status()
        yield InfoMetricFamily("hostk8s_agent", "The agent that answers.", {"version": status.agent.version})
        yield _gauge("hostk8s_reconcile_queue_depth", "Stacks that wait for a worker.", self._sources.queue_depth())
        yield from _collect_stacks(status)
        yield from _collect_connections(status)
        yield from self._collect_requests()
        yield from _collect_directories(status)
        yield from _collect_snapshots(status)

    def _collect_requests(self) -> Iterator[Metric]:
        counts = self._sources.request_counts()
        requests = CounterMetricFamily(
            "hostk8s_kubernetes_requests", "Requests to the API server, by verb and answer.", labels=["verb", "code"]
        )
        for (verb, code), number in sorted(counts.items()):
            requests.add_metric([verb, code], number)
        yield requests
        watches = sum(number for (verb, _code), number in counts.items() if verb == "watch")
        yield CounterMetricFamily(
            "hostk8s_kubernetes_watches", "Watches that were begun: each ends after some minutes.", value=watches
        )
        yield CounterMetricFamily(
            "hostk8s_kubernetes_watch_restarts",
            "Watches that ended before their time: cut, silent or expired.",
            value=self._sources.watch_restarts(),
        )


def _collect_stacks(status: AgentStatus) -> Iterator[Metric]:
    states: Counter[str] = Counter(stack.state for stack in status.stacks)
    by_state: dict[Labels, float] = {(state,): states[state] for state in STACK_STATES}
    yield _family("hostk8s_stacks", "Stacks, by state.", ["state"], by_state)
    codes = Counter(problem.code for problem in status.problems)
    codes.update(problem.code for stack in status.stacks for problem in stack.problems)
    problems: dict[Labels, float] = {(code,): number for code, number in sorted(codes.items())}
    yield _family("hostk8s_problems", "What status shows as wrong, by code.", ["code"], problems)


def _collect_connections(status: AgentStatus) -> Iterator[Metric]:
    # With a stand-in in its place there is nothing that could be up.
    parts = {"docker": status.docker.state, "cluster": status.cluster.state}
    up: dict[Labels, float] = {(name,): int(state == "Connected") for name, state in parts.items() if state != "Absent"}
    yield _family("hostk8s_connection_up", "Whether Docker and the cluster can be used now.", ["to"], up)
    scanned = status.watch.last_scan_at
    times: dict[Labels, float] = {(): datetime.fromisoformat(scanned).timestamp()} if scanned else {}
    yield _family("hostk8s_last_scan_timestamp_seconds", "When all contract files were last looked at.", [], times)


def _collect_directories(status: AgentStatus) -> Iterator[Metric]:
    directories = {(stack.name, one.name): one for stack in status.stacks for one in stack.directories}
    yield _family(
        "hostk8s_directory_declared_bytes",
        "The size that the contract asks for.",
        ["stack", "directory"],
        {names: one.declared_bytes for names, one in directories.items() if one.declared_bytes},
    )
    yield _family(
        "hostk8s_directory_used_bytes",
        "What the files of the directory hold, where that can be measured.",
        ["stack", "directory"],
        {names: one.used_bytes for names, one in directories.items() if one.used_bytes is not None},
    )
    by_snapshot = {
        (one.stack, one.directory): one for one in status.snapshots.directories if one.size_from == "snapshot"
    }
    yield _family(
        "hostk8s_directory_snapshot_bytes",
        "What the files of the directory held when its newest snapshot was taken, where nothing can measure it now.",
        ["stack", "directory"],
        {names: one.size_bytes or 0 for names, one in by_snapshot.items()},
    )
    yield _family(
        "hostk8s_directory_snapshot_timestamp_seconds",
        "When that snapshot was taken.",
        ["stack", "directory"],
        {names: datetime.fromisoformat(one.size_at).timestamp() for names, one in by_snapshot.items()},
    )


def _collect_snapshots(status: AgentStatus) -> Iterator[Metric]:
    kept = status.snapshots
    size: dict[Labels, float] = {(): kept.bytes} if kept.repository else {}
    yield _family("hostk8s_snapshot_repository_bytes", "What all snapshots take where they are kept.", [], size)
    labels = ["stack", "directory"]
    of = {(one.stack, one.directory): one for one in kept.directories}
    yield _family(
        "hostk8s_snapshot_protected",
        "Whether the directory's newest good snapshot is young enough for its schedule.",
        labels,
        {names: int(one.is_protected) for names, one in of.items()},
    )
    for name, words, times in (
        ("last_good", "When the newest good snapshot was taken.", [one.last_good_at for one in of.values()]),
        ("last_verified", "When one was last read back whole.", [one.last_verified_at for one in of.values()]),
        ("next_due", "When the next one is due.", [one.next_due_at for one in of.values()]),
    ):
        moments = zip(of, times, strict=True)
        known: dict[Labels, float] = {names: datetime.fromisoformat(at).timestamp() for names, at in moments if at}
        yield _family(f"hostk8s_snapshot_{name}_timestamp_seconds", words, labels, known)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _family(name: str, words: str, labels: list[str], values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for names, value in values.items():
        family.add_metric(list(names), value)
    return family

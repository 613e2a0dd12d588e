"""Counts of what happens: runs, what they planned, and what failed; snapshots that were taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.snapshot.model import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from hostk8s_agent.plan.actions import Plan
    from hostk8s_agent.snapshot.model import SnapshotManifest

# A run takes 3 ms with nothing to do and some 15 ms with a save; what takes seconds waits for someone.
DURATION_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A contract has a handful of directories, with two objects each.
ACTION_BUCKETS = (0, 1, 2, 3, 5, 10, 20, 50, 100)
# A small directory takes a second, a hundred gigabytes take minutes.
SNAPSHOT_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)


class ReconcileMeter:
    """Told by the controller and the reconciler, from any thread; a call takes a microsecond."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "hostk8s_reconciles", "Runs of a stack, by how they ended.", ["outcome"], registry=registry
        )
        self._durations = Histogram(
            "hostk8s_reconcile_duration_seconds",
            "How long a run of a stack took.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._plan_sizes = Histogram(
            "hostk8s_plan_actions",
            "How many actions the plan of a run had.",
            buckets=ACTION_BUCKETS,
            registry=registry,
        )
        self._actions = Counter("hostk8s_planned_actions", "Planned actions, by kind.", ["kind"], registry=registry)
        self._drift = Counter(
            "hostk8s_drift_fields", "Fields of what exists that were found other than declared.", registry=registry
        )
        self._failures = Counter(
            "hostk8s_apply_failures", "Actions that failed, by the code of the problem.", ["code"], registry=registry
        )
        # A series that is there from the start shows its first rise (prometheus.io, instrumentation, missing metrics).
        for outcome in ("ok", "retry", "crashed"):
            self._runs.labels(outcome)

    def run_ended(self, outcome: str, duration_seconds: float) -> None:
        """Count a run: `outcome` is ok, retry (it asked for another one) or crashed (a defect of ours)."""
        self._runs.labels(outcome).inc()
        self._durations.observe(duration_seconds)

    def planned(self, plan: Plan) -> None:
        """Count what a run is about to do."""
        actions = (*plan.directories, *plan.objects)
        self._plan_sizes.observe(len(actions))
        for action in actions:
            self._actions.labels(type(action).__name__).inc()
            if not isinstance(action, CreateDirectory):
                # A field that is absent of an object that is absent is no drift.
                self._drift.inc(sum(one.observed is not None for one in action.drift))

    def apply_failed(self, code: str) -> None:
        """Count an action that was tried and failed."""
        self._failures.labels(code).inc()


class SnapshotMeter:
    """Told by the snapshot service of each new snapshot."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._taken = Counter(
            "hostk8s_snapshots_taken",
            "Snapshots that were taken, by what is known of them.",
            ["state"],
            registry=registry,
        )
        self._durations = Histogram(
            "hostk8s_snapshot_duration_seconds",
            "From the moment that a snapshot is of until it was read back.",
            buckets=SNAPSHOT_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter("hostk8s_snapshot_content_bytes", "The content of what was taken.", registry=registry)
        # From the start, too: the first damaged snapshot must be a rise.
        for state in SnapshotState:
            self._taken.labels(state.value)

    def created(self, snapshot: SnapshotManifest) -> None:
        """Count a snapshot."""
        self._taken.labels(snapshot.state.value).inc()
        self._durations.observe(max(0.0, (self._clock() - snapshot.taken_at).total_seconds()))
        self._bytes.inc(snapshot.byte_count)

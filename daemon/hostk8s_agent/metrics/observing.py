"""Counts of what happens: runs, what they planned, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from hostk8s_agent.plan.actions import CreateDirectory

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hostk8s_agent.plan.actions import Plan

# A run takes 3 ms with nothing to do and some 15 ms with a save; what takes seconds waits for someone.
DURATION_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A contract has a handful of directories, with two objects each.
ACTION_BUCKETS = (0, 1, 2, 3, 5, 10, 20, 50, 100)


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

"""docs/metrics.md says what the figures are, and the figures are what has happened."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from hostk8s_agent.errors import Problem
from hostk8s_agent.metrics.collecting import Sources
from hostk8s_agent.metrics.exposition import AgentMetrics
from hostk8s_agent.plan.actions import ApplyObject, ChangeDirectory, CreateDirectory, Drift, Plan
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.snapshot.model import SnapshotManifest
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryProtection,
    DirectoryStatus,
    DockerStatus,
    SnapshotsStatus,
    StackStatus,
    WatchStatus,
)

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")

STATUS = AgentStatus(
    AgentInfo("Running", "0.1.0", 1, "/w", "2025-01-31T07:59:00.000Z"),
    DockerStatus("Connected", "", "hostk8s-pv-data", "direct"),
    ClusterStatus("Unreachable", "kind-hostk8s", "", ""),
    WatchStatus("inotify", (), "2025-01-31T08:00:00.000Z"),
    (
        StackStatus(
            "sample",
            "f",
            "Blocked",
            "",
            directories=(
                DirectoryStatus("data", "/mnt/pv/d", "1:1", "755", "Ready", "", 1 << 30, 4096),
                DirectoryStatus("logs", "/mnt/pv/l", "1:1", "755", "Ready", "", 1 << 20),
            ),
            problems=(Problem("PathConflict", "m", "h"), Problem("PathConflict", "m", "h")),
        ),
    ),
)
SNAPSHOTS = SnapshotsStatus(
    "/snapshots",
    700,
    (
        DirectoryProtection(
            "sample",
            "data",
            is_protected=True,
            snapshots=3,
            last_good_at="2025-01-31T06:00:00.000Z",
            last_verified_at="2025-01-31T06:00:04.000Z",
            next_due_at="2025-01-31T12:00:00.000Z",
            size_bytes=4096,
            size_from="measurement",
            size_at="2025-01-31T08:00:00.000Z",
        ),
        DirectoryProtection(
            "sample",
            "logs",
            is_protected=False,
            snapshots=0,
            size_bytes=2048,
            size_from="snapshot",
            size_at="2025-01-31T06:00:00.000Z",
        ),
    ),
)
DRIFT = Drift("owner", "1:1", "0:0")
SNAPSHOT = SnapshotManifest("20250131-060000-00000000", "sample", datetime(2025, 1, 31, 6, tzinfo=UTC), (), "", "")
PLAN = Plan(
    "sample",
    directories=(
        CreateDirectory("/mnt/pv/a", 1, 1, 0o755, "absent"),
        ChangeDirectory("/mnt/pv/b", 1, 1, 0o755, changes_owner=True, changes_mode=False, reason="", drift=(DRIFT,)),
    ),
    objects=(ApplyObject(ObjectKey("StorageClass", "s"), {}, "absent", (Drift("reclaimPolicy", "Retain", None),)),),
)


def build_metrics(status: AgentStatus = STATUS) -> AgentMetrics:
    """The metrics of an agent that is as `status` says, with its snapshots."""
    status = replace(status, snapshots=SNAPSHOTS)
    return AgentMetrics(
        Sources(lambda: status, lambda: 3, lambda: {("watch", "200"): 4, ("get", "none"): 1}, lambda: 2)
    )


def read(metrics: AgentMetrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus itself reads them."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_happened_is_counted() -> None:
    """Runs by how they ended, plans by what was in them, drift without what was never there, failures by code."""
    metrics = build_metrics()
    metrics.reconciles.run_ended("ok", 0.003)
    metrics.reconciles.run_ended("retry", 4.0)
    metrics.reconciles.planned(PLAN)
    metrics.reconciles.apply_failed("DiskFull")
    found = read(metrics)
    expected = {
        "hostk8s_reconciles_total outcome=ok": 1,
        "hostk8s_reconciles_total outcome=retry": 1,
        "hostk8s_reconciles_total outcome=crashed": 0,
        "hostk8s_reconcile_duration_seconds_count": 2,
        "hostk8s_plan_actions_sum": 3,
        "hostk8s_planned_actions_total kind=CreateDirectory": 1,
        "hostk8s_planned_actions_total kind=ApplyObject": 1,
        "hostk8s_drift_fields_total": 1,
        "hostk8s_apply_failures_total code=DiskFull": 1,
    }
    assert {name: found[name] for name in expected} == expected


def test_snapshots_are_counted_and_dated() -> None:
    """How many, how large, how long, and of each directory when the last good one was; none of a directory without."""
    metrics = build_metrics()
    metrics.snapshots.created(SNAPSHOT)
    found = read(metrics)
    expected = {
        "hostk8s_snapshots_taken_total state=unverified": 1,
        # There from the start: else the first damaged one would be no rise, and wake nobody.
        "hostk8s_snapshots_taken_total state=damaged": 0,
        "hostk8s_snapshots_taken_total state=suspect": 0,
        "hostk8s_snapshot_duration_seconds_count": 1,
        "hostk8s_snapshot_content_bytes_total": 0,
        "hostk8s_snapshot_repository_bytes": 700,
        "hostk8s_snapshot_protected directory=data stack=sample": 1,
        "hostk8s_snapshot_protected directory=logs stack=sample": 0,
        "hostk8s_snapshot_last_good_timestamp_seconds directory=data stack=sample": 1738303200,
        "hostk8s_snapshot_last_verified_timestamp_seconds directory=data stack=sample": 1738303204,
        "hostk8s_snapshot_next_due_timestamp_seconds directory=data stack=sample": 1738324800,
    }
    assert {name: found[name] for name in expected} == expected
    assert "hostk8s_snapshot_last_good_timestamp_seconds directory=logs stack=sample" not in found


def test_what_is_true_is_read_off_the_status() -> None:
    """States that no stack is in are there with 0, and what is not known is left out."""
    found = read(build_metrics())
    expected = {
        "hostk8s_agent_info version=0.1.0": 1,
        "hostk8s_stacks state=Blocked": 1,
        "hostk8s_stacks state=Ready": 0,
        "hostk8s_problems code=PathConflict": 2,
        "hostk8s_reconcile_queue_depth": 3,
        "hostk8s_connection_up to=docker": 1,
        "hostk8s_connection_up to=cluster": 0,
        "hostk8s_kubernetes_requests_total code=none verb=get": 1,
        "hostk8s_kubernetes_watches_total": 4,
        "hostk8s_kubernetes_watch_restarts_total": 2,
        "hostk8s_last_scan_timestamp_seconds": 1738310400,
        "hostk8s_directory_declared_bytes directory=data stack=sample": 1 << 30,
        "hostk8s_directory_used_bytes directory=data stack=sample": 4096,
    }
    assert {name: found[name] for name in expected} == expected
    assert "hostk8s_directory_used_bytes directory=logs stack=sample" not in found
    # What a snapshot knows is never shown as what is there now.
    assert found["hostk8s_directory_snapshot_bytes directory=logs stack=sample"] == 2048
    assert found["hostk8s_directory_snapshot_timestamp_seconds directory=logs stack=sample"] == 1738303200
    assert "hostk8s_directory_snapshot_bytes directory=data stack=sample" not in found
    absent = replace(STATUS, docker=DockerStatus("Absent", "", "", "host-directory"))
    assert "hostk8s_connection_up to=docker" not in read(build_metrics(absent))


def test_two_agents_have_nothing_in_common() -> None:
    """The library's global registry is not used: what one counts, the other has not."""
    one, other = build_metrics(), build_metrics()
    one.reconciles.run_ended("ok", 0.1)
    assert read(other)["hostk8s_reconciles_total outcome=ok"] == 0


def test_the_page_has_every_metric_with_its_type_and_labels() -> None:
    """A dashboard is built from this table: a renamed metric would leave it empty without a word."""
    metrics = build_metrics()
    metrics.reconciles.planned(PLAN)
    metrics.reconciles.apply_failed("DiskFull")
    metrics.snapshots.created(SNAPSHOT)
    real = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        if not family.name.startswith("hostk8s_"):
            continue
        # A histogram's buckets are the library's own.
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        real[family.name + suffix] = (family.type, labels)
    table = re.findall(r"^\| `(hostk8s_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table} == {
        name: ("gauge" if name.endswith("_info") else kind, labels) for name, (kind, labels) in real.items()
    }


def test_the_process_is_told_of_as_everywhere() -> None:
    """Memory and descriptors have the names that every Prometheus client gives them."""
    assert f"{read(build_metrics())['process_resident_memory_bytes']:.0f}" != "0"

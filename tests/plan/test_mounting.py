"""What the mount probe's finding allows: no volume on a node that would lose its data."""

from __future__ import annotations

from typing import Any

import pytest

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import DesiredState, ObjectKey
from hostk8s_agent.plan.mounting import MountFinding, keep_affinity, keep_to_nodes
from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory, ObservedObject, ObservedState
from hostk8s_agent.plan.planning import Constraints, plan_stack

DAGS = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-dags-pv")
MISSING = Problem("NodeMountMissing", "the node has nothing mounted", "mend it")
AFFINITY = {
    "required": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]}]}
        ]
    }
}


def state_of(desired: DesiredState, *objects: ObservedObject) -> ObservedState:
    """All directories in place, and these objects."""
    directories = {
        one.path: ObservedDirectory(one.path, "directory", one.uid, one.gid, one.mode) for one in desired.directories
    }
    return ObservedState(directories, {one.key: one for one in objects})


@pytest.mark.parametrize("is_waiting", [True, False])
def test_without_the_mount_no_volume_is_made_or_changed(
    desired: DesiredState,
    is_waiting: bool,  # noqa: FBT001 - a case
) -> None:
    """StorageClasses and directories lose nothing with a node, and are made; while it is checked, that is a wait."""
    finding = MountFinding(MISSING, is_waiting=is_waiting)
    manifest = next(one.manifest for one in desired.objects if one.key == DAGS)
    existing = ObservedObject(DAGS, manifest, "u", "1", (FieldManager("hostk8s-agent", "Apply"),), "Available")
    plan = plan_stack(desired, state_of(desired, existing), Constraints(mount=finding))

    assert {one.key.kind for one in plan.objects} == {"StorageClass"}
    assert {(one.problem.code, one.is_waiting) for one in plan.blocked} == {("NodeMountMissing", is_waiting)}
    assert len(plan.blocked) == 2


def test_volumes_are_kept_to_the_nodes_that_have_the_mount(desired: DesiredState) -> None:
    """Elsewhere a pod would write into a folder of the node."""
    plan = plan_stack(desired, state_of(desired), Constraints(mount=MountFinding(nodes=("b", "a"))))
    specs: list[Any] = [
        one.manifest["spec"]
        for one in plan.objects
        if isinstance(one, ApplyObject) and one.key.kind == "PersistentVolume"
    ]
    assert [spec["nodeAffinity"] for spec in specs] == [AFFINITY, AFFINITY]
    everywhere = plan_stack(desired, state_of(desired), Constraints(mount=MountFinding()))
    assert "nodeAffinity" not in repr(everywhere.objects)


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        pytest.param({"f:spec": {"f:nodeAffinity": {}}}, True, id="ours"),
        pytest.param({"f:spec": {}}, False, id="another's"),
        pytest.param({}, False, id="unknown"),
    ],
)
def test_a_node_affinity_of_ours_is_applied_again(
    desired: DesiredState,
    fields: dict[str, object],
    is_kept: bool,  # noqa: FBT001 - a case
) -> None:
    """Kubernetes lets nobody take it away, and would refuse every later change with it."""
    manifest = next(one.manifest for one in desired.objects if one.key == DAGS)
    made = keep_to_nodes(manifest, ("a", "b"))
    observed = ObservedObject(DAGS, made, "u", "1", (FieldManager("hostk8s-agent", "Apply", fields),), "Available")

    assert keep_affinity(manifest, observed) == (made if is_kept else manifest)
    assert keep_affinity(manifest, ObservedObject(DAGS, {}, "u", "1", observed.managers)) == manifest
    # It is no drift.
    assert [one for one in plan_stack(desired, state_of(desired, observed)).objects if one.key == DAGS] == []

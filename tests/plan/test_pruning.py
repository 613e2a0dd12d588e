"""What may be pruned: only what was applied, what nobody asks for and nobody uses; and never most of it at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostk8s_agent.plan.actions import DeleteObject, Plan
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedObject, ObservedPod
from hostk8s_agent.plan.pruning import (
    Leftover,
    Surroundings,
    Verdict,
    find_pods_using,
    judge_leftover,
    plan_pruning,
)

KEY = ObjectKey("PersistentVolume", "hostk8s-a-b-pv")
CLASS = ObjectKey("StorageClass", "fast")
OURS = (FieldManager("hostk8s-agent", "Apply"),)
AROUND = Surroundings("/work/space", {"/work/other"})


def observed(key: ObjectKey = KEY, annotations: Any = None, labels: Any = None, **changes: Any) -> ObservedObject:
    """An object that we applied and nobody uses."""
    metadata = {"name": key.name, "annotations": annotations, "labels": labels}
    values: dict[str, Any] = {"uid": "1", "resource_version": "7", "managers": OURS, "phase": "Available", **changes}
    return ObservedObject(key, {"metadata": metadata}, **values)


def judge(found: ObservedObject | None, around: Surroundings = AROUND, uid: str = "1") -> Verdict:
    """The verdict on a leftover that was recorded with this UID."""
    return judge_leftover(Leftover("a", found.key if found else KEY, uid), found, around)


@pytest.mark.parametrize("phase", ["Available", "Released", "Manifest"])
def test_what_nobody_uses_may_go(phase: str) -> None:
    """Such a volume is an empty reservation: its data stays where it is."""
    found = observed(phase=phase, claim="ns/c", claim_uid="9" if phase == "Released" else "")
    assert (judge(found).state, judge(found).problem) == ("free", None)
    assert judge(observed(CLASS, phase="")).state == "free"


@pytest.mark.parametrize(
    "found",
    [
        None,
        observed(managers=(FieldManager("kubectl", "Update"),), uid="2", labels={"app.kubernetes.io/managed-by": "x"}),
        observed(
            managers=(FieldManager("kubectl", "Update"),),
            uid="2",
            labels={"app.kubernetes.io/managed-by": "hostk8s-agent"},
        ),
        observed(managers=(FieldManager("kubectl", "Update"),)),
        observed(annotations={"hostk8s.io/workspace": "/work/other"}),
    ],
    ids=["gone", "foreign", "label-alone", "taken-over", "of-another-workspace"],
)
def test_what_is_not_ours_is_forgotten_and_not_touched(found: ObservedObject | None) -> None:
    """A name in the inventory and a label prove nothing: it must be the object itself, or one that we applied."""
    assert judge(found).state == "gone"


def test_what_lost_its_field_managers_is_known_by_its_uid() -> None:
    """`kubectl replace` throws the managers away; the object stays the one that was recorded."""
    found = observed(managers=(), labels={"app.kubernetes.io/managed-by": "hostk8s-agent"})
    assert judge(found).state == "free"
    assert judge(found, uid="").state == "gone"


def test_a_workspace_that_is_gone_holds_nothing() -> None:
    """A checkout may be moved, and its objects name the old path."""
    assert judge(observed(annotations={"hostk8s.io/workspace": "/work/gone"})).state == "free"
    assert judge(observed(CLASS, phase="", annotations={"hostk8s.io/workspace": "/work/other"})).state == "free"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"annotations": {"hostk8s.io/prune": "disabled"}}, "PruneDisabled", "hostk8s.io/prune: disabled"),
        (
            {"is_terminating": True, "phase": "Bound", "claim": "ns/c"},
            "ObjectTerminating",
            "until its claim ns/c is gone",
        ),
        # Reserved, or Released: the claim is not there, and cannot keep it.
        ({"is_terminating": True, "claim": "ns/c"}, "ObjectTerminating", "until its finalizers are gone"),
        (
            {"is_terminating": True, "phase": "Released", "claim": "ns/c", "claim_uid": "9"},
            "ObjectTerminating",
            "until its finalizers are gone",
        ),
        ({"is_terminating": True}, "ObjectTerminating", "until its finalizers are gone"),
        ({"phase": "Bound", "claim": "ns/c", "claim_uid": "9"}, "VolumeInUse", "the claim ns/c holds it"),
        ({"phase": "Available", "claim": "ns/c", "claim_uid": "9"}, "VolumeInUse", "the claim ns/c holds it"),
        ({"phase": "Pending"}, "VolumeNotSettled", "its phase is Pending"),
        ({"phase": ""}, "VolumeNotSettled", "its phase is not set"),
    ],
)
def test_what_is_used_or_kept_stays(changes: dict[str, Any], code: str, words: str) -> None:
    """Each with the reason; a claim that is being bound at this moment counts."""
    verdict = judge(observed(**changes))
    assert verdict.state == "held"
    assert verdict.problem is not None
    assert verdict.problem.code == code
    assert words in verdict.problem.message


def test_a_storage_class_stays_while_a_volume_names_it() -> None:
    """It goes with its last user, whoever that is."""
    verdict = judge(observed(CLASS, phase=""), Surroundings("/work/space", users=["PersistentVolume/x"]))
    assert verdict.problem is not None
    assert (verdict.state, verdict.problem.code) == ("held", "ObjectInUse")
    assert "PersistentVolume/x" in verdict.problem.message


def verdicts(number: int) -> list[Verdict]:
    """That many volumes that nobody uses."""
    keys = [ObjectKey("PersistentVolume", f"pv-{index}") for index in range(number)]
    return [Verdict(Leftover("a", key), "free", found=observed(key)) for key in keys]


def test_volumes_go_before_the_classes_that_they_name() -> None:
    """Each as it was observed: one that changes in between is left."""
    free = [Verdict(Leftover("a", CLASS), "free", found=observed(CLASS)), *verdicts(1)]
    plan = plan_pruning(free, {one.leftover.key for one in free}, (), total=3)
    assert [(one.key.kind, one.uid, one.resource_version) for one in plan.deletions] == [
        ("PersistentVolume", "1", "7"),
        ("StorageClass", "1", "7"),
    ]
    assert plan.deletions[0] == DeleteObject(free[1].leftover.key, "a", "no contract asks for it", "1", "7")
    assert not Plan("a", prunes=plan.deletions).is_empty


@pytest.mark.parametrize(
    ("number", "total", "is_braked"), [(3, 3, False), (4, 8, False), (4, 7, True), (1000, 1999, True)]
)
def test_more_than_half_is_not_pruned_at_once(number: int, total: int, *, is_braked: bool) -> None:
    """A mistake takes many contracts away at once. A workspace of one stack can still lose it."""
    free = verdicts(number)
    plan = plan_pruning(free, {one.leftover.key for one in free}, (), total)
    assert (plan.brake is not None, len(plan.deletions)) == (is_braked, 0 if is_braked else number)


def test_what_is_not_due_counts_for_the_brake() -> None:
    """`rm -rf` takes its time: the first to be due is not the only one to go."""
    free = verdicts(6)
    plan = plan_pruning(free, {free[0].leftover.key}, (), total=10)
    assert plan.deletions == ()
    assert plan.brake is not None
    assert plan.brake.code == "PruneBrake"
    assert "6 of the 10 objects" in plan.brake.message
    assert "hostk8s-agent prune --confirm" in plan.brake.hint


def test_what_a_person_has_confirmed_goes_and_the_rest_does_not() -> None:
    """A confirmation is of what was there to be seen, not of what vanishes later."""
    free = verdicts(8)
    confirmed = {one.leftover.key for one in free[:2]}
    plan = plan_pruning(free, {one.leftover.key for one in free}, confirmed, total=10)
    assert {one.key for one in plan.deletions} == confirmed
    assert plan.brake is not None
    everything = plan_pruning(free, {one.leftover.key for one in free}, {one.leftover.key for one in free}, total=8)
    assert (len(everything.deletions), everything.brake) == (8, None)


def test_pods_use_a_volume_by_its_claim_or_by_its_path() -> None:
    """A claim counts in its own namespace alone; a pod that is over uses nothing."""
    found = ObservedObject(KEY, {"spec": {"hostPath": {"path": "/mnt/pv/a/b"}}}, "1", "7", claim="shop/db")
    pods = [
        ObservedPod("shop", "by-claim", "", "node", "Running", ("db",), ()),
        ObservedPod("other", "same-name", "", "node", "Running", ("db",), ()),
        ObservedPod("other", "by-path", "", "", "Pending", (), (), host_paths=("/mnt/pv/a",)),
        ObservedPod("shop", "over", "", "node", "Succeeded", ("db",), (), host_paths=("/mnt/pv/a/b",)),
    ]
    assert find_pods_using(found, pods) == ("Pod/by-claim in shop", "Pod/by-path in other")
    assert find_pods_using(replace(found, claim=""), pods) == ("Pod/by-path in other",)
    assert find_pods_using(replace(found, claim="", manifest={"spec": 7}), pods) == ()
    assert find_pods_using(replace(found, claim="", manifest={"spec": {"hostPath": 7}}), pods) == ()

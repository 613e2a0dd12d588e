"""For whom a PersistentVolume that is made anew is kept, and what our later applies must not take away from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import DesiredState, ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedClaim, ObservedDirectory, ObservedObject, ObservedState
from hostk8s_agent.plan.planning import Constraints, plan_stack
from hostk8s_agent.plan.reserving import (
    Holding,
    explain_reservation,
    is_reserved,
    keep_claim,
    may_reserve,
    reserve_for,
)

DAGS = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-dags-pv")
CLAIM = ObservedClaim("airflow", "dags", "Pending", "", "airflow", ("ReadWriteOnce",), "500Mi")
HELD = Holding("airflow/dags", "uid-1", "/mnt/pv/airflow/dags", "airflow", ("ReadWriteOnce",), "500Mi")
REFERENCE = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "airflow", "name": "dags"}


def manifest_of(desired: DesiredState) -> Any:
    """The volume that the tests are about."""
    return next(one.manifest for one in desired.objects if one.key == DAGS)


def observed_as(manifest: Any, *managers: FieldManager, claim: str = "", claim_uid: str = "") -> ObservedObject:
    """The volume as the server has it."""
    return ObservedObject(DAGS, manifest, "u", "7", managers, "Available", claim, claim_uid)


def in_place(desired: DesiredState, *objects: ObservedObject) -> ObservedState:
    """Directories as desired, and these objects."""
    directories = {
        one.path: ObservedDirectory(one.path, "directory", one.uid, one.gid, one.mode) for one in desired.directories
    }
    return ObservedState(directories, {one.key: one for one in objects})


def test_a_volume_that_is_made_anew_is_reserved_for_its_claim(desired: DesiredState) -> None:
    """By namespace and name, never by a uid, and the plan says so."""
    plan = plan_stack(desired, in_place(desired), Constraints(reservations={DAGS.name: "airflow/dags"}))
    actions = {one.key: one for one in plan.objects if isinstance(one, ApplyObject)}

    assert actions[DAGS].manifest["spec"]["claimRef"] == REFERENCE
    assert "reserved for the claim airflow/dags" in actions[DAGS].reason
    assert [key for key, one in actions.items() if "claimRef" in one.manifest.get("spec", {})] == [DAGS]


@pytest.mark.parametrize(
    ("holding", "claim", "is_kept"),
    [
        pytest.param(HELD, None, True, id="the claim is gone, and fitted"),
        pytest.param(HELD, CLAIM, True, id="the claim waits already"),
        pytest.param(HELD, replace(CLAIM, volume_name="other"), False, id="the claim has another volume"),
        pytest.param(HELD, replace(CLAIM, volume_name=DAGS.name, phase="Lost"), False, id="the claim names this one"),
        pytest.param(replace(HELD, path="/mnt/pv/elsewhere"), None, False, id="its data is elsewhere"),
        pytest.param(replace(HELD, storage_class="slow"), None, False, id="it was of another class"),
        pytest.param(replace(HELD, access_modes=("ReadWriteMany",)), None, False, id="it asked for another mode"),
        pytest.param(replace(HELD, requested="2Gi"), None, False, id="it asked for more"),
        pytest.param(replace(HELD, access_modes=(), requested=""), None, True, id="nobody saw what it asked for"),
        pytest.param(HELD, replace(CLAIM, requested="2Gi"), False, id="the one of its name asks for more now"),
        pytest.param(replace(HELD, requested="2Gi"), CLAIM, True, id="the one of its name asks for less now"),
    ],
)
def test_a_reservation_is_given_up_when_it_does_not_fit(
    desired: DesiredState,
    holding: Holding,
    claim: ObservedClaim | None,
    is_kept: bool,  # noqa: FBT001 - a case
) -> None:
    """A volume that waits for a claim that can never have it serves nobody."""
    assert may_reserve(holding, manifest_of(desired), claim) is is_kept


def test_what_we_applied_of_a_claim_reference_is_applied_again(desired: DesiredState) -> None:
    """A change of a label must not take the volume away from its claim: what is left out is removed."""
    reserved = reserve_for(manifest_of(desired), "airflow/dags")
    with_uid = {
        **reserved,
        "spec": {**reserved["spec"], "claimRef": {**REFERENCE, "uid": "c1", "resourceVersion": "9"}},
    }
    ours = FieldManager("hostk8s-agent", "Apply", {"f:spec": {"f:claimRef": {f"f:{name}": {} for name in REFERENCE}}})
    drifted = {**with_uid, "metadata": {**with_uid["metadata"], "labels": {}}}

    state = in_place(desired, observed_as(drifted, ours, claim="airflow/dags", claim_uid="c1"))
    (action,) = (one for one in plan_stack(desired, state).objects if one.key == DAGS)
    assert isinstance(action, ApplyObject)
    assert action.manifest["spec"]["claimRef"] == REFERENCE
    # Alone it is no drift.
    state = in_place(desired, observed_as(with_uid, ours, claim="airflow/dags", claim_uid="c1"))
    assert [one for one in plan_stack(desired, state).objects if one.key == DAGS] == []


@pytest.mark.parametrize(
    ("managers", "spec"),
    [
        pytest.param((), {"claimRef": REFERENCE}, id="nobody's"),
        pytest.param(
            (FieldManager("kubectl", "Update", {"f:spec": {"f:claimRef": {"f:name": {}}}}),),
            {"claimRef": REFERENCE},
            id="another's",
        ),
        pytest.param((FieldManager("hostk8s-agent", "Apply", {"f:spec": {}}),), {"claimRef": REFERENCE}, id="not ours"),
        pytest.param((FieldManager("hostk8s-agent", "Apply", {"f:spec": None}),), {"claimRef": REFERENCE}, id="odd"),
        pytest.param(
            (FieldManager("hostk8s-agent", "Apply", {"f:spec": {"f:claimRef": {"f:name": {}}}}),), {}, id="gone"
        ),
        pytest.param(
            (FieldManager("hostk8s-agent", "Apply", {"f:spec": {"f:claimRef": {"f:name": {}}}}),),
            {"claimRef": {"namespace": "airflow"}},
            id="half gone",
        ),
    ],
)
def test_what_others_say_of_the_claim_is_never_sent(
    desired: DesiredState, managers: tuple[FieldManager, ...], spec: dict[str, Any]
) -> None:
    """The reference belongs to the volume controller and to whoever released the volume, unless we made it."""
    manifest = manifest_of(desired)
    assert keep_claim(manifest, observed_as({"spec": spec}, *managers)) == manifest
    assert keep_claim(manifest, observed_as({}, *managers)) == manifest


def test_a_claim_that_could_have_a_reserved_volume_is_told(desired: DesiredState) -> None:
    """When the claim of that name never comes, whoever waits must learn why, and what changes it."""
    reserved = reserve_for(manifest_of(desired), "airflow/dags")
    volume = observed_as(reserved, claim="airflow/dags")
    other = replace(CLAIM, namespace="renamed")
    assert is_reserved(volume)

    problem = explain_reservation(volume, [other])
    assert problem is not None
    assert problem.code == "VolumeReserved"
    assert f"hostk8s-agent release {DAGS.name} --for renamed/dags" in problem.hint
    for claims in (
        [],
        [CLAIM, other],
        [replace(other, volume_name="another")],
        [replace(other, requested="2Gi")],
        [replace(other, access_modes=("ReadWriteMany",))],
    ):
        assert explain_reservation(volume, claims) is None, claims
    assert explain_reservation(replace(volume, claim_uid="c1"), [other]) is None
    assert explain_reservation(replace(volume, manifest={}), [other]) is None

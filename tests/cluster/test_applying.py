"""Server-side apply against a real API server: what is written, and above all what is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.cluster.adoption import render_adoption
from hostk8s_agent.cluster.applying import render_body
from hostk8s_agent.cluster.errors import ObjectChangedError, ObjectInvalidError
from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import ObservedObject

cluster = pytest.mark.cluster

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, Connected, Person

Wait = Callable[..., None]


@cluster
def test_applied_objects_stand_and_are_known_at_once(connected: Connected, person: Person) -> None:
    """The answer of an apply is in the mirror when the call returns, and the fields are ours by Apply."""
    manifests = [person.storage_class(), person.volume("a"), person.volume("b")]
    outcomes = connected.apply(*manifests)

    assert [(one["kind"], one["metadata"]["name"]) for one in manifests] == [one.key for one in outcomes]
    assert all(connected.observe(one) is not None for one in manifests)
    for manifest, outcome in zip(manifests, outcomes, strict=True):
        stored = person.get(manifest["kind"], manifest["metadata"]["name"])
        assert stored["metadata"]["uid"] == outcome.uid
        assert ("hostk8s-agent", "Apply") in [
            (one["manager"], one["operation"]) for one in stored["metadata"]["managedFields"]
        ]


@cluster
def test_our_own_write_causes_no_second_reconcile(connected: Connected, person: Person, wait_until: Wait) -> None:
    """The watch event of what we wrote is told to nobody; what the controllers make of it is."""
    storage_class = person.storage_class()
    connected.apply(storage_class)
    volume = person.volume("a")
    key = ObjectKey("PersistentVolume", volume["metadata"]["name"])
    connected.apply(volume)
    # Events arrive in order: with this one's, those before it have come.
    marker = person.volume("marker")
    person.apply(marker)
    person.kubectl("label", "storageclass", person.prefix, "marker=yes")
    wait_until(lambda: ObjectKey("PersistentVolume", marker["metadata"]["name"]) in connected.told)
    wait_until(lambda: ObjectKey("StorageClass", person.prefix) in connected.told)
    wait_until(lambda: connected.observe(volume).phase == "Available")

    assert connected.told.count(ObjectKey("StorageClass", person.prefix)) == 1
    # Pending, then Available: the volume controller's doing.
    assert connected.told.count(key) <= 2


@cluster
def test_a_change_is_applied_and_a_field_that_is_left_out_goes(connected: Connected, person: Person) -> None:
    """What the manifest no longer says is removed, because the field was ours alone."""
    volume = person.volume("a", mountOptions=["ro"])
    connected.apply(volume)
    connected.apply(person.volume("a", capacity={"storage": "2Gi"}))
    stored = person.get("pv", volume["metadata"]["name"])

    assert stored["spec"]["capacity"]["storage"] == "2Gi"
    assert "mountOptions" not in stored["spec"]


@cluster
def test_an_object_that_appeared_meanwhile_is_not_written(connected: Connected, person: Person) -> None:
    """Not even a label is added to a foreign object that has none of our fields, so that force would not matter."""
    volume = person.volume("a")
    foreign = copy.deepcopy(volume)
    del foreign["metadata"]["labels"]
    action = connected.action(volume)
    person.apply(foreign)
    before = person.get("pv", volume["metadata"]["name"])
    (outcome,) = connected.carry_out(action)
    after = person.get("pv", volume["metadata"]["name"])

    assert isinstance(outcome, ObjectChangedError)
    assert _without_status(before) == _without_status(after)


@cluster
def test_an_object_that_was_replaced_or_changed_meanwhile_is_not_written(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """An action holds for the object as it was observed, and for no other state or successor of it."""
    volume = person.volume("a")
    name = volume["metadata"]["name"]
    person.apply(volume)
    wait_until(lambda: connected.observe(volume) is not None and connected.observe(volume).phase == "Available")
    stale = connected.action(person.volume("a", capacity={"storage": "5Gi"}))
    person.kubectl("label", "pv", name, "edited=yes")
    (changed,) = connected.carry_out(stale)
    person.kubectl("delete", "pv", name)
    (gone,) = connected.carry_out(stale)
    person.apply(volume)
    (replaced,) = connected.carry_out(stale)

    assert [ObjectChangedError] * 3 == [type(one) for one in (changed, gone, replaced)]
    assert person.get("pv", name)["spec"]["capacity"]["storage"] == "1Gi"


@cluster
def test_a_fields_other_manager_is_overruled_where_the_object_is_as_observed(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """Drift that a person made to an object of ours is put back."""
    volume = person.volume("a")
    connected.apply(volume)
    person.kubectl(
        "patch", "pv", volume["metadata"]["name"], "-p", '{"spec":{"capacity":{"storage":"9Gi"}}}', "--type=merge"
    )
    wait_until(lambda: connected.observe(volume).manifest["spec"]["capacity"]["storage"] == "9Gi")
    wait_until(lambda: connected.observe(volume).phase == "Available")
    (outcome,) = connected.apply(volume)

    assert isinstance(outcome, ObservedObject), outcome
    assert person.get("pv", volume["metadata"]["name"])["spec"]["capacity"]["storage"] == "1Gi"


@cluster
def test_what_kubectl_apply_made_is_adopted_with_all_its_fields(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """A field that kubectl had set, and that the contract does not ask for, goes with the adoption."""
    made = person.volume("a", mountOptions=["ro"])
    made["metadata"]["labels"]["leftover"] = "yes"
    name = made["metadata"]["name"]
    person.apply(made)
    wait_until(lambda: connected.observe(made) is not None and connected.observe(made).phase == "Available")
    uid = connected.observe(made).uid
    (outcome,) = connected.apply(person.volume("a"), adopts_from="kubectl-client-side-apply")
    stored = person.get("pv", name)

    assert uid == outcome.uid
    assert "mountOptions" not in stored["spec"]
    assert stored["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "hostk8s-agent"}
    assert stored["metadata"].get("annotations", {}) == {}
    assert sorted((one["manager"], one["operation"]) for one in stored["metadata"]["managedFields"]) == [
        ("hostk8s-agent", "Apply"),
        ("kube-controller-manager", "Update"),
    ]


@cluster
def test_an_adoption_of_an_object_that_changed_writes_nothing(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """Adoption holds for the object as it was observed."""
    made = person.volume("a")
    name = made["metadata"]["name"]
    person.apply(made)
    wait_until(lambda: connected.observe(made) is not None and connected.observe(made).phase == "Available")
    action = connected.action(made, adopts_from="kubectl-client-side-apply")
    person.kubectl("label", "pv", name, "edited=yes")
    before = person.get("pv", name)
    (outcome,) = connected.carry_out(action)

    assert isinstance(outcome, ObjectChangedError)
    assert before == person.get("pv", name)


@cluster
def test_an_immutable_field_is_an_error_of_that_object_alone(connected: Connected, person: Person) -> None:
    """One object that the server does not accept keeps no other from being applied."""
    connected.apply(person.volume("a"))
    moved = person.volume("a", hostPath={"path": "/mnt/pv/elsewhere", "type": "DirectoryOrCreate"})
    refused, applied = connected.apply(moved, person.volume("b"))

    assert isinstance(refused, ObjectInvalidError)
    assert "immutable" in refused.message
    assert isinstance(applied, ObservedObject)


@cluster
def test_stacks_that_share_a_storage_class_do_not_race_for_it(connected: Connected, person: Person) -> None:
    """Of many stacks that all found it missing one makes it, and the others take that for done."""
    action = connected.action(person.storage_class())
    before = connected.count("apply")
    outcomes = connected.carry_out(*[action] * 12)

    assert len({one.uid for one in outcomes}) == 1
    assert connected.count("apply") - before == 1


@cluster
def test_one_object_is_applied_by_one_request(connected: Connected, person: Person) -> None:
    """Neither making nor changing an object costs more than the write itself."""
    before = connected.count("apply", "patch")
    connected.apply(person.volume("a"))
    connected.apply(person.volume("a", capacity={"storage": "2Gi"}))

    assert connected.count("apply", "patch") - before == 2


@cluster
def test_nothing_is_applied_without_a_connection(connect: Connect, tmp_path: Path, person: Person) -> None:
    """Each action fails with the reason why there is no connection, which may go away by itself."""
    connected = connect(tmp_path / "missing")
    action = ApplyObject(ObjectKey("PersistentVolume", "x"), person.volume("a"), "test")
    outcomes = connected.carry_out(action, action)

    assert [one.retryable for one in outcomes] == [True, True]
    assert connected.count() == 0


def test_the_controllers_fields_are_never_written() -> None:
    """Whatever a manifest says: no status, and no claimRef that binds to a claim that may be gone."""
    manifest = {
        "kind": "PersistentVolume",
        "metadata": {"name": "a"},
        "spec": {"claimRef": {"name": "c", "uid": "u", "resourceVersion": "1"}},
        "status": {"phase": "Bound"},
    }

    assert render_body(manifest, "u", "7") == {
        "kind": "PersistentVolume",
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"},
        "spec": {"claimRef": {"name": "c"}},
    }
    assert "status" in manifest


def test_an_adoption_leaves_everyone_elses_fields_alone() -> None:
    """Only the adopted entry becomes ours, joined with what we hold; status and other managers stay as they are."""
    status = {"manager": "kubectl", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}
    other = {"manager": "other", "operation": "Update", "fieldsV1": {"f:x": {}}}
    ours = {"manager": "hostk8s-agent", "operation": "Apply", "fieldsV1": {"f:spec": {"f:a": {}}}}
    adopted = {
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "t",
        "fieldsV1": {
            "f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}},
            "f:spec": {"f:b": {}},
        },
    }
    raw = {"metadata": {"resourceVersion": "7", "managedFields": [status, ours, adopted, other]}}

    assert [
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [
                {
                    "manager": "hostk8s-agent",
                    "operation": "Apply",
                    "apiVersion": "v1",
                    "time": "t",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:annotations": {}}, "f:spec": {"f:a": {}, "f:b": {}}},
                },
                status,
                other,
            ],
        },
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ] == render_adoption(raw, "kubectl", "hostk8s-agent")
    assert render_adoption(raw, "nobody", "hostk8s-agent") == []


def _without_status(stored: dict[str, Any]) -> dict[str, Any]:
    """The object without what the controllers change by themselves."""
    rest = {name: value for name, value in stored.items() if name != "status"}
    metadata = {k: v for k, v in stored["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    managers = [one for one in stored["metadata"]["managedFields"] if one["manager"] != "kube-controller-manager"]
    return {**rest, "metadata": metadata, "managers": managers}

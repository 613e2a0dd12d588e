"""Deleting, replacing and releasing on a real API server: just the object that was observed, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hostk8s_agent.cluster.errors import ObjectChangedError
from hostk8s_agent.cluster.releasing import render_release
from hostk8s_agent.plan.actions import DeleteObject, ReleaseVolume, ReplaceObject
from hostk8s_agent.plan.desired import ObjectKey

Wait = Callable[..., None]
cluster = pytest.mark.cluster


def available(connected: Any, volume: dict[str, Any], wait_until: Wait) -> Any:
    """Apply the volume, and return it once its controller has seen it: from then on it changes by others only."""
    connected.apply(volume)
    wait_until(lambda: connected.observe(volume).phase == "Available", "the volume is Available")
    return connected.observe(volume)


def bound(connected: Any, person: Any, wait_until: Wait) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a volume and the claim that it is bound to."""
    volume = person.volume("a")
    available(connected, volume, wait_until)
    claim = person.claim("c", volume["metadata"]["name"])
    person.apply(claim)
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the claim is bound")
    return volume, claim


def released(connected: Any, person: Any, wait_until: Wait) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a volume whose claim was deleted, and that claim."""
    volume, claim = bound(connected, person, wait_until)
    person.kubectl("delete", "pvc", claim["metadata"]["name"])
    wait_until(lambda: connected.observe(volume).phase == "Released", "the volume is Released")
    return volume, claim


def deletion(found: Any) -> DeleteObject:
    """The action that deletes an object as it was observed."""
    return DeleteObject(found.key, "stack", "test", found.uid, found.resource_version)


def release(found: Any, claim: str = "") -> ReleaseVolume:
    """The action that releases a volume as it was observed, for the claim that it had or for another."""
    return ReleaseVolume(found.key, found.uid, claim or found.claim, found.claim_uid, "test")


@cluster
def test_an_object_is_deleted_and_whoever_waits_for_that_is_told(connected: Any, person: Any, wait_until: Wait) -> None:
    """The stack learns of it: that its object is gone is what lets it vanish from the status."""
    volume, storage_class = person.volume("a"), person.storage_class()
    found = available(connected, volume, wait_until)
    connected.apply(storage_class)
    connected.told.clear()
    actions = [deletion(found), deletion(connected.observe(storage_class))]
    assert connected.connection.delete_objects("stack", actions) == (None, None)
    wait_until(lambda: connected.observe(volume) is None, "the volume is gone")
    wait_until(lambda: connected.observe(storage_class) is None, "the class is gone")
    wait_until(lambda: {one.key for one in actions} <= set(connected.told), "both are told")
    assert connected.connection.delete_objects("stack", actions) == (None, None), "what is gone is deleted"


@cluster
def test_what_was_bound_in_between_is_neither_deleted_nor_replaced(
    connected: Any, person: Any, wait_until: Wait
) -> None:
    """The action was decided when the volume was free: the claim that came since keeps it."""
    volume = person.volume("a")
    before = available(connected, volume, wait_until)
    person.apply(person.claim("c", volume["metadata"]["name"]))
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the claim is bound")
    [refused] = connected.connection.delete_objects("stack", [deletion(before)])
    moved = person.volume("a", hostPath={"path": "/mnt/pv/moved", "type": "DirectoryOrCreate"})
    replacement = ReplaceObject(before.key, moved, "test", before.uid, before.resource_version)
    [not_replaced] = connected.carry_out(replacement)
    stored = person.get("pv", volume["metadata"]["name"])
    assert (type(refused), type(not_replaced)) == (ObjectChangedError, ObjectChangedError)
    assert (stored["metadata"]["uid"], stored["status"]["phase"]) == (before.uid, "Bound")
    assert "deletionTimestamp" not in stored["metadata"]


@cluster
def test_what_was_made_anew_in_between_is_not_deleted(connected: Any, person: Any) -> None:
    """A successor of the same name is another object."""
    storage_class = person.storage_class()
    connected.apply(storage_class)
    before = connected.observe(storage_class)
    person.kubectl("delete", "sc", person.prefix)
    person.apply(storage_class)
    [refused] = connected.connection.delete_objects("stack", [deletion(before)])
    assert isinstance(refused, ObjectChangedError)
    assert person.get("sc", person.prefix)["metadata"]["uid"] != before.uid


@cluster
def test_an_object_is_replaced_under_its_name(connected: Any, person: Any, wait_until: Wait) -> None:
    """A class at once; a volume as soon as its protection controller has let the old one go."""
    storage_class = {**person.storage_class(), "volumeBindingMode": "WaitForFirstConsumer"}
    connected.apply(storage_class)
    old = connected.observe(storage_class)
    wanted = person.storage_class()
    [made] = connected.carry_out(ReplaceObject(old.key, wanted, "test", old.uid, old.resource_version))
    stored = person.get("sc", person.prefix)
    assert (stored["volumeBindingMode"], stored["metadata"]["uid"]) == ("Immediate", made.uid)
    assert [one["manager"] for one in stored["metadata"]["managedFields"]] == ["hostk8s-agent"]

    volume = person.volume("a")
    before = available(connected, volume, wait_until)
    moved = person.volume("a", hostPath={"path": "/mnt/pv/moved", "type": "DirectoryOrCreate"})
    connected.told.clear()
    [left] = connected.carry_out(ReplaceObject(before.key, moved, "test", before.uid, before.resource_version))
    if left.uid == before.uid:
        assert left.is_terminating
        wait_until(lambda: before.key in connected.told and connected.observe(volume) is None, "its going is told")
        connected.apply(moved)
    assert person.get("pv", volume["metadata"]["name"])["spec"]["hostPath"]["path"] == "/mnt/pv/moved"


@cluster
def test_a_released_volume_is_bound_again_by_its_claim(connected: Any, person: Any, wait_until: Wait) -> None:
    """The same claim made again binds; without the release it would stay Pending for ever."""
    volume, claim = released(connected, person, wait_until)
    [outcome] = connected.carry_out(release(connected.observe(volume)))
    assert outcome.claim_uid == ""
    wait_until(lambda: connected.observe(volume).phase == "Available", "the volume can be bound")
    person.apply(claim)
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the claim is bound again")


@cluster
def test_a_volume_is_given_to_another_claim_when_a_person_says_so(
    connected: Any, person: Any, wait_until: Wait
) -> None:
    """Only that claim gets it."""
    volume, _ = released(connected, person, wait_until)
    other = person.claim("other", volume["metadata"]["name"])
    name = f"default/{other['metadata']['name']}"
    [outcome] = connected.carry_out(release(connected.observe(volume), name))
    assert (outcome.claim, outcome.claim_uid) == (name, "")
    person.apply(other)
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the other claim is bound")
    assert connected.observe(volume).claim == name


@cluster
def test_a_release_that_comes_too_late_changes_nothing(connected: Any, person: Any, wait_until: Wait) -> None:
    """The volume is another claim's by then, or another volume."""
    volume, claim = released(connected, person, wait_until)
    late = release(connected.observe(volume))
    connected.carry_out(late)
    person.apply(claim)
    wait_until(lambda: connected.observe(volume).phase == "Bound", "the claim is bound again")
    before = person.get("pv", volume["metadata"]["name"])
    [refused] = connected.carry_out(late)
    [another] = connected.carry_out(replace(release(connected.observe(volume)), uid="0-0-0"))
    assert (type(refused), type(another)) == (ObjectChangedError, ObjectChangedError)
    assert person.get("pv", volume["metadata"]["name"])["spec"] == before["spec"]


def test_a_reference_that_appears_in_between_is_tested() -> None:
    """A volume that nobody held when it was looked at is reserved only if nobody holds it still."""
    action = ReleaseVolume(ObjectKey("PersistentVolume", "a"), "1", "ns/c", "", "test")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "ns", "name": "c"}
    same_uid = {"op": "test", "path": "/metadata/uid", "value": "1"}
    assert render_release(action, {}) == [
        same_uid,
        {"op": "test", "path": "/spec/claimRef", "value": None},
        {"op": "add", "path": "/spec/claimRef", "value": claim},
    ]
    assert render_release(action, {"namespace": "ns", "name": "other"}) == [
        same_uid,
        {"op": "test", "path": "/spec/claimRef", "value": {"namespace": "ns", "name": "other"}},
        {"op": "add", "path": "/spec/claimRef", "value": claim},
    ]


@cluster
def test_a_free_volume_is_reserved_for_a_claim(connected: Any, person: Any, wait_until: Wait) -> None:
    """The server takes the test of what is not there as it is meant."""
    volume = person.volume("a")
    found = available(connected, volume, wait_until)
    [outcome] = connected.carry_out(release(found, "default/nobody-yet"))
    assert (outcome.claim, outcome.claim_uid) == ("default/nobody-yet", "")
    [refused] = connected.carry_out(replace(release(found, "default/somebody"), claim_uid="1-2-3"))
    assert isinstance(refused, ObjectChangedError)


@cluster
def test_the_volumes_of_a_class_are_known(connected: Any, person: Any, wait_until: Wait) -> None:
    """Whoever made them: a class goes with its last user."""
    person.apply(person.volume("b"))
    connected.apply(person.volume("a"))
    wait_until(lambda: connected.observe(person.volume("b")) is not None, "both are seen")
    found = connected.connection.observe_volumes_of_class("stack", person.prefix)
    assert [one.key.name for one in found] == [f"{person.prefix}-a", f"{person.prefix}-b"]
    assert connected.connection.observe_volumes_of_class("stack", f"{person.prefix}-x") == ()

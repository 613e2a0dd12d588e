"""The mirror: what it believes, and of what it tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostk8s_agent.cluster.errors import ClusterAnswerError
from hostk8s_agent.cluster.mirror import Mirror
from hostk8s_agent.cluster.objects import parse_claim, parse_object
from hostk8s_agent.cluster.resources import CLAIMS, PERSISTENT_VOLUMES
from hostk8s_agent.contract.paths import overlap
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedClaim, ObservedObject

KEY = ObjectKey("PersistentVolume", "a")


def volume(version: int, uid: str = "uid", claim: str = "") -> ObservedObject:
    return ObservedObject(KEY, {}, uid, str(version), claim=claim)


def claim(name: str, volume_name: str = "", storage_class: str = "sc") -> tuple[ObservedClaim, str]:
    return ObservedClaim("ns", name, "Pending", volume_name, storage_class), "1"


def test_a_change_by_others_is_told_once() -> None:
    """An event that is news is told, the same one again is not."""
    mirror = Mirror()

    assert {KEY} == mirror.observe_object(volume(5))
    assert set() == mirror.observe_object(volume(5))
    assert {KEY} == mirror.observe_object(volume(6))
    assert {KEY: volume(6)} == mirror.find_objects([KEY])


@pytest.mark.parametrize("is_event_first", [True, False])
def test_our_own_write_is_told_to_nobody(is_event_first: bool) -> None:  # noqa: FBT001 - a case
    """Whether the watch brings our write before the answer or after it, it causes no second reconcile."""
    mirror = Mirror()
    write = mirror.begin_write(KEY)
    told = mirror.observe_object(volume(7)) if is_event_first else set()
    told |= mirror.end_write(write, volume(7))
    told |= set() if is_event_first else mirror.observe_object(volume(7))

    assert set() == told
    assert {KEY: volume(7)} == mirror.find_objects([KEY])


def test_what_others_write_after_our_own_write_is_told() -> None:
    """A status change that the watch brings before our answer arrives is not mistaken for our own doing."""
    mirror = Mirror()
    write = mirror.begin_write(KEY)
    mirror.observe_object(volume(7))
    mirror.observe_object(volume(8))

    assert {KEY} == mirror.end_write(write, volume(7))
    assert {KEY: volume(8)} == mirror.find_objects([KEY])


def test_what_others_wrote_is_told_when_our_own_write_fails() -> None:
    """A change that was seen while we tried to write is no longer taken for ours."""
    mirror = Mirror()
    write = mirror.begin_write(KEY)
    quiet = mirror.observe_object(volume(7))

    assert (set(), {KEY}) == (quiet, mirror.end_write(write, None))


def test_an_object_deleted_right_after_our_write_stays_deleted() -> None:
    """The answer of a write does not bring back what the watch has already seen go."""
    mirror = Mirror()
    write = mirror.begin_write(KEY)
    mirror.observe_object(volume(7))
    mirror.observe_object(volume(9), is_deleted=True)

    assert {KEY} == mirror.end_write(write, volume(7))
    assert mirror.find_objects([KEY]) == {}


def test_the_late_deletion_of_a_predecessor_does_not_remove_its_successor() -> None:
    """Objects are told apart by their uid, not by their name."""
    mirror = Mirror()
    mirror.end_write(mirror.begin_write(KEY), volume(9, uid="new"))

    assert set() == mirror.observe_object(volume(8, uid="old"), is_deleted=True)
    assert {KEY: volume(9, uid="new")} == mirror.find_objects([KEY])


def test_a_list_tells_what_came_what_went_and_what_changed() -> None:
    """Listing again finds every event that got lost."""
    mirror = Mirror()
    keys = [ObjectKey("PersistentVolume", name) for name in ("gone", "same", "changed", "new")]
    gone, same, changed, new = keys
    mirror.begin_list("PersistentVolume")
    mirror.replace_objects(
        "PersistentVolume", {key: ObservedObject(key, {}, "u", "1") for key in (gone, same, changed)}, "1"
    )
    mirror.begin_list("PersistentVolume")
    told = mirror.replace_objects(
        "PersistentVolume",
        {
            same: ObservedObject(same, {}, "u", "1"),
            changed: ObservedObject(changed, {}, "u", "2"),
            new: ObservedObject(new, {}, "u", "2"),
        },
        "2",
    )

    assert {gone, changed, new} == told
    assert {same, changed, new} == set(mirror.find_objects(keys))


def test_a_list_does_not_undo_a_write_that_it_came_too_early_for() -> None:
    """What we wrote while the list was on its way is kept."""
    mirror = Mirror()
    mirror.begin_list("PersistentVolume")
    mirror.end_write(mirror.begin_write(KEY), volume(9))

    assert set() == mirror.replace_objects("PersistentVolume", {}, "8")
    assert {KEY: volume(9)} == mirror.find_objects([KEY])


def test_a_cluster_restored_to_an_older_state_is_believed() -> None:
    """A list is the truth also where its versions are older than what was known before."""
    mirror = Mirror()
    mirror.observe_object(volume(100))
    mirror.begin_list("PersistentVolume")

    assert {KEY} == mirror.replace_objects("PersistentVolume", {KEY: volume(50)}, "60")
    assert {KEY: volume(50)} == mirror.find_objects([KEY])


def test_another_clusters_mirror_begins_empty() -> None:
    """Nothing of a former cluster, not even in an index, is left."""
    mirror = Mirror()
    mirror.observe_object(volume(5, claim="ns/c"))
    mirror.observe_claim(("ns", "c"), claim("c", "a"))
    mirror.clear()

    assert mirror.find_objects([KEY]) == {}
    assert (mirror.find_claims_of_volume("a"), mirror.find_claims_of_class("sc")) == ((), ())
    assert mirror.observe_claim(("ns", "c"), claim("c", "b")) == {ObjectKey("PersistentVolume", "b")}


def test_claims_are_found_by_the_volume_and_the_class_that_they_name() -> None:
    """The indexes follow a claim that is bound to another volume, and one that goes."""
    mirror = Mirror()
    told = mirror.observe_claim(("ns", "c"), claim("c", "a"))
    rebound = mirror.observe_claim(("ns", "c"), claim("c", "b"))

    assert {KEY} == told
    assert {KEY, ObjectKey("PersistentVolume", "b")} == rebound
    assert ((), (claim("c", "b")[0],)) == (mirror.find_claims_of_volume("a"), mirror.find_claims_of_volume("b"))
    assert (claim("c", "b")[0],) == mirror.find_claims_of_class("sc")
    assert {ObjectKey("PersistentVolume", "b")} == mirror.replace_claims({})
    assert mirror.find_claims_of_volume("b") == ()


PLACES = (
    "/",
    "/mnt",
    "/mnt/pv/",
    "/mnt/pv/a",
    "/mnt//pv/a/.",
    "/mnt/pv/a/b",
    "/mnt/pv/ab",
    "/mnt/pv/a-b",
    "/data",
    "odd",
    "",
)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(PLACES), st.sampled_from(PLACES), st.booleans())))
def test_volumes_are_found_by_path_and_class_as_a_look_at_all_would_find_them(
    changes: list[tuple[int, str, str, bool]],
) -> None:
    """The indexes follow volumes that come, lead elsewhere, and go."""
    mirror, there = Mirror(), dict[str, ObservedObject]()
    for version, (number, host_path, local, is_deleted) in enumerate(changes, start=1):
        spec = {"hostPath": {"path": host_path}, "local": {"path": local}, "storageClassName": local}
        one = ObservedObject(ObjectKey("PersistentVolume", f"v{number}"), {"spec": spec}, "uid", str(version))
        mirror.observe_object(one, is_deleted=is_deleted)
        there.pop(one.key.name, None) if is_deleted else there.update({one.key.name: one})

    volumes = [there[name] for name in sorted(there)]
    for place in ("/mnt/pv/a", "/mnt/pv/a/b", "/mnt/pv/ab"):
        leading = tuple(one for one in volumes if one.path and overlap(one.path, place))
        assert mirror.find_volumes_at(place) == leading
    for name in filter(None, PLACES):
        of_class = tuple(one for one in volumes if one.manifest["spec"]["storageClassName"] == name)
        assert mirror.find_volumes_of_class(name) == of_class


def test_a_claim_is_news_for_the_volume_that_is_reserved_for_it() -> None:
    """A claim that is made again concerns the Released volume of its predecessor, and whoever has its class."""
    mirror = Mirror()
    mirror.observe_object(volume(5, claim="ns/c"))
    waiting = ObjectKey("StorageClass", "sc")

    assert {KEY, waiting} == mirror.observe_claim(("ns", "c"), claim("c"))
    assert {KEY, waiting} == mirror.observe_claim(("ns", "c"), claim("c", "a"))
    assert {KEY} == mirror.observe_claim(("ns", "c"), None)


def test_an_object_is_observed_without_its_managed_fields_but_with_their_managers() -> None:
    """What the planner sees of an object: manifest, managers, phase and claim."""
    raw = {
        "metadata": {
            "name": "a",
            "uid": "u",
            "resourceVersion": "7",
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"claimRef": {"namespace": "ns", "name": "c"}},
        "status": {"phase": "Bound"},
    }

    assert ObservedObject(
        key=KEY,
        manifest={
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": "a",
                "uid": "u",
                "resourceVersion": "7",
                "deletionTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"claimRef": {"namespace": "ns", "name": "c"}},
            "status": {"phase": "Bound"},
        },
        uid="u",
        resource_version="7",
        managers=(FieldManager("m", "Apply", {"f:spec": {}}),),
        phase="Bound",
        claim="ns/c",
        is_terminating=True,
    ) == parse_object(PERSISTENT_VOLUMES, raw)


@pytest.mark.parametrize(
    "oddity",
    [
        {"spec": None, "status": None},
        {"spec": [], "status": "Bound"},
        {"spec": {"claimRef": "x"}, "status": {"phase": 7}},
        {"metadata": {"managedFields": None, "labels": None, "annotations": 3}},
        {"metadata": {"managedFields": ["x", {"fieldsV1": None}, {"manager": 7}]}},
    ],
)
def test_an_odd_field_makes_no_object_unreadable(oddity: dict[str, Any]) -> None:
    """Only name, uid and version are needed; the rest of an odd object counts as absent."""
    metadata = {"name": "a", "uid": "u", "resourceVersion": "7", **oddity.get("metadata", {})}
    raw = {**oddity, "metadata": metadata}

    assert parse_object(PERSISTENT_VOLUMES, raw).key == KEY
    assert parse_claim(CLAIMS, raw)[0].name == "a"


@pytest.mark.parametrize(
    "raw",
    [None, 7, "text", [], {}, {"metadata": None}, {"metadata": {"name": "a", "uid": None, "resourceVersion": "7"}}],
)
def test_an_object_without_an_identity_is_an_error_of_its_own(raw: object) -> None:
    """What has no name, uid or version is refused with an error that its reader contains."""
    with pytest.raises(ClusterAnswerError):
        parse_object(PERSISTENT_VOLUMES, raw)

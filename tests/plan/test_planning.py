"""Desired and observed state in, plan out: every kind of difference, and everything that is held back."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import (
    ApplyObject,
    ChangeDirectory,
    CreateDirectory,
    Drift,
    Plan,
    ReleaseVolume,
    ReplaceObject,
)
from hostk8s_agent.plan.desired import DesiredObject, DesiredState, ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory, ObservedObject, ObservedState
from hostk8s_agent.plan.ownership import find_other_workspaces
from hostk8s_agent.plan.planning import Constraints, plan_stack

DAGS = "/mnt/pv/airflow/dags"
LOGS = "/mnt/pv/airflow/logs"
DAGS_VOLUME = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-dags-pv")
LOGS_VOLUME = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-logs-pv")
STORAGE_CLASS = ObjectKey("StorageClass", "airflow")

InPlace = Callable[[], ObservedState]


def as_observed(wanted: DesiredObject, **changes: Any) -> ObservedObject:
    """The object as the API server has it when we have applied it and nobody has touched it."""
    values: dict[str, Any] = {
        "key": wanted.key,
        "manifest": wanted.manifest,
        "uid": "0b1c",
        "resource_version": "7",
        "managers": (FieldManager("hostk8s-agent", "Apply"),),
    }
    return ObservedObject(**{**values, **changes})


@pytest.fixture
def in_place(desired: DesiredState) -> Callable[[], ObservedState]:
    """A function that returns the state in which everything is as desired; its mappings may be changed."""

    def build() -> ObservedState:
        directories = {
            one.path: ObservedDirectory(one.path, "directory", one.uid, one.gid, one.mode)
            for one in desired.directories
        }
        return ObservedState(directories, {one.key: as_observed(one) for one in desired.objects})

    return build


def find(desired: DesiredState, key: ObjectKey) -> DesiredObject:
    """The desired object of that key."""
    return next(one for one in desired.objects if one.key == key)


def with_directory(state: ObservedState, directory: ObservedDirectory) -> ObservedState:
    """The state with one directory observed differently."""
    assert not isinstance(state.directories, Problem)
    return replace(state, directories={**state.directories, directory.path: directory})


def with_object(state: ObservedState, wanted: DesiredObject, **changes: Any) -> ObservedState:
    """The state with one object observed differently."""
    assert not isinstance(state.objects, Problem)
    return replace(state, objects={**state.objects, wanted.key: as_observed(wanted, **changes)})


def changed(wanted: DesiredObject, value: Any, *path: str) -> Any:
    """The object's manifest with the value at `path` changed, or the field taken away for None."""
    manifest: Any = deepcopy(dict(wanted.manifest))
    level = manifest
    for part in path[:-1]:
        level = level[part]
    if value is None:
        del level[path[-1]]
    else:
        level[path[-1]] = value
    return manifest


def test_nothing_is_planned_when_everything_is_in_place(desired: DesiredState, in_place: InPlace) -> None:
    """A contract that was only touched costs nothing."""
    plan = plan_stack(desired, in_place())
    assert plan == Plan("foundation/airflow")
    assert plan.is_empty


def test_everything_is_planned_when_nothing_is_there(desired: DesiredState) -> None:
    """Directories come before the volumes that need them, StorageClasses before volumes."""
    absent = {path: ObservedDirectory(path, "absent") for path in (DAGS, LOGS)}
    plan = plan_stack(desired, ObservedState(absent, {}))
    assert plan.directories == (
        CreateDirectory(DAGS, 50000, 0, 0o775, "it does not exist"),
        CreateDirectory(LOGS, 1000, 1000, 0o755, "it does not exist"),
    )
    assert [action.key for action in plan.objects] == [STORAGE_CLASS, DAGS_VOLUME, LOGS_VOLUME]
    assert {(action.reason, action.uid) for action in plan.objects} == {("it does not exist", None)}
    assert not plan.is_empty


@pytest.mark.parametrize(
    ("uid", "mode", "changes_owner", "changes_mode", "reason"),
    [
        (0, 0o775, True, False, "owner is 0:0, not 50000:0"),
        (50000, 0o700, False, True, "permissions is 700, not 775"),
        (0, 0o2775, True, True, "owner is 0:0, not 50000:0, permissions is 2775, not 775"),
    ],
)
def test_a_directory_that_drifts_is_changed_in_what_drifts(  # noqa: PLR0913 - one row of the table
    desired: DesiredState,
    in_place: InPlace,
    uid: int,
    mode: int,
    *,
    changes_owner: bool,
    changes_mode: bool,
    reason: str,
) -> None:
    """Owner and mode are told apart, because a change of the owner alone must leave the mode as it is."""
    observed = with_directory(in_place(), ObservedDirectory(DAGS, "directory", uid, 0, mode))
    [action] = plan_stack(desired, observed).directories
    assert isinstance(action, ChangeDirectory)
    assert (action.changes_owner, action.changes_mode, action.reason) == (changes_owner, changes_mode, reason)


def test_the_owner_is_left_alone_where_it_cannot_be_set(desired: DesiredState, in_place: InPlace) -> None:
    """An ordinary user without Docker gets directories of his own, and no complaint without end."""
    observed = with_directory(in_place(), ObservedDirectory(DAGS, "directory", 501, 20, 0o775))
    assert plan_stack(desired, observed, Constraints(may_set_owner=False)).is_empty


@pytest.mark.parametrize(
    ("kind", "words"),
    [("symlink", "a symbolic link"), ("file", "a file"), ("other", "neither a directory nor a file")],
)
def test_what_stands_in_the_way_is_left_and_told(
    desired: DesiredState, in_place: InPlace, kind: Any, words: str
) -> None:
    """Whatever a person put there may be data: it is not removed, and no volume leads to it."""
    obstructed = ObservedDirectory(DAGS, kind, obstacle="/mnt/pv/airflow")
    state = replace(with_directory(in_place(), obstructed), objects={})
    plan = plan_stack(desired, state)
    [blocked] = plan.blocked
    assert (blocked.subject, blocked.problem.code, blocked.is_waiting) == (DAGS, "DirectoryObstructed", False)
    assert f"/mnt/pv/airflow in the volume is {words}" in blocked.problem.message
    assert [action.key for action in plan.objects] == [STORAGE_CLASS, LOGS_VOLUME]


def test_a_directory_that_cannot_be_read_is_not_taken_for_absent(desired: DesiredState, in_place: InPlace) -> None:
    """Unreadable is never absent."""
    observed = with_directory(in_place(), ObservedDirectory(DAGS, "unreadable", detail="Input/output error"))
    plan = plan_stack(desired, observed)
    assert plan.directories == ()
    assert [one.problem.code for one in plan.blocked] == ["DirectoryUnreadable"]
    assert "Input/output error" in plan.blocked[0].problem.message


def test_without_docker_directories_wait_and_their_volumes_with_them(desired: DesiredState, in_place: InPlace) -> None:
    """A volume without its directory would let the kubelet make one as root's."""
    away = Problem("EngineUnreachable", "Docker is away", "start it")
    plan = plan_stack(desired, replace(in_place(), directories=away, objects={}))
    assert [(one.subject, one.problem, one.is_waiting) for one in plan.blocked] == [
        (DAGS, away, True),
        (LOGS, away, True),
    ]
    assert [action.key for action in plan.objects] == [STORAGE_CLASS]


def test_a_lost_volume_waits_for_a_person(desired: DesiredState, in_place: InPlace) -> None:
    """What is lost does not come back by waiting: the directories are held back, and so are their volumes."""
    lost = Problem("VolumeLost", "the volume is gone", "decide")
    plan = plan_stack(desired, replace(in_place(), directories=lost))
    assert [(one.problem, one.is_waiting) for one in plan.blocked] == [(lost, False), (lost, False)]


def test_without_a_cluster_objects_wait_and_directories_are_made(desired: DesiredState) -> None:
    """What can be done is done."""
    away = Problem("ClusterUnreachable", "the cluster is away", "start it")
    absent = {path: ObservedDirectory(path, "absent") for path in (DAGS, LOGS)}
    plan = plan_stack(desired, ObservedState(absent, away))
    assert len(plan.directories) == 2
    assert [(one.subject, one.is_waiting) for one in plan.blocked] == [
        ("StorageClass/airflow", True),
        ("PersistentVolume/hostk8s-foundation-airflow-dags-pv", True),
        ("PersistentVolume/hostk8s-foundation-airflow-logs-pv", True),
    ]


def test_a_lost_conflict_holds_back_the_directory_and_its_volume(desired: DesiredState, in_place: InPlace) -> None:
    """The other stack has the path: nothing of ours may touch it, and the rest of the stack goes on."""
    lost = Problem("PathConflict", "postgres has it", "take another path")
    absent = {path: ObservedDirectory(path, "absent") for path in (DAGS, LOGS)}
    plan = plan_stack(desired, ObservedState(absent, {}), Constraints(lost_conflicts={"dags": lost}))
    assert [(one.subject, one.problem, one.is_waiting) for one in plan.blocked] == [(DAGS, lost, False)]
    assert [action.path for action in plan.directories] == [LOGS]
    assert [action.key for action in plan.objects] == [STORAGE_CLASS, LOGS_VOLUME]
    assert in_place is not None


def test_who_keeps_a_contested_path_is_told_and_not_held_back(desired: DesiredState, in_place: InPlace) -> None:
    """The holder's side of a conflict is information."""
    told = Problem("PathConflict", "redis wants it too", "")
    plan = plan_stack(desired, in_place(), Constraints(informed=(told,)))
    assert plan.informed == (told,)
    assert plan.is_empty


@pytest.mark.parametrize(
    ("path", "value", "drift"),
    [
        (("spec", "capacity", "storage"), "2Gi", Drift("spec.capacity.storage", "1Gi", "2Gi")),
        (("spec", "capacity", "storage"), None, Drift("spec.capacity.storage", "1Gi", None)),
        (
            ("spec", "accessModes"),
            ["ReadWriteMany"],
            Drift("spec.accessModes", "ReadWriteOnce,ReadOnlyMany", "ReadWriteMany"),
        ),
        (("spec", "accessModes"), None, Drift("spec.accessModes", "ReadWriteOnce,ReadOnlyMany", None)),
        (
            ("metadata", "labels", "hostk8s.stack"),
            "x",
            Drift("metadata.labels.hostk8s.stack", "foundation-airflow", "x"),
        ),
        (("spec", "storageClassName"), "other", Drift("spec.storageClassName", "airflow", "other")),
    ],
)
def test_a_field_that_drifts_is_applied_again(
    desired: DesiredState, in_place: InPlace, path: tuple[str, ...], value: Any, drift: Drift
) -> None:
    """The action names the field, and is bound to the very object that was observed."""
    wanted = find(desired, DAGS_VOLUME)
    [action] = plan_stack(desired, with_object(in_place(), wanted, manifest=changed(wanted, value, *path))).objects
    assert isinstance(action, ApplyObject)
    assert (action.key, action.drift, action.uid, action.resource_version) == (DAGS_VOLUME, (drift,), "0b1c", "7")
    assert action.adopts_from is None


def test_all_labels_missing_is_drift_of_each(desired: DesiredState, in_place: InPlace) -> None:
    """A parent that is absent counts as one in which every field is absent."""
    wanted = find(desired, DAGS_VOLUME)
    [action] = plan_stack(
        desired, with_object(in_place(), wanted, manifest=changed(wanted, None, "metadata", "labels"))
    ).objects
    assert [(one.field, one.observed) for one in action.drift] == [
        ("metadata.labels.app.kubernetes.io/managed-by", None),
        ("metadata.labels.hostk8s.stack", None),
        ("metadata.labels.hostk8s.storage.name", None),
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "capacity", "storage"), "1024Mi"),
        (("spec", "accessModes"), ["ReadOnlyMany", "ReadWriteOnce"]),
        (("metadata", "annotations", "hostk8s.io/contract-digest"), "sha256:other"),
        (("spec", "volumeMode"), "Filesystem"),
    ],
)
def test_what_means_the_same_is_no_drift(
    desired: DesiredState, in_place: InPlace, path: tuple[str, ...], value: Any
) -> None:
    """1024Mi is 1Gi, access modes are a set, and fields without an opinion of ours are others' business."""
    wanted = find(desired, DAGS_VOLUME)
    assert plan_stack(desired, with_object(in_place(), wanted, manifest=changed(wanted, value, *path))).is_empty


def test_drift_names_who_holds_the_field(desired: DesiredState, in_place: InPlace) -> None:
    """A person who edits with kubectl is told that it was kubectl."""
    wanted = find(desired, DAGS_VOLUME)
    managers = (
        FieldManager("hostk8s-agent", "Apply", {"f:spec": {"f:accessModes": {}}}),
        FieldManager("kubectl-edit", "Update", {"f:spec": {"f:capacity": {"f:storage": {}}}}),
        FieldManager("broken", "Update", {"f:spec": "not a mapping"}),
    )
    manifest = changed(wanted, "2Gi", "spec", "capacity", "storage")
    [action] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=managers)).objects
    assert action.drift == (Drift("spec.capacity.storage", "1Gi", "2Gi", "kubectl-edit"),)


@pytest.mark.parametrize("phase", ["Available", "Released"])
def test_a_volume_that_no_claim_holds_is_replaced(desired: DesiredState, in_place: InPlace, phase: str) -> None:
    """Kubernetes refuses the change with 422; the deletion holds for just the volume that was observed."""
    wanted = find(desired, DAGS_VOLUME)
    manifest = changed(wanted, "/mnt/pv/old", "spec", "hostPath", "path")
    observed = with_object(in_place(), wanted, manifest=manifest, phase=phase, claim="airflow/dags", claim_uid="1")
    if phase == "Available":
        observed = with_object(in_place(), wanted, manifest=manifest, phase=phase)
    assert plan_stack(desired, observed).objects == (
        ReplaceObject(
            DAGS_VOLUME,
            wanted.manifest,
            f"spec.hostPath.path is /mnt/pv/old, not {DAGS}, and that cannot be changed in place",
            uid="0b1c",
            resource_version="7",
            drift=(Drift("spec.hostPath.path", DAGS, "/mnt/pv/old"),),
            directory="dags",
        ),
    )


@pytest.mark.parametrize(
    ("changes", "code", "is_waiting", "hint"),
    [
        ({"phase": "Bound", "claim": "a/b", "claim_uid": "1"}, "FieldImmutable", False, "kubectl -n a delete pvc b"),
        ({"phase": "Available", "claim": "a/b", "claim_uid": "1"}, "FieldImmutable", False, "describe pvc b"),
        ({"phase": "Pending"}, "VolumeNotSettled", True, "nothing to do"),
        ({"phase": "Failed"}, "FieldImmutable", False, "kubectl delete pv hostk8s-foundation-airflow-dags-pv"),
    ],
)
def test_a_volume_that_a_claim_may_hold_is_not_replaced(
    desired: DesiredState, in_place: InPlace, changes: dict[str, str], code: str, hint: str, *, is_waiting: bool
) -> None:
    """Only a person may take it from its claim; one that is being bound at this moment has a claim already."""
    wanted = find(desired, DAGS_VOLUME)
    manifest = changed(wanted, "/mnt/pv/old", "spec", "hostPath", "path")
    plan = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, **changes))
    [blocked] = plan.blocked
    assert plan.objects == ()
    assert (blocked.problem.code, blocked.is_waiting) == (code, is_waiting)
    assert hint in blocked.problem.hint


def test_what_its_annotation_keeps_is_not_replaced(desired: DesiredState, in_place: InPlace) -> None:
    """Replacing deletes: whoever said that an object stays is asked first."""
    wanted = find(desired, STORAGE_CLASS)
    manifest = changed(wanted, "WaitForFirstConsumer", "volumeBindingMode")
    manifest["metadata"]["annotations"]["hostk8s.io/prune"] = "disabled"
    [blocked] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest)).blocked
    assert (blocked.subject, blocked.problem.code) == ("StorageClass/airflow", "PruneDisabled")


@pytest.mark.parametrize("manager", [FieldManager("hostk8s-agent", "Apply"), FieldManager("kubectl", "Update")])
def test_a_storage_class_with_another_binding_mode_is_replaced(
    desired: DesiredState, in_place: InPlace, manager: FieldManager
) -> None:
    """One of ours, or one that HostK8s' script made: it is read when a claim is bound, and at no other time."""
    wanted = find(desired, STORAGE_CLASS)
    manifest = changed(wanted, "WaitForFirstConsumer", "volumeBindingMode")
    [action] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=(manager,))).objects
    assert isinstance(action, ReplaceObject)
    assert (action.key, action.uid) == (STORAGE_CLASS, "0b1c")


def test_a_released_volume_is_released_to_the_claim_that_had_it(desired: DesiredState, in_place: InPlace) -> None:
    """The data is what that claim's pods wrote: a claim of that name gets it, and no other."""
    wanted = find(desired, DAGS_VOLUME)
    observed = with_object(in_place(), wanted, phase="Released", claim="airflow/dags", claim_uid="1-2")
    [action] = plan_stack(desired, observed).objects
    assert isinstance(action, ReleaseVolume)
    assert (action.key, action.claim, action.claim_uid) == (DAGS_VOLUME, "airflow/dags", "1-2")
    assert plan_stack(desired, observed, Constraints(may_release=False)).is_empty
    again = with_object(in_place(), wanted, phase="Released", claim="airflow/dags")
    assert plan_stack(desired, again).is_empty, "it was released already, and its phase has not followed yet"


@pytest.mark.parametrize(
    ("claim", "words"),
    [("airflow/dags", "until its claim airflow/dags is gone"), ("", "until its finalizers are gone")],
)
def test_an_object_that_is_being_deleted_is_waited_for(
    desired: DesiredState, in_place: InPlace, claim: str, words: str
) -> None:
    """Nothing can be applied to it, and nobody has to do anything: it is made again when it is gone."""
    wanted = find(desired, DAGS_VOLUME)
    changes = {"phase": "Bound" if claim else "Available", "claim": claim}
    [blocked] = plan_stack(desired, with_object(in_place(), wanted, is_terminating=True, **changes)).blocked
    assert (blocked.problem.code, blocked.is_waiting) == ("ObjectTerminating", True)
    assert words in blocked.problem.message
    assert blocked.problem.message.endswith("; its data stays")
    assert ("pods go on with it" in blocked.problem.hint) == bool(claim)
    assert ("who was to remove its finalizers" in blocked.problem.hint) != bool(claim)


class TestObjectsOfOthers:
    """An object of our name that is not ours."""

    def test_one_that_differs_is_left_alone_and_its_maker_named(self, desired: DesiredState, in_place: InPlace) -> None:
        """Nothing foreign is ever changed."""
        wanted = find(desired, DAGS_VOLUME)
        manifest = changed(wanted, {"hostk8s.stack": "other"}, "metadata", "labels")
        manifest["spec"]["capacity"]["storage"] = "9Gi"
        managers = (FieldManager("terraform", "Update"), FieldManager("terraform", "Apply"))
        [blocked] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=managers)).blocked
        assert (blocked.problem.code, blocked.is_waiting) == ("ObjectForeign", False)
        assert "terraform made it" in blocked.problem.message
        assert blocked.drift == (Drift("spec.capacity.storage", "1Gi", "9Gi"),)

    def test_one_with_our_label_alone_is_never_deleted(self, desired: DesiredState, in_place: InPlace) -> None:
        """A label can be copied from one of ours: a class of another provisioner is somebody's, whatever it says."""
        wanted = find(desired, STORAGE_CLASS)
        manifest = changed(wanted, "example.com/nfs", "provisioner")
        managers = (FieldManager("helm", "Update"),)
        plan = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=managers))
        assert [one.problem.code for one in plan.blocked] == ["ObjectForeign"]
        assert "helm made it" in plan.blocked[0].problem.message
        assert plan.objects == ()

    def test_one_without_any_field_manager_is_foreign_too(self, desired: DesiredState, in_place: InPlace) -> None:
        """What is not known to be ours is not ours."""
        wanted = find(desired, STORAGE_CLASS)
        manifest = changed(wanted, "example.com/nfs", "provisioner")
        manifest["metadata"] = {"name": "airflow", "labels": None}
        [blocked] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=())).blocked
        assert blocked.problem.code == "ObjectForeign"
        assert "an unknown field manager made it" in blocked.problem.message

    def test_one_without_metadata_is_foreign_too(self, desired: DesiredState, in_place: InPlace) -> None:
        """A malformed object from the server is contained to that object."""
        wanted = find(desired, DAGS_VOLUME)
        manifest = changed(wanted, "9Gi", "spec", "capacity", "storage")
        manifest["metadata"] = None
        [blocked] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=())).blocked
        assert blocked.problem.code == "ObjectForeign"

    def test_one_that_is_equal_becomes_ours(self, desired: DesiredState, in_place: InPlace) -> None:
        """Nothing of it changes but our label and annotations."""
        wanted = find(desired, DAGS_VOLUME)
        manifest = changed(wanted, {}, "metadata", "labels")
        managers = (FieldManager("terraform", "Apply"),)
        [action] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, managers=managers)).objects
        assert isinstance(action, ApplyObject)
        assert {one.field.split(".")[0] for one in action.drift} == {"metadata"}
        assert action.adopts_from is None

    @pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "kubectl"])
    def test_one_of_the_script_is_adopted_even_when_nothing_differs(
        self, desired: DesiredState, in_place: InPlace, manager: str
    ) -> None:
        """HostK8s' script makes its objects with `kubectl apply`: a field of it that is removed later must go."""
        for key in (DAGS_VOLUME, STORAGE_CLASS):
            wanted = find(desired, key)
            manifest = deepcopy(dict(wanted.manifest))
            manifest["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
            managers = (FieldManager(manager, "Update"),)
            [action] = plan_stack(
                desired, with_object(in_place(), wanted, manifest=manifest, managers=managers)
            ).objects
            assert isinstance(action, ApplyObject)
            assert (action.key, action.adopts_from) == (key, manager)
            assert action.reason == f"{manager} made it; it is adopted"

    def test_our_label_alone_makes_it_ours(self, desired: DesiredState, in_place: InPlace) -> None:
        """`kubectl replace` throws all field managers away."""
        wanted = find(desired, DAGS_VOLUME)
        observed = with_object(in_place(), wanted, managers=(FieldManager("kubectl-replace", "Update"),))
        assert plan_stack(desired, observed).is_empty


def test_nothing_is_immutable_in_a_file(desired: DesiredState, in_place: InPlace) -> None:
    """Without a cluster a changed path is simply written."""
    wanted = find(desired, DAGS_VOLUME)
    manifest = changed(wanted, "/mnt/pv/old", "spec", "hostPath", "path")
    [action] = plan_stack(desired, with_object(in_place(), wanted, manifest=manifest, is_in_file=True)).objects
    assert [one.field for one in action.drift] == ["spec.hostPath.path"]


class TestTwoWorkspacesOnOneCluster:
    """The same stack in two checkouts that share a cluster."""

    OTHER = "/home/ada/other"

    def of_other(self, desired: DesiredState, in_place: InPlace) -> ObservedState:
        """The state in which the volume of `dags` says that it belongs to the other workspace."""
        wanted = find(desired, DAGS_VOLUME)
        return with_object(
            in_place(), wanted, manifest=changed(wanted, self.OTHER, "metadata", "annotations", "hostk8s.io/workspace")
        )

    def test_a_living_workspace_keeps_its_volume(self, desired: DesiredState, in_place: InPlace) -> None:
        """Two agents that both wrote it would do so in turns without end."""
        observed = self.of_other(desired, in_place)
        assert find_other_workspaces(desired, observed) == {self.OTHER}
        plan = plan_stack(desired, observed, Constraints(living_workspaces=frozenset({self.OTHER})))
        assert plan.objects == ()
        [blocked] = plan.blocked
        assert (blocked.problem.code, blocked.is_waiting) == ("ObjectOfOtherWorkspace", False)
        assert self.OTHER in blocked.problem.message

    def test_a_volume_of_a_workspace_that_is_gone_is_taken_over(self, desired: DesiredState, in_place: InPlace) -> None:
        """A checkout may be moved, and its volumes with it."""
        [action] = plan_stack(desired, self.of_other(desired, in_place)).objects
        assert [one.field for one in action.drift] == ["metadata.annotations.hostk8s.io/workspace"]

    def test_a_storage_class_is_shared(self, desired: DesiredState, in_place: InPlace) -> None:
        """All its fields are fixed: who made it first is no drift."""
        wanted = find(desired, STORAGE_CLASS)
        manifest = changed(wanted, self.OTHER, "metadata", "annotations", "hostk8s.io/workspace")
        observed = with_object(in_place(), wanted, manifest=manifest)
        assert find_other_workspaces(desired, observed) == frozenset()
        assert plan_stack(desired, observed, Constraints(living_workspaces=frozenset({self.OTHER}))).is_empty

    def test_what_says_nothing_of_a_workspace_belongs_to_none(self, desired: DesiredState, in_place: InPlace) -> None:
        """A script's volume has no annotations, and a malformed one has no metadata."""
        wanted = find(desired, DAGS_VOLUME)
        for path in (("metadata", "annotations"), ("metadata",)):
            observed = with_object(in_place(), wanted, manifest=changed(wanted, None, *path))
            assert find_other_workspaces(desired, observed) == frozenset()

    def test_without_a_cluster_no_other_is_seen(self, desired: DesiredState, in_place: InPlace) -> None:
        """Nothing was observed."""
        away = Problem("ClusterUnreachable", "the cluster is away", "start it")
        assert find_other_workspaces(desired, replace(in_place(), objects=away)) == frozenset()

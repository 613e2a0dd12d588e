"""Drift and a change of the contract are told apart, and what is left alone is left out of the plan."""

from __future__ import annotations

from dataclasses import replace

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import ApplyObject, ChangeDirectory, CreateDirectory, Drift, Plan
from hostk8s_agent.plan.desired import DesiredState, ObjectKey
from hostk8s_agent.plan.drifting import EXISTENCE, FieldKey, FoundDrift, InPlace, find_drift, find_in_place
from hostk8s_agent.plan.holding import hold_fields, omit_fields
from hostk8s_agent.plan.objects import FIELD_MANAGER, render_desired_state
from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory, ObservedObject, ObservedState
from hostk8s_agent.plan.planning import plan_stack

WHERE = {"volume": "engine", "cluster": "uid"}
PATH = "/mnt/pv/sample/one"
VOLUME = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
SIZE = FieldKey("PersistentVolume/hostk8s-sample-one-pv", "spec.capacity.storage")
LABEL = FieldKey("PersistentVolume/hostk8s-sample-one-pv", "metadata.labels.hostk8s.stack")
WAR = Problem("FieldWar", "they fight", "end it")

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: sample
spec:
  directories:
    - name: one
      path: /mnt/pv/sample/one
      size: {size}
      accessModes: [ReadWriteOnce]
      storageClass: fast
      owner: "{owner}"
"""


def desire(size: str = "1Gi", owner: str = "26:26") -> DesiredState:
    """What a contract of one directory asks for."""
    text = CONTRACT.format(size=size, owner=owner).encode()
    return render_desired_state(parse_contract(text, file="f", stack="sample"), "/w")


def observe(desired: DesiredState) -> ObservedState:
    """The state in which all of it is in place."""
    return ObservedState(
        {one.path: ObservedDirectory(one.path, "directory", one.uid, one.gid, one.mode) for one in desired.directories},
        {
            one.key: ObservedObject(one.key, one.manifest, f"uid of {one.key.name}", "7", _ours())
            for one in desired.objects
        },
    )


def _ours() -> tuple[FieldManager, ...]:
    return (FieldManager(FIELD_MANAGER, "Apply"),)


def edit(observed: ObservedState, field: str, value: object) -> ObservedState:
    """The state after somebody has set a field of the PersistentVolume's spec, or (None) removed the object."""
    assert not isinstance(observed.objects, Problem)
    objects = dict(observed.objects)
    before = objects.pop(VOLUME)
    if value is not None:
        manifest = {**before.manifest, "spec": {**before.manifest["spec"], field: value}}
        editor = FieldManager("kubectl-edit", "Update", {"f:spec": {f"f:{field}": {"f:storage": {}}}})
        objects[VOLUME] = replace(before, manifest=manifest, resource_version="8", managers=(*_ours(), editor))
    return replace(observed, objects=objects)


def remember(desired: DesiredState) -> dict[str, InPlace]:
    """What a run knows after everything was in place."""
    return find_in_place(desired, observe(desired), Plan("sample"), WHERE)


def test_a_field_that_somebody_changed_is_drift_with_its_manager() -> None:
    """It was in place as it is desired now, so that it was nobody's wish."""
    desired = desire()
    observed = edit(observe(desired), "capacity", {"storage": "9Gi"})
    drift = Drift(SIZE.field, "1Gi", "9Gi", "kubectl-edit")
    assert find_drift(plan_stack(desired, observed), remember(desired), WHERE) == (
        FoundDrift(SIZE, drift, "uid of hostk8s-sample-one-pv 8"),
    )


def test_a_change_of_the_contract_is_no_drift() -> None:
    """What differs because something else is desired is what the contract's author wished."""
    before, after = desire(), desire(size="2Gi", owner="27:27")
    plan = plan_stack(after, observe(before))
    assert (len(plan.directories), len(plan.objects)) == (1, 1)
    assert find_drift(plan, remember(before), WHERE) == ()


def test_both_at_once_are_told_apart_by_field() -> None:
    """The owner was edited in the contract, and the mode by somebody."""
    before, after = desire(), desire(owner="27:27")
    observed = observe(before)
    assert not isinstance(observed.directories, Problem)
    mode = replace(observed.directories[PATH], mode=0o777)
    plan = plan_stack(after, replace(observed, directories={PATH: mode}))
    assert [one.key for one in find_drift(plan, remember(before), WHERE)] == [FieldKey(PATH, "permissions")]


def test_what_was_removed_is_drift_of_its_existence() -> None:
    """An object and a directory that were there; how often one object is looked at does not matter."""
    desired = desire()
    observed = replace(edit(observe(desired), "", None), directories={PATH: ObservedDirectory(PATH, "absent")})
    found = find_drift(plan_stack(desired, observed), remember(desired), WHERE)
    assert [(one.key, one.token) for one in found] == [
        (FieldKey(PATH, EXISTENCE), ""),
        (FieldKey(SIZE.subject, EXISTENCE), "gone uid of hostk8s-sample-one-pv"),
    ]


def test_what_was_never_in_place_is_no_drift() -> None:
    """A new contract is made for the first time, and a re-created cluster or another engine has nothing yet."""
    desired = desire()
    nothing = ObservedState({PATH: ObservedDirectory(PATH, "absent")}, {})
    plan = plan_stack(desired, nothing)
    assert find_drift(plan, {}, WHERE) == ()
    assert find_drift(plan, remember(desired), {"volume": "another", "cluster": "another"}) == ()


def test_only_what_was_seen_and_needs_nothing_is_in_place() -> None:
    """What is blocked, what has to be changed, what is not there, and what could not be seen is not."""
    desired = desire()
    observed = edit(observe(desired), "capacity", {"storage": "9Gi"})
    kinds = [name.partition("/")[0] for name in find_in_place(desired, observed, plan_stack(desired, observed), WHERE)]
    assert kinds == ["", "StorageClass"]
    away = ObservedState(Problem("EngineUnreachable", "away", ""), Problem("ClusterUnreachable", "away", ""))
    assert find_in_place(desired, away, plan_stack(desired, away), WHERE) == {}
    gone = edit(observe(desired), "", None)
    assert SIZE.subject not in find_in_place(desired, gone, Plan("sample"), WHERE)


def test_a_field_at_war_is_left_out_and_the_rest_is_put_right() -> None:
    """Who fights for one field of an object does not keep the others from being repaired."""
    desired = desire()
    observed = edit(edit(observe(desired), "capacity", {"storage": "9Gi"}), "accessModes", ["ReadOnlyMany"])
    plan = hold_fields(plan_stack(desired, observed), {SIZE: WAR})
    [action] = plan.objects
    assert isinstance(action, ApplyObject)
    assert [one.field for one in action.drift] == ["spec.accessModes"]
    assert action.manifest["spec"]["capacity"] == {}
    assert action.manifest["spec"]["accessModes"] == ["ReadWriteOnce"]
    [blocked] = plan.blocked
    assert (blocked.subject, blocked.problem, blocked.directory) == (SIZE.subject, WAR, "one")
    assert [one.field for one in blocked.drift] == [SIZE.field]


def test_an_object_of_which_nothing_else_is_wrong_is_not_written() -> None:
    """A request that changes nothing is none."""
    desired = desire()
    plan = hold_fields(plan_stack(desired, edit(observe(desired), "capacity", {"storage": "9Gi"})), {SIZE: WAR})
    assert (plan.objects, len(plan.blocked)) == ((), 1)


def test_a_directorys_owner_at_war_leaves_its_mode_to_be_put_right() -> None:
    """And the other way round; with both at war nothing is done."""
    change = ChangeDirectory(
        PATH,
        26,
        26,
        0o755,
        changes_owner=True,
        changes_mode=True,
        reason="both differ",
        drift=(Drift("owner", "26:26", "0:0"), Drift("permissions", "755", "777")),
    )
    plan = Plan("sample", directories=(change,))
    owner, mode = FieldKey(PATH, "owner"), FieldKey(PATH, "permissions")
    [rest] = hold_fields(plan, {owner: WAR}).directories
    assert isinstance(rest, ChangeDirectory)
    assert (rest.changes_owner, rest.changes_mode) == (False, True)
    assert hold_fields(plan, {owner: WAR, mode: WAR}).directories == ()


def test_a_directory_that_is_not_made_again_keeps_its_volume_from_being_made() -> None:
    """The kubelet would make the directory itself, as root's."""
    desired = desire()
    nothing = ObservedState({PATH: ObservedDirectory(PATH, "absent")}, {})
    plan = plan_stack(desired, nothing)
    assert isinstance(plan.directories[0], CreateDirectory)
    held = hold_fields(plan, {FieldKey(PATH, EXISTENCE): WAR})
    assert held.directories == ()
    assert [one.key.kind for one in held.objects] == ["StorageClass"]
    assert [one.subject for one in held.blocked] == [PATH]


def test_a_volume_that_is_removed_again_and_again_is_not_made() -> None:
    """Its directory is, all the same."""
    desired = desire()
    nothing = ObservedState({PATH: ObservedDirectory(PATH, "absent")}, {})
    held = hold_fields(plan_stack(desired, nothing), {FieldKey(SIZE.subject, EXISTENCE): WAR})
    assert (len(held.directories), [one.key.kind for one in held.objects]) == (1, ["StorageClass"])


def test_names_with_dots_are_left_out_as_others_are() -> None:
    """A label's name holds dots, and is one name."""
    manifest = {"metadata": {"labels": {"hostk8s.stack": "sample", "other": "x"}, "name": "n"}}
    assert omit_fields(manifest, frozenset({LABEL.field})) == {"metadata": {"labels": {"other": "x"}, "name": "n"}}


def test_actions_that_nothing_is_known_of_stay() -> None:
    """Only what is at war is held."""
    action = ApplyObject(ObjectKey("StorageClass", "fast"), {"provisioner": "x"}, "it does not exist")
    plan = Plan("sample", objects=(action,))
    assert hold_fields(plan, {SIZE: WAR}) == plan


def test_what_went_to_be_replaced_was_removed_by_nobody() -> None:
    """The run that makes it anew follows the contract; what a person deletes is what was asked for."""
    before = desire()
    known = remember(before)
    gone = edit(observe(desire(size="2Gi")), "", None)
    assert find_drift(plan_stack(desire(size="2Gi"), gone), known, WHERE) == ()
    assert [one.key.field for one in find_drift(plan_stack(before, gone), known, WHERE)] == [EXISTENCE]


def test_a_replacement_at_war_is_held_whole() -> None:
    """It would be made for the sake of the field that is fought for, and for nothing else."""
    desired = desire()
    observed = edit(observe(desired), "hostPath", {"path": "/mnt/pv/elsewhere", "type": "DirectoryOrCreate"})
    assert not isinstance(observed.objects, Problem)
    available = {key: replace(one, phase="Available") for key, one in observed.objects.items()}
    plan = plan_stack(desired, replace(observed, objects=available))
    [action] = plan.objects
    key = FieldKey(SIZE.subject, "spec.hostPath.path")
    [found] = find_drift(plan, remember(desired), WHERE)
    assert (found.key, found.token) == (key, f"uid of {VOLUME.name} 8")
    assert hold_fields(plan, {SIZE: WAR}).objects == (action,)
    held = hold_fields(plan, {key: WAR})
    assert (held.objects, [one.subject for one in held.blocked]) == ((), [SIZE.subject])


def test_a_release_is_no_drift() -> None:
    """It changes no field that anyone asks for, and needs no directory."""
    desired = desire()
    observed = observe(desired)
    assert not isinstance(observed.objects, Problem)
    released = replace(observed.objects[VOLUME], phase="Released", claim="a/b", claim_uid="1")
    plan = plan_stack(desired, replace(observed, objects={**observed.objects, VOLUME: released}))
    assert find_drift(plan, remember(desired), WHERE) == ()
    unmade = replace(
        plan, directories=plan_stack(desired, ObservedState({PATH: ObservedDirectory(PATH, "absent")}, {})).directories
    )
    held = hold_fields(unmade, {FieldKey(PATH, EXISTENCE): WAR})
    assert (held.directories, held.objects) == ((), plan.objects)

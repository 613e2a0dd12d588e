"""Desired state and observed state in, plan out: what to do, why, and what may not be done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import (
    ApplyObject,
    BlockedAction,
    ChangeDirectory,
    CreateDirectory,
    DirectoryAction,
    Drift,
    ObjectAction,
    Plan,
)
from hostk8s_agent.plan.differing import diff_directory, diff_object, immutable_fields
from hostk8s_agent.plan.mounting import MountFinding, keep_affinity, keep_to_nodes
from hostk8s_agent.plan.ownership import (
    find_adoptable_manager,
    find_other_workspace,
    is_applied_by_us,
    is_ours,
    render_managers,
)
from hostk8s_agent.plan.pruning import explain_terminating
from hostk8s_agent.plan.replacing import plan_release, plan_replacement
from hostk8s_agent.plan.reserving import keep_claim, reserve_for
from hostk8s_agent.plan.wording import block, explain_drift, resource_of, subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.plan.desired import DesiredDirectory, DesiredObject, DesiredState, Manifest
    from hostk8s_agent.plan.observed import ObservedDirectory, ObservedObject, ObservedState


@dataclass(frozen=True, slots=True)
class Constraints:
    """What holds a plan back besides the observed state.

    `lost_conflicts` maps a directory's name to the problem because of which another stack keeps its path or
    PersistentVolume; `informed` are problems that hold nothing back. `may_set_owner` is False where an ordinary
    user's host directory stands in for the volume. `living_workspaces` are the paths of other workspaces that
    exist on this machine: what says that it belongs to one of them is theirs; what names a path that is gone is
    taken over, because a checkout may be moved. `reservations` maps the name of a PersistentVolume that is made anew
    to the claim (`namespace/name`) that it is kept for, because that claim held it before. `may_release` says whether
    a Released PersistentVolume is made bindable again for the claim that had it. `mount` says whether the nodes have
    the volume: a PersistentVolume on one that has not would lose its data with the node.
    """

    lost_conflicts: Mapping[str, Problem] = field(default_factory=dict)
    informed: tuple[Problem, ...] = ()
    may_set_owner: bool = True
    living_workspaces: frozenset[str] = frozenset()
    reservations: Mapping[str, str] = field(default_factory=dict)
    may_release: bool = True
    mount: MountFinding = field(default_factory=MountFinding)


def plan_stack(desired: DesiredState, observed: ObservedState, constraints: Constraints | None = None) -> Plan:
    """Return what makes the observed state of one stack the desired one.

    Given everything in place, return a plan whose `is_empty` is True. A PersistentVolume is never made before
    its directory can be: the kubelet would make that directory itself, as root's.
    """
    limits = constraints or Constraints()
    actions: list[DirectoryAction] = []
    objects: list[ObjectAction] = []
    blocked: list[BlockedAction] = []
    held: set[str] = set()
    for directory in desired.directories:
        outcome = _plan_directory(directory, observed, limits)
        if isinstance(outcome, BlockedAction):
            blocked.append(outcome)
            held.add(directory.name)
        elif outcome is not None:
            actions.append(outcome)
    for wanted in desired.objects:
        if wanted.directory in held:
            continue  # told once, with the directory
        planned = _block_without_mount(wanted, limits) or _plan_object(wanted, observed, limits)
        if isinstance(planned, BlockedAction):
            blocked.append(planned)
        elif planned is not None:
            objects.append(planned)
    return Plan(desired.stack, tuple(actions), tuple(objects), tuple(blocked), limits.informed)


def _plan_directory(
    desired: DesiredDirectory, observed: ObservedState, limits: Constraints
) -> DirectoryAction | BlockedAction | None:
    if conflict := limits.lost_conflicts.get(desired.name):
        return BlockedAction(desired.path, conflict, directory=desired.name)
    if isinstance(observed.directories, Problem):
        # What is lost does not come back by waiting.
        is_waiting = observed.directories.code != "VolumeLost"
        return BlockedAction(desired.path, observed.directories, directory=desired.name, is_waiting=is_waiting)
    found = observed.directories[desired.path]
    if found.kind == "absent":
        return CreateDirectory(desired.path, desired.uid, desired.gid, desired.mode, "it does not exist")
    if found.kind != "directory":
        return BlockedAction(desired.path, _explain_obstacle(found), directory=desired.name)
    drift = diff_directory(desired, found, may_set_owner=limits.may_set_owner)
    if not drift:
        return None
    return ChangeDirectory(
        path=desired.path,
        uid=desired.uid,
        gid=desired.gid,
        mode=desired.mode,
        changes_owner=any(one.field == "owner" for one in drift),
        changes_mode=any(one.field == "permissions" for one in drift),
        reason=explain_drift(drift),
        drift=drift,
    )


def _explain_obstacle(found: ObservedDirectory) -> Problem:
    place = found.obstacle or found.path
    if found.kind == "unreadable":
        return Problem(
            "DirectoryUnreadable",
            f"{place} in the volume cannot be read: {found.detail}",
            "mend the volume's file system or its permissions; the agent looks again by itself",
        )
    thing = {"file": "a file", "symlink": "a symbolic link"}.get(found.kind, "neither a directory nor a file")
    return Problem(
        "DirectoryObstructed",
        f"{place} in the volume is {thing}, where a directory belongs; it is left as it is",
        f"move {place} away in the volume, or give the contract another path",
    )


def _block_without_mount(desired: DesiredObject, limits: Constraints) -> BlockedAction | None:
    problem = limits.mount.problem
    if problem is None or desired.key.kind != "PersistentVolume":
        return None
    return block(desired, problem, is_waiting=limits.mount.is_waiting)


def _plan_object(
    desired: DesiredObject, observed: ObservedState, limits: Constraints
) -> ObjectAction | BlockedAction | None:
    if isinstance(observed.objects, Problem):
        return BlockedAction(subject_of(desired.key), observed.objects, directory=desired.directory, is_waiting=True)
    found = observed.objects.get(desired.key)
    if found is None:
        return _plan_creation(desired, limits)
    if found.is_terminating:
        return block(desired, explain_terminating(found, is_wanted=True), is_waiting=True)
    workspace = find_other_workspace(desired, found)
    if workspace in limits.living_workspaces:
        return block(desired, _explain_other_workspace(found, workspace))
    planned = _plan_existing(desired, found, limits)
    if planned is None and limits.may_release:
        return plan_release(desired, found)
    return planned


def _plan_creation(desired: DesiredObject, limits: Constraints) -> ApplyObject:
    manifest, reason = _keep_to_nodes(desired, limits), "it does not exist"
    if claim := limits.reservations.get(desired.key.name):
        manifest = reserve_for(manifest, claim)
        reason = f"{reason}; it is reserved for the claim {claim}, which held it before"
    return ApplyObject(desired.key, manifest, reason, directory=desired.directory)


def _keep_to_nodes(desired: DesiredObject, limits: Constraints) -> Manifest:
    """The manifest of an object that is made anew."""
    is_volume = desired.key.kind == "PersistentVolume"
    return keep_to_nodes(desired.manifest, limits.mount.nodes) if is_volume else desired.manifest


def _plan_existing(
    desired: DesiredObject, found: ObservedObject, limits: Constraints
) -> ObjectAction | BlockedAction | None:
    drift = diff_object(desired, found)
    adopts_from = None
    if not is_ours(found):
        adopts_from = find_adoptable_manager(desired, found)
        differing = tuple(one for one in drift if not one.field.startswith("metadata."))
        if adopts_from is None and differing:
            return block(desired, _explain_foreign(found, differing), differing)
    elif not drift:
        return None
    if not found.is_in_file and (immutable := immutable_fields(drift)):
        if not is_applied_by_us(found) and find_adoptable_manager(desired, found) is None:
            # A label can be copied: nothing is deleted on its word alone.
            return block(desired, _explain_foreign(found, immutable), immutable)
        return plan_replacement(replace(desired, manifest=_keep_to_nodes(desired, limits)), found, immutable)
    reason = explain_drift(drift) if adopts_from is None else f"{adopts_from} made it; it is adopted"
    return ApplyObject(
        key=desired.key,
        manifest=keep_affinity(keep_claim(desired.manifest, found), found),
        reason=reason,
        drift=drift,
        uid=found.uid,
        resource_version=found.resource_version,
        adopts_from=adopts_from,
        directory=desired.directory,
    )


def _explain_other_workspace(found: ObservedObject, workspace: str | None) -> Problem:
    return Problem(
        "ObjectOfOtherWorkspace",
        f"{subject_of(found.key)} belongs to the workspace {workspace}; it is left as it is",
        "give each workspace a cluster of its own, or rename the stack or the directory in one of them; "
        f"if the other needs it no more: kubectl delete {resource_of(found.key)} {found.key.name} (the data stays)",
    )


def _explain_foreign(found: ObservedObject, drift: tuple[Drift, ...]) -> Problem:
    return Problem(
        "ObjectForeign",
        f"{subject_of(found.key)} exists and is not ours: {render_managers(found)} made it, and "
        f"{explain_drift(drift)}; it is left as it is",
        f"delete it (kubectl delete {resource_of(found.key)} {found.key.name}) if nobody needs it, "
        "or rename the directory or storage class in the contract",
    )

"""What may be pruned: an object that we applied, that no contract asks for, and that nobody uses.

Pure, and the only place with the rules. When to look is `reconcile/pruning.py`'s to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import DeleteObject
from hostk8s_agent.plan.ownership import find_named_workspace, is_applied_by_us, is_ours
from hostk8s_agent.plan.wording import resource_of, subject_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject, ObservedPod

ANNOTATION_PRUNE = "hostk8s.io/prune"
"""On an object, with the value `disabled`: the agent does not delete it, whatever the contracts say."""

# Fewer objects than this are pruned whatever part of all they are: a workspace of one stack must be able to lose it.
BRAKE_OBJECTS = 3

_PRUNABLE_PHASES = frozenset({"Available", "Released", "Manifest"})

VerdictState = Literal["gone", "held", "free"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """One object of the inventory that its stack's contract does not ask for, nor any other stack's.

    `uid` is the object's that was recorded, empty where none was.
    """

    stack: str
    key: ObjectKey
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What judging one leftover takes besides the object.

    `workspace` is the path of ours, `living_workspaces` those of others that exist on this machine. `users` names
    what uses the object beyond its claim, as people are told it: `PersistentVolume/x` of a StorageClass, `Pod/x in y`
    of a PersistentVolume.
    """

    workspace: str
    living_workspaces: Collection[str] = ()
    users: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one leftover.

    `gone`: it does not exist, or is not ours any more, and is to be forgotten. `held`: it stays for now, because of
    `problem`. `free`: it may be deleted as it was `found`.
    """

    leftover: Leftover
    state: VerdictState
    problem: Problem | None = None
    found: ObservedObject | None = None


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What one pass deletes; with a `brake` nothing but what a person has confirmed."""

    deletions: tuple[DeleteObject, ...]
    brake: Problem | None = None


def judge_leftover(leftover: Leftover, found: ObservedObject | None, around: Surroundings) -> Verdict:
    """Return what becomes of a leftover whose object is `found` now, None when there is none."""
    if found is None or not _is_still_ours(leftover, found) or _is_others(found, around):
        return Verdict(leftover, "gone")
    problem = _find_hold(found, around)
    return Verdict(leftover, "free" if problem is None else "held", problem, found)


def plan_pruning(
    free: Sequence[Verdict], due: Collection[ObjectKey], confirmed: Collection[ObjectKey], total: int
) -> PrunePlan:
    """Return what to delete now of the leftovers that are `free`, PersistentVolumes before StorageClasses.

    `due` are those whose grace period is over. The others count for the brake too: what vanishes one after the other
    is one loss. `total` is the number of objects in the inventory, each counted once; what a person has `confirmed`
    counts neither here nor there.
    """
    doubtful = {verdict.leftover.key for verdict in free} - set(confirmed)
    is_braked = len(doubtful) > BRAKE_OBJECTS and 2 * len(doubtful) > total - len(set(confirmed))
    brake = _explain_brake(len(doubtful), total) if is_braked else None
    deletions = {
        verdict.leftover.key: DeleteObject(
            key=verdict.leftover.key,
            stack=verdict.leftover.stack,
            reason="no contract asks for it",
            uid=verdict.found.uid,
            resource_version=verdict.found.resource_version,
        )
        for verdict in free
        if verdict.found is not None
        and verdict.leftover.key in due
        and (not is_braked or verdict.leftover.key in confirmed)
    }
    # "PersistentVolume" sorts before "StorageClass": a class goes after the volumes that name it.
    return PrunePlan(tuple(deletions[key] for key in sorted(deletions)), brake)


def may_be_deleted(found: ObservedObject) -> bool:
    """Whether nobody has said, on the object, that it is to be kept."""
    return _annotations(found).get(ANNOTATION_PRUNE) != "disabled"


def is_held_by_claim(found: ObservedObject) -> bool:
    """Whether a claim holds the volume, or is being bound to it at this moment."""
    # The controller writes the claim's UID before it sets the phase; a Released volume keeps that of a claim gone.
    return found.phase == "Bound" or (bool(found.claim_uid) and found.phase != "Released")


def find_pods_using(found: ObservedObject, pods: Iterable[ObservedPod]) -> tuple[str, ...]:
    """Name the pods that use a PersistentVolume: by the claim that it has or had, or by its path itself."""
    namespace, _, claim = found.claim.partition("/")
    return tuple(
        pod.full_name
        for pod in pods
        if not pod.is_over
        and (
            (bool(claim) and pod.namespace == namespace and claim in pod.claims)
            or (bool(found.path) and pod.mounts(found.path))
        )
    )


def explain_users(key: ObjectKey, users: Collection[str]) -> Problem:
    """Say that something uses an object that would be pruned otherwise."""
    return Problem(
        "ObjectInUse",
        f"{subject_of(key)} is not asked for any more, and stays while it is used by {', '.join(sorted(users))}",
        "nothing to do: it is pruned once nobody uses it",
    )


def explain_kept(found: ObservedObject) -> Problem:
    """Say that an object's annotation keeps it."""
    return Problem(
        "PruneDisabled",
        f"{subject_of(found.key)} is kept, because its annotation says {ANNOTATION_PRUNE}: disabled",
        f"if nobody needs it: kubectl annotate {resource_of(found.key)} {found.key.name} {ANNOTATION_PRUNE}- "
        "(the data stays)",
    )


def explain_terminating(found: ObservedObject, *, is_wanted: bool) -> Problem:
    """Say what keeps an object that somebody has deleted: its claim, else its finalizers.

    `is_wanted` says that a contract asks for it, so that it is made again.
    """
    is_held = is_held_by_claim(found)
    holder = f"until its claim {found.claim} is gone" if is_held else "until its finalizers are gone"
    data = "; its data stays" if found.key.kind == "PersistentVolume" else ""
    then = "the agent makes it again as soon as it is gone" if is_wanted else "it goes by itself"
    resource = f"{resource_of(found.key)} {found.key.name}"
    stuck = f"; if it stays so, see who was to remove its finalizers: kubectl get {resource} -o yaml"
    return Problem(
        "ObjectTerminating",
        f"{subject_of(found.key)} is being deleted; Kubernetes keeps it {holder}{data}",
        f"nothing to do: {'pods go on with it, and ' if is_held else ''}{then}{'' if is_held else stuck}",
    )


def _find_hold(found: ObservedObject, around: Surroundings) -> Problem | None:
    if not may_be_deleted(found):
        return explain_kept(found)
    if found.is_terminating:
        return explain_terminating(found, is_wanted=False)
    if found.key.kind == "PersistentVolume":
        if is_held_by_claim(found):
            return _explain_claim(found)
        if found.phase not in _PRUNABLE_PHASES:
            return Problem(
                "VolumeNotSettled",
                f"{subject_of(found.key)} is not pruned while its phase is {found.phase or 'not set'}",
                f"nothing to do if that passes; else see why: kubectl describe pv {found.key.name}",
            )
    return explain_users(found.key, around.users) if around.users else None


def _is_still_ours(leftover: Leftover, found: ObservedObject) -> bool:
    """Whether it is the very object that was recorded, or one that we have applied since: the label proves neither."""
    is_same = bool(leftover.uid) and leftover.uid == found.uid
    return is_applied_by_us(found) or (is_same and is_ours(found))


def _is_others(found: ObservedObject, around: Surroundings) -> bool:
    if found.key.kind != "PersistentVolume":
        return False
    named = find_named_workspace(found)
    return named != around.workspace and named in around.living_workspaces


def _annotations(found: ObservedObject) -> Mapping[str, object]:
    metadata = found.manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return annotations if isinstance(annotations, Mapping) else {}


def _explain_claim(found: ObservedObject) -> Problem:
    namespace, _, claim = found.claim.partition("/")
    return Problem(
        "VolumeInUse",
        f"{subject_of(found.key)} is not asked for any more, and stays while the claim {found.claim} holds it",
        "bring the directory back into its contract; or, if nobody needs it: "
        f"kubectl -n {namespace} delete pvc {claim} (the data stays; the agent prunes the volume then)",
    )


def _explain_brake(number: int, total: int) -> Problem:
    return Problem(
        "PruneBrake",
        f"{number} of the {total} objects that the agent has made would be pruned, more than half: nothing is pruned "
        "until a person says so",
        "hostk8s-agent prune shows them; bring the contracts back, or: hostk8s-agent prune --confirm (the data stays)",
    )

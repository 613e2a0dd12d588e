"""What is done to an object that cannot be changed in place: replaced, left to its claim, or released to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import BlockedAction, Drift, ReleaseVolume, ReplaceObject
from hostk8s_agent.plan.pruning import explain_kept, is_held_by_claim, may_be_deleted
from hostk8s_agent.plan.wording import block, explain_drift, resource_of, subject_of

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import DesiredObject
    from hostk8s_agent.plan.observed import ObservedObject

_REPLACEABLE_PHASES = frozenset({"Available", "Released"})


def plan_replacement(
    desired: DesiredObject, found: ObservedObject, immutable: tuple[Drift, ...]
) -> ReplaceObject | BlockedAction:
    """Return how an object of ours gets the `immutable` fields that it should have.

    A StorageClass is read when a claim is bound and never again, so that replacing it is safe at any time. A
    PersistentVolume is replaced only while no claim holds it; the data stays where it is.
    """
    if not may_be_deleted(found):
        return block(desired, explain_kept(found), immutable)
    if desired.key.kind == "PersistentVolume":
        if is_held_by_claim(found):
            return block(desired, _explain_bound(found, immutable), immutable)
        if found.phase in ("", "Pending"):
            return block(desired, _explain_unsettled(found), immutable, is_waiting=True)
        if found.phase not in _REPLACEABLE_PHASES:
            return block(desired, _explain_immutable(found, immutable), immutable)
    return ReplaceObject(
        key=desired.key,
        manifest=desired.manifest,
        reason=f"{explain_drift(immutable)}, and that cannot be changed in place",
        uid=found.uid,
        resource_version=found.resource_version,
        drift=immutable,
        directory=desired.directory,
    )


def plan_release(desired: DesiredObject, found: ObservedObject) -> ReleaseVolume | None:
    """Return what makes a Released volume bindable again for the claim that had it, None when it is not one.

    Only a claim of the same namespace and name gets it: the data is what that claim's pods wrote.
    """
    if found.phase != "Released" or not found.claim_uid:
        return None
    return ReleaseVolume(
        key=desired.key,
        uid=found.uid,
        claim=found.claim,
        claim_uid=found.claim_uid,
        reason=f"its claim {found.claim} is gone; a new one of that name may bind to it",
        directory=desired.directory,
    )


def _explain_bound(found: ObservedObject, drift: tuple[Drift, ...]) -> Problem:
    namespace, _, claim = found.claim.partition("/")
    return Problem(
        "FieldImmutable",
        f"{subject_of(found.key)}: {explain_drift(drift)}, and Kubernetes does not let anyone change that while the "
        f"claim {found.claim} holds it",
        f"undo the change in the contract; or see which pods use it: kubectl -n {namespace} describe pvc {claim}; stop "
        f"them; kubectl -n {namespace} delete pvc {claim}; then make the claim and its pods again (kubectl apply -f "
        "...). The agent replaces the volume as soon as the claim is gone; the data stays at the old path",
    )


def _explain_unsettled(found: ObservedObject) -> Problem:
    return Problem(
        "VolumeNotSettled",
        f"{subject_of(found.key)} is to be replaced, and its phase is not Available yet",
        "nothing to do: it takes a moment",
    )


def _explain_immutable(found: ObservedObject, drift: tuple[Drift, ...]) -> Problem:
    return Problem(
        "FieldImmutable",
        f"{subject_of(found.key)}: {explain_drift(drift)}, and Kubernetes does not let anyone change that; "
        f"its phase is {found.phase}",
        f"undo the change in the contract, or replace the object: kubectl delete {resource_of(found.key)} "
        f"{found.key.name} (the data stays in the volume; the agent makes the object again at once)",
    )

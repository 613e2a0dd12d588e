"""A directory that a claim uses through another PersistentVolume: until that claim is gone it is nobody else's.

A second volume that leads there would give the data to a second claim; another owner or mode would take it from the
pods that work with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.contract.paths import overlap
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.ownership import is_ours
from hostk8s_agent.plan.pruning import is_held_by_claim
from hostk8s_agent.plan.wording import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.plan.desired import DesiredState, ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject


def find_occupiers(
    desired: DesiredState, existing: Mapping[ObjectKey, ObservedObject], others: Iterable[ObservedObject]
) -> Mapping[str, ObservedObject]:
    """Return through which PersistentVolume of ours a claim uses each directory that is not the stack's to have yet.

    `existing` are the stack's own objects, `others` whatever else may lead there. By the directory's name; a directory
    to which its own volume leads already is none of them.
    """
    own = (one for key, one in existing.items() if key.kind == "PersistentVolume")
    held = [(one, one.path) for one in (*own, *others) if is_ours(one) and is_held_by_claim(one)]
    found: dict[str, ObservedObject] = {}
    for wanted in desired.objects if held else ():
        if wanted.directory is None:
            continue
        path = str(wanted.manifest["spec"]["hostPath"]["path"])
        if wanted.key in existing and existing[wanted.key].path == path:
            continue
        for one, leads in held:
            if one.key != wanted.key and leads and overlap(leads, path):
                found[wanted.directory] = one
    return found


def explain_occupiers(occupiers: Mapping[str, ObservedObject]) -> dict[str, Problem]:
    """Say of each directory, by its name, that a claim uses it through another volume."""
    return {directory: _explain(one) for directory, one in occupiers.items()}


def _explain(occupier: ObservedObject) -> Problem:
    namespace, _, claim = occupier.claim.partition("/")
    return Problem(
        "DirectoryInUse",
        f"{occupier.path} in the volume is used by the claim {occupier.claim} through "
        f"{subject_of(occupier.key)}; nothing is changed there, and no second volume leads there",
        "undo the change in the contract; or, if nobody needs that claim: "
        f"kubectl -n {namespace} delete pvc {claim} (the data stays; the agent goes on by itself then)",
    )

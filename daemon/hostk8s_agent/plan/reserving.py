"""A PersistentVolume that is made anew is reserved for the claim that held it before, and for as long as that fits.

A reservation is a `spec.claimRef` with namespace and name and never a uid: the volume controller binds the claim of
that name when it comes, adds the uid, and gives the volume to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostk8s_agent.contract.quantities import parse_quantity
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.objects import FIELD_MANAGER

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import Manifest
    from hostk8s_agent.plan.observed import ObservedClaim, ObservedObject

_REFERENCE_FIELDS = ("apiVersion", "kind", "namespace", "name")


@dataclass(frozen=True, slots=True)
class Holding:
    """Who held a PersistentVolume.

    `claim` is `namespace/name`, `cluster` the UID of the `kube-system` namespace there. `path` is where the data was
    then. `storage_class`, `access_modes` and `requested` (a quantity) are what the claim asked for; the last two are
    empty where nobody saw it.
    """

    claim: str
    cluster: str
    path: str
    storage_class: str
    access_modes: tuple[str, ...] = ()
    requested: str = ""


def is_reserved(observed: ObservedObject) -> bool:
    """Whether a volume waits for a claim by name that has not come: there is a claimRef without a uid."""
    return bool(observed.claim) and not observed.claim_uid and observed.phase != "Bound"


def may_reserve(holding: Holding, volume: Manifest, claim: ObservedClaim | None) -> bool:
    """Say whether a volume that is made anew is to wait for the claim that held it.

    `claim` is the one that has that name in the cluster now, None when there is none. Not for a claim that has a
    volume already, and not for one that could never bind to this one: it would wait for ever, and so would whoever
    could. A claim that names this volume itself and has lost it is left to Kubernetes, which takes a reserved
    volume for somebody else's then.
    """
    if claim is not None and claim.volume_name:
        return False
    spec = volume["spec"]
    if claim is None:
        asked = holding.storage_class, holding.access_modes, holding.requested
    else:
        asked = claim.storage_class, claim.access_modes, claim.requested
    storage_class, access_modes, requested = asked
    return (
        holding.path == spec["hostPath"]["path"]
        and storage_class == spec["storageClassName"]
        and _fits(spec, access_modes, requested)
    )


def reserve_for(volume: Manifest, claim: str) -> Manifest:
    """Return the manifest of a volume that only the claim `namespace/name` can have."""
    namespace, _, name = claim.partition("/")
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}
    return {**volume, "spec": {**volume["spec"], "claimRef": reference}}


def explain_reservation(observed: ObservedObject, waiting: Iterable[ObservedClaim]) -> Problem | None:
    """Return what to tell of a reserved volume that a claim of another name could have, None when there is none.

    `waiting` are the claims of the volume's StorageClass.
    """
    spec = observed.manifest.get("spec")
    if not is_reserved(observed) or not isinstance(spec, Mapping):
        return None
    claims = tuple(waiting)
    others = [one.full_name for one in claims if not one.volume_name and _fits(spec, one.access_modes, one.requested)]
    if not others or any(one.full_name == observed.claim for one in claims):
        return None
    name = observed.key.name
    return Problem(
        "VolumeReserved",
        f"PersistentVolume/{name} is reserved for the claim {observed.claim}, which held it before and does not exist; "
        f"the claim {others[0]} waits for a volume",
        f"make the claim {observed.claim} again, or give the volume to the other with its data: "
        f"hostk8s-agent release {name} --for {others[0]}",
    )


def _fits(spec: Mapping[str, Any], access_modes: Iterable[str], requested: str) -> bool:
    """Whether a volume with this spec can serve a claim, its class apart; what a claim does not say it does not ask."""
    is_large_enough = not requested or parse_quantity(requested) <= parse_quantity(spec["capacity"]["storage"])
    return is_large_enough and set(access_modes) <= set(spec["accessModes"])


def keep_claim(volume: Manifest, observed: ObservedObject) -> Manifest:
    """Return the manifest with those fields of the claimRef that an earlier apply of ours has set, as they are now.

    Server-side apply removes what the manager applied before and does not apply any more: without this, the next
    change of a label would take the volume away from its claim. What anybody else has set is not ours to send.
    """
    ours = _find_own_reference_fields(observed)
    spec = observed.manifest.get("spec")
    reference = spec.get("claimRef") if isinstance(spec, Mapping) else None
    if not ours or not isinstance(reference, Mapping):
        return volume
    kept = {name: reference[name] for name in ours if name in reference}
    return {**volume, "spec": {**volume["spec"], "claimRef": kept}} if kept else volume


def _find_own_reference_fields(observed: ObservedObject) -> tuple[str, ...]:
    for manager in observed.managers:
        if manager.name == FIELD_MANAGER and manager.operation == "Apply":
            level: Any = manager.fields
            for part in ("f:spec", "f:claimRef"):
                level = level.get(part) if isinstance(level, Mapping) else None
            if isinstance(level, Mapping):
                return tuple(name for name in _REFERENCE_FIELDS if f"f:{name}" in level)
    return ()

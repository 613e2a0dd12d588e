"""Whether the nodes of the cluster have the volume, and what that allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.plan.objects import FIELD_MANAGER

if TYPE_CHECKING:
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.desired import Manifest
    from hostk8s_agent.plan.observed import ObservedObject

# The label by which a pod is bound to a node; Kind's nodes have the names of their containers.
_HOSTNAME_LABEL = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class MountFinding:
    """What is known of the nodes' mounts now.

    `problem` says why no PersistentVolume may be made, None when they may; `is_waiting` that this passes by itself.
    `nodes` are those that have the volume where not all have it: volumes are made for these alone; else empty.
    `warning` is told besides. `words` say for `status` what was checked, or why it could not be.
    """

    problem: Problem | None = None
    is_waiting: bool = False
    nodes: tuple[str, ...] = ()
    warning: Problem | None = None
    words: str = ""


def keep_to_nodes(volume: Manifest, nodes: tuple[str, ...]) -> Manifest:
    """Return the manifest of a volume that only pods on these nodes can have; unchanged without any."""
    if not nodes:
        return volume
    expression = {"key": _HOSTNAME_LABEL, "operator": "In", "values": sorted(nodes)}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    return {**volume, "spec": {**volume["spec"], "nodeAffinity": affinity}}


def keep_affinity(volume: Manifest, observed: ObservedObject) -> Manifest:
    """Return the manifest with the node affinity that an earlier apply of ours has set.

    Nobody can change or remove it (422), and server-side apply would try to remove what is not applied again.
    """
    spec = observed.manifest.get("spec")
    affinity = spec.get("nodeAffinity") if isinstance(spec, Mapping) else None
    is_ours = any(
        manager.name == FIELD_MANAGER and manager.operation == "Apply" and _has_affinity(manager.fields)
        for manager in observed.managers
    )
    return {**volume, "spec": {**volume["spec"], "nodeAffinity": affinity}} if affinity and is_ours else volume


def _has_affinity(fields: Mapping[str, object]) -> bool:
    spec = fields.get("f:spec")
    return isinstance(spec, Mapping) and "f:nodeAffinity" in spec

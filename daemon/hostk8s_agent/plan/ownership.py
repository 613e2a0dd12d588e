"""Whose an object is: ours, one that `kubectl apply` made for HostK8s and that we adopt, or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hostk8s_agent.contract.naming import LABEL_STACK
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.objects import ANNOTATION_WORKSPACE, FIELD_MANAGER, LABEL_MANAGED_BY, PROVISIONER

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import DesiredObject, DesiredState
    from hostk8s_agent.plan.observed import ObservedObject, ObservedState

# What `kubectl apply` writes as, client-side and server-side: HostK8s' script makes its objects with it.
_ADOPTABLE_MANAGERS = ("kubectl-client-side-apply", "kubectl")


def is_ours(observed: ObservedObject) -> bool:
    """Whether we apply this object: our field manager holds fields of it, or it still has our label.

    The label alone counts, because `kubectl replace` throws all field managers away.
    """
    return is_applied_by_us(observed) or _labels(observed).get(LABEL_MANAGED_BY) == FIELD_MANAGER


def is_applied_by_us(observed: ObservedObject) -> bool:
    """Whether the object has fields that we applied: what a label says can be copied, this cannot."""
    return any(manager.name == FIELD_MANAGER and manager.operation == "Apply" for manager in observed.managers)


def find_adoptable_manager(desired: DesiredObject, observed: ObservedObject) -> str | None:
    """Return the manager whose fields are to be taken over, None when the object was not made for HostK8s.

    HostK8s' objects are known by what its script writes: the stack's label on a PersistentVolume, the
    provisioner of a StorageClass (those carry no label).
    """
    if desired.key.kind == "PersistentVolume":
        label = desired.manifest["metadata"]["labels"][LABEL_STACK]
        is_for_hostk8s = _labels(observed).get(LABEL_STACK) == label
    else:
        is_for_hostk8s = observed.manifest.get("provisioner") == PROVISIONER
    names = [manager.name for manager in observed.managers if manager.name in _ADOPTABLE_MANAGERS]
    return names[0] if is_for_hostk8s and names else None


def find_other_workspaces(desired: DesiredState, observed: ObservedState) -> frozenset[str]:
    """Return the workspaces, by path, that PersistentVolumes of the stack say they belong to, other than ours."""
    if isinstance(observed.objects, Problem):
        return frozenset()
    found = (find_other_workspace(one, observed.objects.get(one.key)) for one in desired.objects)
    return frozenset(filter(None, found))


def find_other_workspace(desired: DesiredObject, observed: ObservedObject | None) -> str | None:
    """Return the workspace that a PersistentVolume of ours says it belongs to, None when that is this one or none.

    A StorageClass belongs to no workspace: all its fields are fixed, so that several can share it.
    """
    if observed is None or desired.key.kind != "PersistentVolume" or not is_ours(observed):
        return None
    named = find_named_workspace(observed)
    ours = desired.manifest["metadata"]["annotations"][ANNOTATION_WORKSPACE]
    return named if named != ours else None


def find_named_workspace(observed: ObservedObject) -> str | None:
    """Return the workspace that an object says it belongs to, None when it says nothing."""
    metadata = observed.manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    named = annotations.get(ANNOTATION_WORKSPACE) if isinstance(annotations, Mapping) else None
    return named if isinstance(named, str) else None


def render_managers(observed: ObservedObject) -> str:
    """Name the field managers of an object for a person, without doubles, in the server's order."""
    names = dict.fromkeys(manager.name for manager in observed.managers)
    return ", ".join(names) or "an unknown field manager"


def _labels(observed: ObservedObject) -> Mapping[str, Any]:
    metadata = observed.manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return labels if isinstance(labels, Mapping) else {}

"""What makes pods and can be scaled: Deployments, ReplicaSets and StatefulSets, asked for when somebody has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hostk8s_agent.cluster.errors import ObjectChangedError, ObjectInvalidError, ObjectMissingError
from hostk8s_agent.cluster.objects import mapping, mappings, text
from hostk8s_agent.cluster.requests import JSON_PATCH, ClusterClient, Request
from hostk8s_agent.plan.objects import FIELD_MANAGER
from hostk8s_agent.plan.observed import ObservedWorkload, OwnerReference

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLLECTIONS = {"Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets"}


def parse_owner(metadata: Mapping[str, Any]) -> OwnerReference | None:
    """Return the controller of the object with this metadata, None when it has none."""
    for one in mappings(metadata.get("ownerReferences")):
        if one.get("controller") is True:
            return OwnerReference(text(one.get("kind")), text(one.get("name")), text(one.get("uid")))
    return None


def find_workload(client: ClusterClient, namespace: str, owner: OwnerReference) -> ObservedWorkload | None:
    """Return the workload that is an owner; None when it is gone, another one by now, or of no kind that is scaled.

    Raises the `ClusterError` of a failure.
    """
    if owner.kind not in _COLLECTIONS:
        return None
    try:
        raw = client.send(Request("get", _path(namespace, owner), f"get {owner.kind}/{owner.name} in {namespace}"))
    except ObjectMissingError:
        return None
    found = _parse(owner.kind, raw)
    return found if found.uid == owner.uid else None


def scale_workload(
    client: ClusterClient, workload: ObservedWorkload, replicas: int, annotation: tuple[str, str]
) -> ObservedWorkload:
    """Set the replicas, and an annotation (an empty value takes it away), if the workload is as it was observed.

    Raises `ObjectChangedError` for one that somebody changed meanwhile, and the `ClusterError` of a failure.
    """
    name, value = annotation
    place = f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}"
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": workload.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": workload.resource_version},
    ]
    if not workload.annotations and value:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    if value:
        operations.append({"op": "add", "path": place, "value": value})
    elif name in workload.annotations:
        operations.append({"op": "remove", "path": place})
    operations.append({"op": "add", "path": "/spec/replicas", "value": replicas})
    subject = f"scale {workload.name} to {replicas}"
    path = _path(workload.namespace, workload.reference)
    try:
        raw = client.send(Request("patch", path, subject, {"fieldManager": FIELD_MANAGER}, operations, JSON_PATCH))
    except ObjectInvalidError as error:
        # 422: a test of the patch failed (RFC 6902, 5).
        raise ObjectChangedError(f"{subject}: somebody changed it meanwhile", hint="try again") from error
    return _parse(workload.reference.kind, raw)


def _path(namespace: str, owner: OwnerReference) -> str:
    collection = _COLLECTIONS[owner.kind]
    return f"/apis/apps/v1/namespaces/{quote(namespace, safe='')}/{collection}/{quote(owner.name, safe='')}"


def _parse(kind: str, raw: Mapping[str, Any]) -> ObservedWorkload:
    metadata = mapping(raw.get("metadata"))
    replicas = mapping(raw.get("spec")).get("replicas")
    annotations = mapping(metadata.get("annotations"))
    return ObservedWorkload(
        namespace=text(metadata.get("namespace")),
        reference=OwnerReference(kind, text(metadata.get("name")), text(metadata.get("uid"))),
        resource_version=text(metadata.get("resourceVersion")),
        # The server fills in 1 where nothing is said (apps/v1, DeploymentSpec.replicas).
        replicas=replicas if isinstance(replicas, int) else 1,
        annotations={name: value for name, value in annotations.items() if isinstance(value, str)},
        owner=parse_owner(metadata),
    )

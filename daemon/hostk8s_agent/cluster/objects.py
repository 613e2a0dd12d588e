"""From the JSON of the API server to observed values. A malformed object is an error of its own, never a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from hostk8s_agent.cluster.errors import ClusterAnswerError
from hostk8s_agent.plan.desired import ObjectKey, ObjectKind
from hostk8s_agent.plan.observed import FieldManager, ObservedClaim, ObservedObject

if TYPE_CHECKING:
    from hostk8s_agent.cluster.resources import Resource


def parse_object(resource: Resource, raw: object) -> ObservedObject:
    """Return the StorageClass or PersistentVolume that `raw` is.

    Name, uid and resource version are required; anything else that is missing or of another type counts as
    absent. Raises `ClusterAnswerError` otherwise.
    """
    metadata = _require_metadata(resource, raw)
    body = cast("Mapping[str, Any]", raw)
    manifest = {
        # The items of a list carry neither.
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        **{name: value for name, value in body.items() if name not in ("apiVersion", "kind")},
        "metadata": {name: value for name, value in metadata.items() if name != "managedFields"},
    }
    is_volume = resource.kind == "PersistentVolume"
    return ObservedObject(
        key=ObjectKey(cast("ObjectKind", resource.kind), metadata["name"]),
        manifest=manifest,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        managers=_parse_managers(metadata.get("managedFields")),
        phase=text(mapping(body.get("status")).get("phase")) if is_volume else "",
        claim=_parse_claim_reference(body) if is_volume else "",
        claim_uid=text(mapping(mapping(body.get("spec")).get("claimRef")).get("uid")) if is_volume else "",
        is_terminating=bool(metadata.get("deletionTimestamp")),
    )


def parse_claim(resource: Resource, raw: object) -> tuple[ObservedClaim, str]:
    """Return the claim that `raw` is, and its resource version. Raises `ClusterAnswerError` as `parse_object`."""
    metadata = _require_metadata(resource, raw)
    body = cast("Mapping[str, Any]", raw)
    spec = mapping(body.get("spec"))
    modes = spec.get("accessModes")
    claim = ObservedClaim(
        namespace=text(metadata.get("namespace")),
        name=metadata["name"],
        phase=text(mapping(body.get("status")).get("phase")),
        volume_name=text(spec.get("volumeName")),
        storage_class=text(spec.get("storageClassName")),
        access_modes=tuple(sorted(text(one) for one in modes)) if isinstance(modes, list) else (),
        requested=text(mapping(mapping(spec.get("resources")).get("requests")).get("storage")),
    )
    return claim, metadata["resourceVersion"]


def describe_malformed(resource: Resource, raw: object) -> str:
    """Return what can be said of an object that could not be parsed, for instance `PersistentVolume/x`."""
    name = mapping(mapping(raw).get("metadata")).get("name")
    return f"{resource.kind}/{name if isinstance(name, str) else '?'}"


def class_of(found: ObservedObject) -> str:
    """Return the StorageClass that a PersistentVolume names, empty for any other object."""
    is_volume = found.key.kind == "PersistentVolume"
    return text(mapping(found.manifest.get("spec")).get("storageClassName")) if is_volume else ""


def order_of(resource_version: str) -> int:
    """Return a resource version as a number, 0 where it is none.

    Resource versions of one resource type in one cluster can be ordered (KEP-5504; etcd's revision in fact).
    """
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else 0


def _require_metadata(resource: Resource, raw: object) -> Mapping[str, Any]:
    metadata = mapping(mapping(raw).get("metadata"))
    missing = [
        name
        for name in ("name", "uid", "resourceVersion")
        if not isinstance(metadata.get(name), str) or not metadata[name]
    ]
    if missing:
        raise ClusterAnswerError(
            f"the API server sent {describe_malformed(resource, raw)} without {', '.join(missing)}",
            hint="the agent goes on with what it knew of the object; kubectl get shows what is stored",
        )
    return metadata


def _parse_managers(raw: object) -> tuple[FieldManager, ...]:
    entries = raw if isinstance(raw, list) else []
    return tuple(
        FieldManager(
            name=text(entry.get("manager")),
            operation="Apply" if entry.get("operation") == "Apply" else "Update",
            fields=_share_fields(json.dumps(mapping(entry.get("fieldsV1")))),
        )
        for entry in entries
        if isinstance(entry, Mapping)
    )


@lru_cache(maxsize=256)
def _share_fields(fields: str) -> Mapping[str, Any]:
    """Return the fields as one value for all objects that have the same ones, which most of ours do.

    They are the larger half of an object: without this, a thousand stacks take 6 MB more.
    """
    shared: Mapping[str, Any] = json.loads(fields)
    return shared


def _parse_claim_reference(body: Mapping[str, Any]) -> str:
    reference = mapping(mapping(body.get("spec")).get("claimRef"))
    namespace, name = text(reference.get("namespace")), text(reference.get("name"))
    return f"{namespace}/{name}" if name else ""


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return those items of a JSON list that are objects; empty when it is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, empty where it is something else."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """Return a JSON string, empty where it is something else."""
    return value if isinstance(value, str) else ""

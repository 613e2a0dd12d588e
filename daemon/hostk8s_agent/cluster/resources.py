"""The three kinds of objects that are mirrored, and where the API server has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import ObjectKind

MirroredKind = Literal["StorageClass", "PersistentVolume", "PersistentVolumeClaim"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API: `path` is the collection's, for all namespaces."""

    kind: MirroredKind
    api_version: str
    path: str


STORAGE_CLASSES = Resource("StorageClass", "storage.k8s.io/v1", "/apis/storage.k8s.io/v1/storageclasses")
PERSISTENT_VOLUMES = Resource("PersistentVolume", "v1", "/api/v1/persistentvolumes")
CLAIMS = Resource("PersistentVolumeClaim", "v1", "/api/v1/persistentvolumeclaims")

MIRRORED = (STORAGE_CLASSES, PERSISTENT_VOLUMES, CLAIMS)

_COLLECTIONS: dict[ObjectKind, Resource] = {
    "StorageClass": STORAGE_CLASSES,
    "PersistentVolume": PERSISTENT_VOLUMES,
}


def find_resource(kind: ObjectKind) -> Resource:
    """Return the resource that has the objects of a kind."""
    return _COLLECTIONS[kind]


def object_path(kind: ObjectKind, name: str) -> str:
    """Return the path of one cluster-scoped object, for instance `/api/v1/persistentvolumes/hostk8s-a-b-pv`."""
    return f"{_COLLECTIONS[kind].path}/{quote(name, safe='')}"

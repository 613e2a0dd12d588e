"""What Docker and Kubernetes answered at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hostk8s_agent.contract.paths import VOLUME_ROOT, is_at_or_in, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.desired import Manifest, ObjectKey

EntryKind = Literal["directory", "absent", "file", "symlink", "other", "unreadable"]
"""What stands at a path, never following a link. `other` is a FIFO, socket or device."""


@dataclass(frozen=True, slots=True)
class ObservedDirectory:
    """What stands in the volume at a declared path.

    `path` is the contract's (`/mnt/pv/...`). `uid`, `gid` and `mode` (permission bits, setuid, setgid and sticky
    included, 0o7777) are known for a directory alone. `obstacle` is the path of the component that is no
    directory: the path itself, or a parent of it (then `kind` is the obstacle's kind). `detail` says in words why
    something could not be read.
    """

    path: str
    kind: EntryKind
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    obstacle: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FieldManager:
    """One entry of `metadata.managedFields`.

    `fields` is the entry's `fieldsV1` as the server gave it (keys such as `f:spec`), empty where it is not known.
    """

    name: str
    operation: Literal["Apply", "Update"]
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedClaim:
    """A PersistentVolumeClaim. `phase` is Pending, Bound or Lost.

    `volume_name` is empty until it has a volume or names one; `requested` is the storage that it asks for, a quantity.
    """

    namespace: str
    name: str
    phase: str
    volume_name: str
    storage_class: str
    access_modes: tuple[str, ...] = ()
    requested: str = ""

    @property
    def full_name(self) -> str:
        """Namespace and name, as a PersistentVolume's claim is told."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One container of a pod.

    `container_id` is as the kubelet tells it (`containerd://...`), empty while it has none; `claims` are the names of
    the claims that it mounts, `host_paths` the node's paths that it mounts past any claim, both sorted. The kubelet
    tells a start up to seconds later: one that is neither running nor over may run.
    """

    name: str
    container_id: str
    is_running: bool
    claims: tuple[str, ...]
    is_over: bool = False
    host_paths: tuple[str, ...] = ()

    def mounts(self, path: str) -> bool:
        """Whether it mounts a path of the volume itself, something in it, or around it."""
        return leads_to(self.host_paths, path)


@dataclass(frozen=True, slots=True)
class OwnerReference:
    """The controller of an object (`metadata.ownerReferences`, the one with `controller: true`)."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ObservedWorkload:
    """A Deployment, ReplicaSet or StatefulSet as the API server has it at an instant; `owner` is what made it."""

    namespace: str
    reference: OwnerReference
    resource_version: str
    replicas: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: OwnerReference | None = None

    @property
    def uid(self) -> str:
        """What tells it from a later one of its name."""
        return self.reference.uid

    @property
    def name(self) -> str:
        """As people are told it."""
        return f"{self.reference.kind}/{self.reference.name} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """One pod as the API server has it at an instant; nobody mirrors pods.

    `phase` is Pending, Running, Succeeded, Failed or Unknown; `claims` are the names of all claims that the pod has as
    volumes, sorted, whether a container mounts them or not, and so `host_paths` the node's paths (`hostPath`); `node`
    is empty until it is scheduled; `annotations` are those whose values are text. `owner` is what made it,
    None for one that stands by itself; `restarts` says that a container that is killed is started anew
    (`restartPolicy`).
    """

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    claims: tuple[str, ...]
    containers: tuple[ObservedContainer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_paths: tuple[str, ...] = ()
    owner: OwnerReference | None = None
    restarts: bool = True

    @property
    def full_name(self) -> str:
        """The pod as people are told it."""
        return f"Pod/{self.name} in {self.namespace}"

    def mounts(self, path: str) -> bool:
        """Whether it has a path of the volume itself as a volume, something in it, or around it."""
        return leads_to(self.host_paths, path)

    @property
    def is_over(self) -> bool:
        """Whether none of its containers runs or will run again."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class ObservedObject:
    """One StorageClass or PersistentVolume as the API server has it.

    `manifest` is the object without `metadata.managedFields`; `phase` and `claim` (`namespace/name` of
    `spec.claimRef`) are a PersistentVolume's, else empty; `claim_uid` is that claim's UID, empty where the volume is
    only reserved for whoever has the claim's name; `is_terminating` says that a deletion is under way; `is_in_file`
    that it stands in a file because there is no cluster, where nothing is immutable.
    """

    key: ObjectKey
    manifest: Manifest
    uid: str
    resource_version: str
    managers: tuple[FieldManager, ...] = ()
    phase: str = ""
    claim: str = ""
    claim_uid: str = ""
    is_terminating: bool = False
    is_in_file: bool = False

    @property
    def path(self) -> str:
        """The node's path that a PersistentVolume leads to, empty where it has none or none that can be read."""
        spec = self.manifest.get("spec")
        if not isinstance(spec, Mapping):
            return ""
        for source in ("hostPath", "local"):
            found = spec.get(source)
            path = found.get("path") if isinstance(found, Mapping) else None
            if path and isinstance(path, str):
                return path
        return ""


@dataclass(frozen=True, slots=True)
class ObservedState:
    """The state of one stack's directories and objects.

    A side that could not be observed is a `Problem`, never an empty mapping: unreadable is never absent.
    Directories are keyed by path; a path that was asked for is always there. Objects are keyed by
    `ObjectKey`; an object that does not exist is not there.
    """

    directories: Mapping[str, ObservedDirectory] | Problem
    objects: Mapping[ObjectKey, ObservedObject] | Problem


def leads_to(host_paths: Iterable[str], path: str) -> bool:
    """Say whether one of a node's paths leads to a path of the volume, into it, or around it within the volume.

    What has the whole node as a volume (`/`) looks after the node: it would count as a user of everything for good.
    """
    return any(is_at_or_in(one, VOLUME_ROOT) and overlap(one, path) for one in host_paths)

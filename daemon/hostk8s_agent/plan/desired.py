"""What a contract asks for: directories in the volume, StorageClasses and PersistentVolumes in the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

ObjectKind = Literal["StorageClass", "PersistentVolume"]

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON has it. Read only by agreement: nobody changes one after it is made."""


class ObjectKey(NamedTuple):
    """Which cluster-scoped object: sorts by kind, then by name."""

    kind: ObjectKind
    name: str


@dataclass(frozen=True, slots=True)
class DesiredDirectory:
    """One directory that a contract declares.

    `path` is the contract's (`/mnt/pv/...`), `mode` the permission bits alone (0o755), owner and mode hold for
    this directory only, never for what is in it.
    """

    name: str
    path: str
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, slots=True)
class DesiredObject:
    """One StorageClass or PersistentVolume, with the fields that we hold an opinion on and no others.

    `directory` names the contract's directory that a PersistentVolume stands for, None for a StorageClass.
    """

    key: ObjectKey
    manifest: Manifest
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All that one stack's contract asks for, in the order of the contract; StorageClasses come first."""

    stack: str
    directories: tuple[DesiredDirectory, ...]
    objects: tuple[DesiredObject, ...]

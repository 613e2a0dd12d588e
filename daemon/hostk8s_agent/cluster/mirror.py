"""What the API server told us last of all StorageClasses, PersistentVolumes and claims.

A mirror holds the state of one cluster. It is filled by lists and watches, and by the answers of our own writes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hostk8s_agent.cluster.objects import class_of, order_of
from hostk8s_agent.cluster.volume_paths import VolumePaths
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import ObservedClaim, ObservedObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.cluster.resources import MirroredKind

ClaimKey = tuple[str, str]
"""Namespace and name."""

ClaimEntry = tuple[ObservedClaim, str]
"""A claim and its resource version."""


_Member = TypeVar("_Member")


@dataclass(slots=True, eq=False)
class OwnWrite:
    """A write of ours that is under way: the resource versions of the object that were seen meanwhile."""

    key: ObjectKey
    seen: list[int] = field(default_factory=list)


class Mirror:
    """Safe from several threads. Methods that change it return the keys of which someone should be told.

    Our own writes are told to nobody: a resource version that we were answered is not news, whether the watch
    brings it before the answer or after it. What others do to the same object is.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[ObjectKey, ObservedObject] = {}
        self._claims: dict[ClaimKey, ClaimEntry] = {}
        self._claims_by_volume: dict[str, set[ClaimKey]] = {}
        self._claims_by_class: dict[str, set[ClaimKey]] = {}
        self._volumes_by_claim: dict[str, set[str]] = {}
        self._volumes_by_class: dict[str, set[str]] = {}
        self._volume_paths = VolumePaths()
        self._writes: dict[ObjectKey, list[OwnWrite]] = {}
        self._written_during_list: dict[str, set[ObjectKey]] = {}

    def clear(self) -> None:
        """Forget everything: it is another cluster now."""
        with self._lock:
            self._objects.clear()
            self._claims.clear()
            self._claims_by_volume.clear()
            self._claims_by_class.clear()
            self._volumes_by_claim.clear()
            self._volumes_by_class.clear()
            self._volume_paths.clear()

    def find_objects(self, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        """Return those of the objects that exist."""
        with self._lock:
            return {key: self._objects[key] for key in keys if key in self._objects}

    def find_claims_of_volume(self, volume: str) -> tuple[ObservedClaim, ...]:
        """Return the claims that are bound to the PersistentVolume or ask for it by name, sorted."""
        return self._find_claims(self._claims_by_volume, volume)

    def find_claim(self, namespace: str, name: str) -> ObservedClaim | None:
        """Return the claim, None when there is none."""
        with self._lock:
            entry = self._claims.get((namespace, name))
            return entry[0] if entry is not None else None

    def find_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        """Return the claims that name the StorageClass, sorted."""
        return self._find_claims(self._claims_by_class, storage_class)

    def find_volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that lead to a path of the node, into it, or to what it lies in."""
        with self._lock:
            return self._find_volumes(self._volume_paths.find(path))

    def find_volumes_of_class(self, storage_class: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that name the StorageClass, sorted."""
        with self._lock:
            return self._find_volumes(self._volumes_by_class.get(storage_class, ()))

    def _find_volumes(self, names: Iterable[str]) -> tuple[ObservedObject, ...]:
        return tuple(self._objects[ObjectKey("PersistentVolume", name)] for name in sorted(names))

    def _find_claims(self, index: Mapping[str, set[ClaimKey]], name: str) -> tuple[ObservedClaim, ...]:
        with self._lock:
            return tuple(self._claims[key][0] for key in sorted(index.get(name, ())))

    # Lists

    def begin_list(self, kind: MirroredKind) -> None:
        """Say that a list is about to be asked for: what we write from now on may be missing in it."""
        with self._lock:
            self._written_during_list[kind] = set()

    def replace_objects(
        self, kind: MirroredKind, listed: Mapping[ObjectKey, ObservedObject], version: str
    ) -> set[ObjectKey]:
        """Make the mirror's objects of one kind those of a list; `version` is the list's resource version."""
        with self._lock:
            kept = {
                key
                for key in self._written_during_list.pop(kind, set())
                if key in self._objects and order_of(self._objects[key].resource_version) > order_of(version)
            }
            seen: dict[ObjectKey, str] = {}
            for key in [one for one in self._objects if one.kind == kind and one not in listed and one not in kept]:
                self._store(key, None)
                seen[key] = version
            for key, found in listed.items():
                before = self._objects.get(key)
                if key in kept or (before is not None and _is_same(before, found)):
                    continue
                self._store(key, found)
                seen[key] = found.resource_version
            return {key for key, its_version in seen.items() if not self._note(key, its_version)}

    def replace_claims(self, listed: Mapping[ClaimKey, ClaimEntry]) -> set[ObjectKey]:
        """Make the mirror's claims those of a list."""
        with self._lock:
            told: set[ObjectKey] = set()
            for key in [one for one in self._claims if one not in listed]:
                told |= self._store_claim(key, None)
            for key, entry in listed.items():
                if self._claims.get(key) != entry:
                    told |= self._store_claim(key, entry)
            return told

    # Watches

    def observe_object(self, found: ObservedObject, *, is_deleted: bool = False) -> set[ObjectKey]:
        """Take in a watch event: the object as it is now, or as it was when it was deleted."""
        key = found.key
        with self._lock:
            before = self._objects.get(key)
            if is_deleted:
                if before is None or before.uid != found.uid:
                    return set()
                self._store(key, None)
            else:
                if before is not None and order_of(found.resource_version) <= order_of(before.resource_version):
                    # Known from our own write, or older than it: then our write has seen it and gone over it.
                    return set()
                self._store(key, found)
            return set() if self._note(key, found.resource_version) else {key}

    def observe_claim(self, key: ClaimKey, entry: ClaimEntry | None) -> set[ObjectKey]:
        """Take in a watch event of a claim; return the PersistentVolumes that it refers to or did.

        Besides the StorageClass of one that has, or had, no volume yet.
        """
        with self._lock:
            return set() if self._claims.get(key) == entry else self._store_claim(key, entry)

    # Our own writes

    def begin_write(self, key: ObjectKey) -> OwnWrite:
        """Say that we are about to write the object: what the watch tells of it may be our own doing."""
        write = OwnWrite(key)
        with self._lock:
            self._writes.setdefault(key, []).append(write)
        return write

    def end_write(self, write: OwnWrite, written: ObservedObject | None) -> set[ObjectKey]:
        """Take in the answer of the write, None when it failed; return the key if others changed it meanwhile."""
        with self._lock:
            others = self._writes[write.key]
            others.remove(write)
            if not others:
                del self._writes[write.key]
            if written is None:
                return {write.key} if write.seen else set()
            version = order_of(written.resource_version)
            before = self._objects.get(write.key)
            # A version seen beyond ours is of a deletion too, after which nothing is stored.
            if max(write.seen, default=0) <= version and (
                before is None or order_of(before.resource_version) < version
            ):
                self._store(write.key, written)
            for kind, keys in self._written_during_list.items():
                if kind == write.key.kind:
                    keys.add(write.key)
            return {write.key} if any(seen > version for seen in write.seen) else set()

    def _note(self, key: ObjectKey, version: str) -> bool:
        """Leave telling to the write that is under way, if there is one."""
        writes = self._writes.get(key, ())
        for write in writes:
            write.seen.append(order_of(version))
        return bool(writes)

    # Storing, with the indexes

    def _store(self, key: ObjectKey, found: ObservedObject | None) -> None:
        before = self._objects.pop(key, None)
        if before is not None:
            self._volume_paths.discard(before)
            if before.claim:
                _discard(self._volumes_by_claim, before.claim, key.name)
            if storage_class := class_of(before):
                _discard(self._volumes_by_class, storage_class, key.name)
        if found is not None:
            self._objects[key] = found
            self._volume_paths.add(found)
            if found.claim:
                self._volumes_by_claim.setdefault(found.claim, set()).add(key.name)
            if storage_class := class_of(found):
                self._volumes_by_class.setdefault(storage_class, set()).add(key.name)

    def _store_claim(self, key: ClaimKey, entry: ClaimEntry | None) -> set[ObjectKey]:
        before = self._claims.pop(key, None)
        volumes = set(self._volumes_by_claim.get("/".join(key), ()))
        classes = {one[0].storage_class for one in (before, entry) if one is not None and not one[0].volume_name}
        if before is not None:
            _discard(self._claims_by_volume, before[0].volume_name, key)
            _discard(self._claims_by_class, before[0].storage_class, key)
            volumes.add(before[0].volume_name)
        if entry is not None:
            self._claims[key] = entry
            self._claims_by_volume.setdefault(entry[0].volume_name, set()).add(key)
            self._claims_by_class.setdefault(entry[0].storage_class, set()).add(key)
            volumes.add(entry[0].volume_name)
        # A claim that waits for a volume concerns whoever has one of its class.
        return {ObjectKey("PersistentVolume", name) for name in volumes if name} | {
            ObjectKey("StorageClass", name) for name in classes if name
        }


def _is_same(one: ObservedObject, other: ObservedObject) -> bool:
    return one.uid == other.uid and one.resource_version == other.resource_version


def _discard(index: dict[str, set[_Member]], name: str, member: _Member) -> None:
    members = index.get(name, set())
    members.discard(member)
    if not members:
        index.pop(name, None)

"""Without a cluster: the objects that would be applied, as files that a person can read and `kubectl apply`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from hostk8s_agent.cluster.errors import ManifestFolderError, ObjectMissingError
from hostk8s_agent.cluster.objects import class_of
from hostk8s_agent.cluster.yaml_text import parse_yaml
from hostk8s_agent.plan.actions import ReleaseVolume
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.objects import FIELD_MANAGER
from hostk8s_agent.plan.observed import (
    FieldManager,
    ObservedClaim,
    ObservedObject,
    ObservedPod,
    ObservedWorkload,
    OwnerReference,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.errors import ClusterError
    from hostk8s_agent.plan.actions import DeleteObject, ObjectAction

PHASE = "Manifest"
"""The phase of a PersistentVolume that stands in a file."""

_HEADER = """\
# The storage of the stack {stack}, as hostk8s-agent would apply it to a cluster.
# Written by hostk8s-agent, because no cluster is configured: edits are overwritten. Change the stack's contract.
"""
_KINDS = ("StorageClass", "PersistentVolume")
_ORDER = {kind: place for place, kind in enumerate(_KINDS)}
# Ours are a kilobyte for each directory. What is larger was not written by us, and is drift.
_SIZE_LIMIT_BYTES = 4 * 1024 * 1024


class _Dumper(yaml.SafeDumper):
    """Writes every value out: a reader need not know YAML's anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Write the same value twice rather than refer to it."""
        del data
        return True


class ManifestFiles:
    """Implements `ClusterAccess` with one multi-document YAML file for each stack.

    The file of the stack `foundation/airflow` is `<folder>/foundation/airflow.yaml`. Each stack has the
    StorageClasses that it uses in its own file. A file that was edited, damaged or removed is drift: it is read
    as far as it can be, and written again. Safe from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def observe_objects(self, stack: str, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        """Return those of the objects that stand in the stack's file. Raises `ManifestFolderError`."""
        with self._lock:
            found = self._load(stack)
        return {key: _observe(key, found[key]) for key in keys if key in found}

    @property
    def cluster_uid(self) -> str:
        """None: files are no cluster."""
        return ""

    def find_claim(self, namespace: str, name: str) -> None:
        """None: there are no claims without a cluster."""
        del namespace, name

    def observe_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        """None: there are no claims without a cluster."""
        del storage_class
        return ()

    def observe_claims(self, keys: Iterable[ObjectKey]) -> tuple[ObservedClaim, ...]:
        """Return no claims: files have none."""
        del keys
        return ()

    def observe_pods(self, namespace: str = "") -> tuple[ObservedPod, ...]:
        """Return no pods: files have none."""
        del namespace
        return ()

    def observe_volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return none: nobody can use what stands in a file."""
        del path
        return ()

    def find_workload(self, namespace: str, owner: OwnerReference) -> None:
        """None: there are no workloads without a cluster."""
        del namespace, owner

    def scale_workload(
        self, workload: ObservedWorkload, replicas: int, annotation: tuple[str, str]
    ) -> ObservedWorkload:
        """Raise: there are no workloads without a cluster."""
        del replicas, annotation
        raise ObjectMissingError(f"scale {workload.name}: there is no cluster", hint="connect one")

    def observe_volumes_of_class(self, stack: str, storage_class: str) -> tuple[ObservedObject, ...]:
        """Return those of the stack's file: each file has the StorageClasses of its own volumes."""
        with self._lock:
            found = self._load(stack)
        observed = (_observe(key, found[key]) for key in sorted(found))
        return tuple(one for one in observed if class_of(one) == storage_class)

    def delete_objects(self, stack: str, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        """Take the objects out of the stack's file; the file goes with the last one."""
        gone = {action.key for action in actions}
        with self._lock:
            try:
                found = self._load(stack)
                wanted = {key: manifest for key, manifest in found.items() if key not in gone}
                if wanted:
                    self._store(stack, wanted)
                else:
                    self._remove(stack)
            except ManifestFolderError as error:
                return tuple(ManifestFolderError(error.message, hint=error.hint) for _ in actions)
        return tuple(None for _ in actions)

    def apply_objects(self, stack: str, actions: Sequence[ObjectAction]) -> tuple[ObservedObject | ClusterError, ...]:
        """Write the objects into the stack's file, all of them or none; a file that has them is not touched."""
        # In a file no claim ever held a volume.
        written = [action for action in actions if not isinstance(action, ReleaseVolume)]
        with self._lock:
            try:
                found = self._load(stack)
                wanted = {**found, **{action.key: action.manifest for action in written}}
                self._store(stack, wanted)
            except ManifestFolderError as error:
                return tuple(ManifestFolderError(error.message, hint=error.hint) for _ in actions)
        return tuple(_observe(action.key, wanted[action.key]) for action in actions)

    def _path(self, stack: str) -> Path:
        *parents, name = stack.split("/")
        if {"", ".", ".."} & {*parents, name}:
            raise ManifestFolderError(
                f"the stack {stack!r} has no place below {self._folder}", hint="give its folder an ordinary name"
            )
        return self._folder.joinpath(*parents, f"{name}.yaml")

    def _load(self, stack: str) -> dict[ObjectKey, Mapping[str, Any]]:
        with _explaining(self._path(stack), "read"):
            try:
                with self._path(stack).open("rb") as file:
                    text = file.read(_SIZE_LIMIT_BYTES + 1)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        if len(text) > _SIZE_LIMIT_BYTES:
            return {}
        found: dict[ObjectKey, Mapping[str, Any]] = {}
        for document in _parse_documents(text):
            key = _find_key(document)
            if key is not None:
                found[key] = document
        return found

    def _remove(self, stack: str) -> None:
        path = self._path(stack)
        with _explaining(path, "removed"):
            path.unlink(missing_ok=True)
            # The folders that were there for it alone: `foundation/` of `foundation/airflow`.
            for parent in path.relative_to(self._folder).parents[:-1]:
                with contextlib.suppress(OSError):
                    (self._folder / parent).rmdir()

    def _store(self, stack: str, wanted: Mapping[ObjectKey, Mapping[str, Any]]) -> None:
        path = self._path(stack)
        text = render_manifests(stack, wanted)
        with _explaining(path, "written"):
            if path.is_file() and not path.is_symlink() and path.read_bytes() == text:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            # Beside the file, so that the rename stays within one file system; hidden, so that no glob takes it.
            unfinished = path.with_name(f".{path.name}.new")
            try:
                with unfinished.open("wb") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise
            _sync_folder(path.parent)


def render_manifests(stack: str, objects: Mapping[ObjectKey, Mapping[str, Any]]) -> bytes:
    """Return the file of a stack: a comment that says what it is, StorageClasses first, then by name."""
    ordered = [objects[key] for key in sorted(objects, key=lambda key: (_ORDER[key.kind], key.name))]
    body = yaml.dump_all(
        ordered, Dumper=_Dumper, explicit_start=True, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return (_HEADER.format(stack=stack) + body).encode()


def _parse_documents(text: bytes) -> list[Mapping[str, Any]]:
    """Return the documents; none when any of them cannot be read, for then the file is to be written again."""
    try:
        documents = parse_yaml(text, allow_aliases=False)
    except (yaml.YAMLError, ValueError):
        return []
    return [document for document in documents if isinstance(document, dict)]


def _find_key(document: Mapping[str, Any]) -> ObjectKey | None:
    kind, metadata = document.get("kind"), document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if kind not in _KINDS or not isinstance(name, str):
        return None
    return ObjectKey(kind, name)


def _observe(key: ObjectKey, manifest: Mapping[str, Any]) -> ObservedObject:
    # Everything in our file is ours: an edited field is drift, never a foreign object.
    ours = FieldManager(FIELD_MANAGER, "Apply")
    return ObservedObject(
        key=key,
        manifest=manifest,
        uid=f"manifest:{key.kind}/{key.name}",
        resource_version="",
        managers=(ours,),
        phase=PHASE if key.kind == "PersistentVolume" else "",
        is_in_file=True,
    )


@contextlib.contextmanager
def _explaining(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ManifestFolderError(
            f"the manifest {path} cannot be {verb}: {error.strerror}",
            hint="make the folder writable for the agent's user; the agent tries again by itself",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Server-side apply of the objects of a plan, each so that nothing of anyone else's can be written by accident."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cluster.adoption import render_adoption
from hostk8s_agent.cluster.deleting import delete_object
from hostk8s_agent.cluster.errors import ClusterAnswerError, ObjectChangedError
from hostk8s_agent.cluster.objects import parse_object
from hostk8s_agent.cluster.releasing import release_volume
from hostk8s_agent.cluster.requests import APPLY_PATCH, JSON_PATCH, ClusterClient, Request
from hostk8s_agent.cluster.resources import find_resource, object_path
from hostk8s_agent.errors import ClusterError
from hostk8s_agent.plan.actions import ApplyObject, ReleaseVolume, ReplaceObject
from hostk8s_agent.plan.objects import FIELD_MANAGER

if TYPE_CHECKING:
    from hostk8s_agent.cluster.mirror import Mirror
    from hostk8s_agent.plan.actions import DeleteObject, ObjectAction
    from hostk8s_agent.plan.desired import Manifest, ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject

_THREADS = 8
# How many stacks are applied at once before the objects of each are applied one after the other: more requests at once
# would be no faster then, and handing them over has its price.
_CROWD = 4

# A resource version that no object ever has: etcd's first revision is that of the empty store. Server-side apply
# checks the version of an object that exists (409 when it differs), and ignores it when there is none and it creates
# (registry/generic/registry/store.go). Tried on 1.20: an object that appeared meanwhile is not touched, and ours
# gets a proper Apply entry, which a POST would not give it. An empty uid or version, or version 0, does not protect.
_VERSION_OF_NOTHING = "1"


class Applier:
    """Applies objects, several at once. Safe from several threads; close it when no more is to be applied.

    `on_object` is told of objects that others changed while we wrote them.
    """

    def __init__(self, mirror: Mirror, on_object: Callable[[ObjectKey], None]) -> None:
        self._mirror = mirror
        self._on_object = on_object
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cluster-apply")
        # StorageClasses are shared by stacks, which are reconciled at the same time: see `_apply_shared`.
        self._lock = threading.Lock()
        self._callers = 0
        self._class_locks: defaultdict[ObjectKey, threading.Lock] = defaultdict(threading.Lock)
        self._classes_written: dict[ObjectKey, tuple[Manifest, ObservedObject]] = {}

    def apply_objects(
        self, client: ClusterClient, actions: Sequence[ObjectAction]
    ) -> tuple[ObservedObject | ClusterError, ...]:
        """Carry the actions out; return for each the object as the server has it now, or why not.

        They are carried out concurrently, unless other stacks keep the server busy already.
        """
        if not actions:
            return ()
        with self._lock:
            self._callers += 1
            is_crowded = self._callers > _CROWD
        try:
            if is_crowded:
                return tuple(self._apply_contained(client, action) for action in actions)
            first, *others = actions
            # The first in this thread: handing one object to another thread costs more than the threads gain.
            waiting = [self._threads.submit(self._apply_contained, client, action) for action in others]
            return (self._apply_contained(client, first), *(one.result() for one in waiting))
        finally:
            with self._lock:
                self._callers -= 1

    def delete_objects(self, client: ClusterClient, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        """Delete the objects concurrently; return for each why not, None when it is gone or on its way."""
        return tuple(self._threads.map(lambda action: self._delete_contained(client, action), actions))

    def close(self) -> None:
        """End the threads once what they do is done; closing the client makes that soon."""
        self._threads.shutdown(wait=True, cancel_futures=False)

    def _delete_contained(self, client: ClusterClient, action: DeleteObject) -> ClusterError | None:
        write = self._mirror.begin_write(action.key)
        left: ObservedObject | None = None
        try:
            left = delete_object(client, action)
        except ClusterError as error:
            return error
        finally:
            for key in self._mirror.end_write(write, left):
                self._on_object(key)
        return None

    def _apply_contained(self, client: ClusterClient, action: ObjectAction) -> ObservedObject | ClusterError:
        try:
            if not isinstance(action, ApplyObject):
                return self._apply(client, action)
            if action.key.kind == "StorageClass":
                return self._apply_shared(client, action)
            return self._apply(client, action)
        except ClusterError as error:
            return error

    def _apply_shared(self, client: ClusterClient, action: ApplyObject) -> ObservedObject:
        """Apply a StorageClass, unless another stack has just done the very same."""
        with self._lock:
            writing = self._class_locks[action.key]
        with writing:
            manifest, written = self._classes_written.get(action.key, (None, None))
            current = self._mirror.find_objects([action.key]).get(action.key)
            if (
                current is not None
                and written is not None
                and manifest == action.manifest
                and action.adopts_from is None
                and current.resource_version == written.resource_version != action.resource_version
            ):
                return current
            applied = self._apply(client, action)
            self._classes_written[action.key] = (action.manifest, applied)
            return applied

    def _apply(self, client: ClusterClient, action: ObjectAction) -> ObservedObject:
        write = self._mirror.begin_write(action.key)
        applied: ObservedObject | None = None
        try:
            applied = self._write(client, action)
            return applied
        finally:
            for key in self._mirror.end_write(write, applied):
                self._on_object(key)

    def _write(self, client: ClusterClient, action: ObjectAction) -> ObservedObject:
        if isinstance(action, ReleaseVolume):
            return release_volume(client, action, self._mirror.find_objects([action.key]).get(action.key))
        if isinstance(action, ReplaceObject):
            # A volume stays till its protection controller lets it go: its deletion brings the stack another run.
            left = delete_object(client, action)
            return left or self._write_manifest(client, ApplyObject(action.key, action.manifest, action.reason))
        return self._write_manifest(client, action)

    def _write_manifest(self, client: ClusterClient, action: ApplyObject) -> ObservedObject:
        is_new = action.uid is None
        version: str | None
        if is_new:
            version = _VERSION_OF_NOTHING
        elif action.adopts_from is not None:
            version = _adopt(client, action)
        else:
            # A claimRef that was applied before is sent as it was observed: not over one that changed meanwhile.
            has_claim = "claimRef" in action.manifest.get("spec", {})
            version = None if self._is_ours(action) and not has_claim else action.resource_version
        raw = client.send(
            Request(
                "apply",
                object_path(action.key.kind, action.key.name),
                f"apply {action.key.kind}/{action.key.name}",
                {"fieldManager": FIELD_MANAGER, "force": "false" if is_new else "true"},
                render_body(action.manifest, action.uid, version),
                APPLY_PATCH,
            )
        )
        return parse_object(find_resource(action.key.kind), raw)

    def _is_ours(self, action: ApplyObject) -> bool:
        """Whether the object already has fields that we applied.

        Then it is enough that it is the same object (the uid): in the fields of the manifest whoever changed them is
        overruled anyway, and the volume controller, which writes the status of a new volume, is not in the way. Any
        other object is written only as it was when that was decided.
        """
        current = self._mirror.find_objects([action.key]).get(action.key)
        return current is not None and any(
            manager.name == FIELD_MANAGER and manager.operation == "Apply" for manager in current.managers
        )


def render_body(manifest: Manifest, uid: str | None, resource_version: str | None) -> dict[str, Any]:
    """Return the body of an apply: `manifest` with its preconditions.

    Whatever the manifest says, `status` and the `uid` and `resourceVersion` of `spec.claimRef` are left out: they
    are the controllers', and a claimRef with a uid binds a volume to a claim that may be gone.
    """
    body = {name: value for name, value in manifest.items() if name != "status"}
    body["metadata"] = {
        **manifest["metadata"],
        **({"uid": uid} if uid is not None else {}),
        **({"resourceVersion": resource_version} if resource_version is not None else {}),
    }
    spec = manifest.get("spec")
    if isinstance(spec, Mapping) and isinstance(spec.get("claimRef"), Mapping):
        reference = {k: v for k, v in spec["claimRef"].items() if k not in ("uid", "resourceVersion")}
        body["spec"] = {**spec, "claimRef": reference}
    return body


def _adopt(client: ClusterClient, action: ApplyObject) -> str:
    """Make the fields of the adopted manager ours; return the resource version that the object has then."""
    name = f"{action.key.kind}/{action.key.name}"
    path = object_path(action.key.kind, action.key.name)
    raw = client.send(Request("get", path, f"get {name}"))
    found = parse_object(find_resource(action.key.kind), raw)
    if (found.uid, found.resource_version) != (action.uid, action.resource_version):
        raise ObjectChangedError(
            f"adopt {name}: someone changed it meanwhile, so it was not written",
            hint="nothing to do: the agent looks at the object again and decides anew",
        )
    if action.adopts_from is None:
        return found.resource_version
    patch = render_adoption(raw, action.adopts_from, FIELD_MANAGER)
    if not patch:
        return found.resource_version
    raw = client.send(Request("patch", path, f"adopt {name}", {"fieldManager": FIELD_MANAGER}, patch, JSON_PATCH))
    adopted = parse_object(find_resource(action.key.kind), raw)
    if adopted.uid != action.uid:
        raise ClusterAnswerError(f"adopt {name}: the API server answered with another object", hint="report this")
    return adopted.resource_version

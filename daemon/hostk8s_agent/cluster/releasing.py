"""Making a PersistentVolume bindable again, for one claim and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cluster.errors import ObjectChangedError, ObjectInvalidError
from hostk8s_agent.cluster.objects import mapping, parse_object
from hostk8s_agent.cluster.requests import JSON_PATCH, ClusterClient, Request
from hostk8s_agent.cluster.resources import find_resource, object_path
from hostk8s_agent.plan.objects import FIELD_MANAGER
from hostk8s_agent.plan.wording import subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.plan.actions import ReleaseVolume
    from hostk8s_agent.plan.observed import ObservedObject


def release_volume(client: ClusterClient, action: ReleaseVolume, current: ObservedObject | None) -> ObservedObject:
    """Release the volume as the action says; return it as the server has it then. Raises a `ClusterError`.

    `current` is the volume as it was last seen. One that is another by then is left: `ObjectChangedError`.
    """
    reference = mapping(mapping(current.manifest.get("spec")).get("claimRef")) if current is not None else {}
    subject = f"release {subject_of(action.key)}"
    request = Request(
        "patch",
        object_path(action.key.kind, action.key.name),
        subject,
        {"fieldManager": FIELD_MANAGER},
        render_release(action, reference),
        JSON_PATCH,
    )
    try:
        raw = client.send(request)
    except ObjectInvalidError as error:
        # 422: a test of the patch failed, or what it would remove is not there (RFC 6902, 5).
        raise ObjectChangedError(
            f"{subject}: someone bound, changed or replaced it meanwhile, so it was not written",
            hint="nothing to do: the agent looks at the object again and decides anew",
        ) from error
    return parse_object(find_resource(action.key.kind), raw)


def render_release(action: ReleaseVolume, reference: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON patch (RFC 6902), given the volume's claimRef as it was seen; empty stands for none.

    The tests come first: the server applies all of a patch or nothing, to whatever the object is at that moment.
    """
    operations: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": action.uid}]
    if action.claim_uid:
        operations.append({"op": "test", "path": "/spec/claimRef/uid", "value": action.claim_uid})
    elif reference:
        operations.append({"op": "test", "path": "/spec/claimRef", "value": dict(reference)})
    namespace, _, name = action.claim.partition("/")
    if (reference.get("namespace"), reference.get("name")) == (namespace, name):
        stale = [field for field in ("uid", "resourceVersion") if field in reference]
        operations += [{"op": "remove", "path": f"/spec/claimRef/{field}"} for field in stale]
        return operations
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}
    if not reference:
        # `add` alone would overwrite what came in between: then there is a path to test, and the test of null fails.
        operations.append({"op": "test", "path": "/spec/claimRef", "value": None})
    operations.append({"op": "add", "path": "/spec/claimRef", "value": claim})
    return operations

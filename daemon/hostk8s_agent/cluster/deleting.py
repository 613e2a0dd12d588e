"""Deleting one object, and only that very object as it was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cluster.errors import ObjectMissingError
from hostk8s_agent.cluster.objects import mapping, parse_object
from hostk8s_agent.cluster.requests import JSON, ClusterClient, Request
from hostk8s_agent.cluster.resources import find_resource, object_path
from hostk8s_agent.plan.wording import subject_of

if TYPE_CHECKING:
    from hostk8s_agent.plan.actions import DeleteObject, ReplaceObject
    from hostk8s_agent.plan.observed import ObservedObject


def delete_object(client: ClusterClient, action: DeleteObject | ReplaceObject) -> ObservedObject | None:
    """Delete the object; return it as it stays till its finalizers are gone, None when it is gone already.

    Its uid and its resource version are preconditions: one that was replaced, or changed in any way, is left. A volume
    to which a claim is bound in this moment is such a one. Raises a `ClusterError`.
    """
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": action.uid, "resourceVersion": action.resource_version},
    }
    path = object_path(action.key.kind, action.key.name)
    try:
        raw = client.send(Request("delete", path, f"delete {subject_of(action.key)}", None, options, JSON))
    except ObjectMissingError:
        return None
    # The server answers with the object, or with a Status, as its kind has it; without finalizers it is gone.
    if raw.get("kind") == "Status" or not mapping(raw.get("metadata")).get("finalizers"):
        return None
    return parse_object(find_resource(action.key.kind), raw)

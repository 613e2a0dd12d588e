"""What the API server has of a claim and of what could be bound to it: five requests, for one command."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from hostk8s_agent.cluster.binding import ClaimGround
from hostk8s_agent.cluster.errors import ClusterForbiddenError
from hostk8s_agent.cluster.objects import mapping, mappings, text
from hostk8s_agent.cluster.pods import list_pods
from hostk8s_agent.cluster.requests import Request
from hostk8s_agent.cluster.resources import PERSISTENT_VOLUMES, STORAGE_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hostk8s_agent.cluster.requests import ClusterClient

_MAX_EVENTS = 100


def load_claim_ground(client: ClusterClient, name: str) -> ClaimGround:
    """Return what there is of the claim `namespace/name`. Raises a `ClusterError`."""
    namespace, _, claim = name.partition("/")
    folder = f"/api/v1/namespaces/{quote(namespace, safe='')}"
    query: dict[str, str | int] = {"fieldSelector": f"metadata.name={claim}"}
    page = client.send(Request("list", f"{folder}/persistentvolumeclaims", f"look at the claim {name}", query))
    found = next(iter(mappings(page.get("items"))), None)
    if found is None:
        return ClaimGround(name, None)
    return ClaimGround(
        name,
        found,
        mappings(client.list_all(STORAGE_CLASSES)[0]),
        mappings(client.list_all(PERSISTENT_VOLUMES)[0]),
        list_pods(client, namespace),
        _find_warnings(client, folder, text(mapping(found.get("metadata")).get("uid"))),
    )


def list_claims_named(client: ClusterClient, claim: str) -> list[str]:
    """Return the claims of a name in any namespace, each as `namespace/name`. Raises a `ClusterError`."""
    query: dict[str, str | int] = {"fieldSelector": f"metadata.name={claim}"}
    page = client.send(Request("list", "/api/v1/persistentvolumeclaims", f"look for claims named {claim}", query))
    found = (mapping(one.get("metadata")) for one in mappings(page.get("items")))
    return sorted(f"{text(one.get('namespace'))}/{text(one.get('name'))}" for one in found)


def _find_warnings(client: ClusterClient, folder: str, uid: str) -> Sequence[str]:
    query: dict[str, str | int] = {"fieldSelector": f"involvedObject.uid={uid},type=Warning", "limit": _MAX_EVENTS}
    try:
        page = client.send(Request("list", f"{folder}/events", "list the events of the claim", query))
    except ClusterForbiddenError:
        # They only repeat, in the cluster's words, what the objects tell.
        return ()
    newest_first = sorted(mappings(page.get("items")), key=_find_time, reverse=True)
    return [text(one.get("message")) for one in newest_first]


def _find_time(event: Mapping[str, Any]) -> str:
    return text(event.get("lastTimestamp")) or text(event.get("eventTime"))

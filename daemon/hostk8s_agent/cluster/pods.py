"""The pods of a namespace, asked for when somebody has to know: nobody mirrors them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hostk8s_agent.cluster.objects import mapping, mappings, text
from hostk8s_agent.cluster.requests import ClusterClient, Request
from hostk8s_agent.cluster.workloads import parse_owner
from hostk8s_agent.plan.observed import ObservedContainer, ObservedPod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PAGE_SIZE = 500


def list_pods(client: ClusterClient, namespace: str = "") -> tuple[ObservedPod, ...]:
    """Return the pods of a namespace (empty: of all), sorted by name; none where it does not exist.

    Raises a `ClusterError`.

    A pod without a name is left out; whatever else is missing or of another type counts as absent.
    """
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods" if namespace else "/api/v1/pods"
    words = f"list the pods of the namespace {namespace}" if namespace else "list the pods"
    found: list[ObservedPod] = []
    query: dict[str, str | int] = {"limit": _PAGE_SIZE}
    while True:
        page = client.send(Request("list", path, words, query))
        found.extend(filter(None, map(parse_pod, mappings(page.get("items")))))
        following = text(mapping(page.get("metadata")).get("continue"))
        if not following:
            return tuple(sorted(found, key=lambda pod: (pod.namespace, pod.name)))
        query = {"limit": _PAGE_SIZE, "continue": following}


def parse_pod(raw: Mapping[str, Any]) -> ObservedPod | None:
    """Return the pod that `raw` is, None when it has no name."""
    metadata, spec, status = (mapping(raw.get(part)) for part in ("metadata", "spec", "status"))
    if not text(metadata.get("name")):
        return None
    claims = dict(_claims_of_volumes(text(metadata.get("name")), spec))
    host_paths = dict(_host_paths_of_volumes(spec))
    states = {
        text(one.get("name")): one
        for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for one in mappings(status.get(kind))
    }
    return ObservedPod(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        node=text(spec.get("nodeName")),
        phase=text(status.get("phase")),
        claims=tuple(sorted(set(claims.values()))),
        containers=tuple(
            _parse_container(one, claims, host_paths, states.get(text(one.get("name")), {}))
            for kind in ("initContainers", "containers", "ephemeralContainers")
            for one in mappings(spec.get(kind))
        ),
        annotations={
            key: value for key, value in mapping(metadata.get("annotations")).items() if isinstance(value, str)
        },
        host_paths=tuple(sorted(set(host_paths.values()))),
        owner=parse_owner(metadata),
        restarts=spec.get("restartPolicy") != "Never",
    )


def _claims_of_volumes(pod: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each of the pod's volumes that is a claim, and the claim's name."""
    for volume in mappings(spec.get("volumes")):
        name = text(volume.get("name"))
        if claim := text(mapping(volume.get("persistentVolumeClaim")).get("claimName")):
            yield name, claim
        elif "ephemeral" in volume:
            # Named for the pod and the volume (Kubernetes, Generic ephemeral volumes).
            yield name, f"{pod}-{name}"


def _host_paths_of_volumes(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each of the pod's volumes that is a path of its node, and the path."""
    for volume in mappings(spec.get("volumes")):
        if path := text(mapping(volume.get("hostPath")).get("path")):
            yield text(volume.get("name")), path


def _parse_container(
    raw: Mapping[str, Any], claims: Mapping[str, str], host_paths: Mapping[str, str], state: Mapping[str, Any]
) -> ObservedContainer:
    mounted = {text(one.get("name")) for one in mappings(raw.get("volumeMounts"))}
    mounted |= {text(one.get("name")) for one in mappings(raw.get("volumeDevices"))}
    return ObservedContainer(
        name=text(raw.get("name")),
        container_id=text(state.get("containerID")),
        is_running="running" in mapping(state.get("state")),
        claims=tuple(sorted({claim for volume, claim in claims.items() if volume in mounted})),
        is_over="terminated" in mapping(state.get("state")),
        host_paths=tuple(sorted({path for volume, path in host_paths.items() if volume in mounted})),
    )

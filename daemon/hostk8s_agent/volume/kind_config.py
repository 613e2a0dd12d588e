"""A Kind configuration whose nodes have this machine's volume at `/mnt/pv`: from the engine itself, not guessed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.volume.endpoint import EndpointSources, find_endpoint
from hostk8s_agent.volume.engine import Engine, ask_runs_node
from hostk8s_agent.volume.errors import EngineUnreachableError
from hostk8s_agent.volume.mapping import NODE_MOUNTS, VOLUME_MOUNT
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

API_VERSION = "kind.x-k8s.io/v1alpha4"
"""https://kind.sigs.k8s.io/docs/user/configuration/"""


@dataclass(frozen=True, slots=True)
class KindRequest:
    """What the configuration is for. `workers` is how many nodes there are besides the control plane."""

    workspace: Path
    cluster_name: str
    volume_name: str
    workers: int = 0


def find_volume_folder(sources: EndpointSources, request: KindRequest) -> str:
    """Return where the engine has the volume on its own machine, or will have it: `/var/lib/docker/volumes/NAME/_data`.

    Raises the `VolumeError` that says why no engine can be asked. Nothing is made.
    """
    endpoint = find_endpoint(sources, lambda one: ask_runs_node(one, request.cluster_name))
    if endpoint is None:
        raise EngineUnreachableError(
            "there is no Docker endpoint: no DOCKER_HOST, no context, and none of the known sockets",
            hint="start Docker, without which Kind makes no cluster either",
        )
    with closing(Engine(endpoint)) as engine:
        if (volume := engine.find_volume(request.volume_name)) is not None and volume.mountpoint:
            return volume.mountpoint
        with translated(f"ask the Docker engine at {endpoint.url} where it keeps its data"):
            # Of a volume of the driver `local` that is not there yet (moby, volume/local/local.go).
            return f"{engine.client.info()['DockerRootDir']}/volumes/{request.volume_name}/_data"


def build_kind_config(request: KindRequest, volume_folder: str) -> Mapping[str, object]:
    """Return the configuration: every node has the volume, and the workspace's own folders where they exist."""
    mounts = [{"hostPath": volume_folder, "containerPath": VOLUME_MOUNT.node_path}]
    for mount in NODE_MOUNTS:
        # Some of the workspace's folders are in no node (the kubeconfig, the registry), and of two for one path the
        # first is in use: data/pv/ must not stand in the volume's place.
        is_free = mount.node_path not in {"", *(one["containerPath"] for one in mounts)}
        if is_free and mount.host_folder is not None and (request.workspace / mount.host_folder).is_dir():
            host = str(request.workspace / mount.host_folder)
            mounts.append({"hostPath": host, "containerPath": mount.node_path})
    roles = ["control-plane", *["worker"] * request.workers]
    return {
        "kind": "Cluster",
        "apiVersion": API_VERSION,
        "name": request.cluster_name,
        # Copies: YAML would write one list and refer to it.
        "nodes": [{"role": role, "extraMounts": [dict(one) for one in mounts]} for role in roles],
    }

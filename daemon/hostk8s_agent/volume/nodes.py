"""The containers that are a Kind cluster's nodes: finding them, and running a fixed command in one.

Kind puts a label on every container of a cluster (sigs.k8s.io/kind, pkg/cluster/internal/providers/docker); a
container without it counts when it has the name that Kind gives to the control plane.
"""

from __future__ import annotations

import json
import struct
import time
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from hostk8s_agent.volume.engine import NODE_LABEL, Engine, require_success
from hostk8s_agent.volume.errors import CommandTooLongError, NodeGoneError, NodeStoppedError, StreamStalledError
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import requests

ROLE_LABEL = "io.x-k8s.kind.role"
_LOAD_BALANCER = "external-load-balancer"

COMMAND_SECONDS = 10.0
"""How long a command in a node may take, unless its caller says otherwise."""

_OUTPUT_LIMIT_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
# Without a terminal the engine sends frames: a byte that names the stream, three of nothing, four of length.
_FRAME = struct.Struct(">BxxxI")
_STDOUT = 1


@dataclass(frozen=True, slots=True)
class Node:
    """One container of a cluster.

    `name` is the container's, which is the Kubernetes node's too. `image` is the image's ID. `is_running` says that
    commands can be run in it: started, and not paused. `started_at` is the engine's RFC 3339 text: a container that
    was started again has looked at its mounts again. `mounts` maps paths in the node to their source on the
    engine's machine. `host_ports` are those published on the engine's machine, `addresses` its own IP addresses.
    """

    name: str
    container_id: str
    image: str
    is_running: bool
    started_at: str
    role: str = ""
    mounts: Mapping[str, str] | None = None
    host_ports: frozenset[int] = frozenset()
    addresses: frozenset[str] = frozenset()

    @property
    def is_load_balancer(self) -> bool:
        """Whether it only passes requests on to several control planes: no pod ever runs there."""
        return self.role == _LOAD_BALANCER

    def find_mount_source(self, path: str) -> str | None:
        """Return what the container was told to have at a path of its own, None when nothing."""
        return (self.mounts or {}).get(path)


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """How a command in a node ended. Both texts are whole, or the call failed."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class ClusterNodes:
    """The nodes of one cluster in one engine. Safe from several threads; every call raises a `VolumeError`."""

    def __init__(self, engine: Engine, cluster_name: str) -> None:
        self._engine = engine
        self._cluster_name = cluster_name

    def find_containers(self) -> tuple[Node, ...]:
        """Return all containers of the cluster, sorted by name, a load balancer among them (2 ms, and 1 ms for each).

        By the label; when none has it, the one with the name of the control plane.
        """
        with translated(f"look for the nodes of cluster {self._cluster_name}"):
            filters = {"label": f"{NODE_LABEL}={self._cluster_name}"}
            listed = self._engine.client.containers(all=True, filters=filters)
        names = [str(one["Id"]) for one in listed] or [f"{self._cluster_name}-control-plane"]
        found = (self._find_container(name) for name in names)
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.name))

    def find_nodes(self) -> tuple[Node, ...]:
        """Return the containers in which pods run, or could, sorted by name; empty when the cluster is elsewhere."""
        return tuple(one for one in self.find_containers() if not one.is_load_balancer)

    def run_command(
        self, node: Node, command: Sequence[str], *, timeout_seconds: float = COMMAND_SECONDS
    ) -> CommandOutput:
        """Run a command in a node, as root and without a shell, and return how it ended (about 50 ms).

        Nothing of a contract or of any other file may be part of `command`. Raises `NodeGoneError` when the container
        is gone, `NodeStoppedError` when it does not run or is paused, and `CommandTooLongError` when the command
        has not ended in time: it goes on in the node then.
        """
        attempt = f"run {command[0]} in the node {node.name}"
        with translated(attempt):
            url = self._engine.build_url(f"/containers/{quote(node.container_id, safe='')}/exec")
            asked = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), "User": "0:0"}
            created = self._engine.client.post(url, json=asked, timeout=COMMAND_SECONDS)
            _require_command(created, attempt, node)
            execution = str(created.json()["Id"])
            stdout, stderr = self._collect(execution, node, attempt, timeout_seconds)
            ended = self._engine.client.exec_inspect(execution)
        return CommandOutput(int(ended.get("ExitCode") or 0), stdout, stderr)

    def _collect(self, execution: str, node: Node, attempt: str, timeout_seconds: float) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + timeout_seconds
        received = bytearray()
        url = self._engine.build_url(f"/exec/{execution}/start")
        asked = {"Detach": False, "Tty": False}
        try:
            with (
                translated(attempt, is_stream=True),
                closing(self._engine.client.post(url, json=asked, stream=True, timeout=timeout_seconds)) as response,
            ):
                _require_command(response, attempt, node)
                # Not `iter_content`: it waits until a chunk is full.
                while chunk := response.raw.read1(_CHUNK_BYTES):
                    received += chunk
                    if len(received) > _OUTPUT_LIMIT_BYTES or time.monotonic() > deadline:
                        raise _too_long(attempt, node)
        except StreamStalledError as error:
            raise _too_long(attempt, node) from error
        return _split_frames(received)

    def _find_container(self, name: str) -> Node | None:
        with translated(f"look at the container {name}"):
            response = self._engine.client.get(self._engine.build_url(f"/containers/{quote(name, safe='')}/json"))
            if response.status_code == HTTPStatus.NOT_FOUND:
                return None
            require_success(response, f"look at the container {name}")
            return _parse_container(json.loads(response.content))


def serves_cluster(containers: Iterable[Node], server: str) -> bool:
    """Whether the API server at an URL is one of these containers: by a published port, a name or an address.

    A kubeconfig may lead to quite another cluster than the one whose nodes have the expected name.
    """
    parts = urlsplit(server)
    host, port = (parts.hostname or "").lower(), parts.port or 443
    return any(
        port in one.host_ports if _is_this_machine(host) else host in (one.name.lower(), *one.addresses)
        for one in containers
    )


def _is_this_machine(host: str) -> bool:
    # Where Docker runs in a virtual machine, its published ports are this machine's too.
    return host in {"localhost", "0.0.0.0", "::1", "host.docker.internal"} or host.startswith("127.")  # noqa: S104


def _require_command(response: requests.Response, attempt: str, node: Node) -> None:
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NodeGoneError(f"could not {attempt}: the container is gone", hint="the agent looks again by itself")
    if response.status_code == HTTPStatus.CONFLICT:
        raise NodeStoppedError(
            f"could not {attempt}: the container does not run, or is paused",
            hint=f"docker start {node.name}, or docker unpause {node.name}",
        )
    require_success(response, attempt)


def _too_long(attempt: str, node: Node) -> CommandTooLongError:
    return CommandTooLongError(
        f"could not {attempt}: it takes too long, or says too much", hint=f"see what it does: docker top {node.name}"
    )


def _split_frames(received: bytes | bytearray) -> tuple[bytes, bytes]:
    stdout, stderr = bytearray(), bytearray()
    for stream, content in _iterate_frames(received):
        (stdout if stream == _STDOUT else stderr).extend(content)
    return bytes(stdout), bytes(stderr)


def _iterate_frames(received: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _FRAME.size <= len(received):
        stream, length = _FRAME.unpack_from(received, position)
        position += _FRAME.size
        yield stream, bytes(received[position : position + length])
        position += length


def _parse_container(answer: Mapping[str, Any]) -> Node:
    state = answer.get("State") or {}
    labels = (answer.get("Config") or {}).get("Labels") or {}
    network = answer.get("NetworkSettings") or {}
    published = {**((answer.get("HostConfig") or {}).get("PortBindings") or {}), **(network.get("Ports") or {})}
    ports = (one.get("HostPort") or "" for bindings in published.values() for one in bindings or ())
    networks = (network.get("Networks") or {}).values()
    addresses = {one.get(key) or "" for one in networks for key in ("IPAddress", "GlobalIPv6Address")}
    return Node(
        name=str(answer.get("Name", "")).lstrip("/"),
        container_id=str(answer["Id"]),
        image=str(answer.get("Image", "")),
        is_running=bool(state.get("Running")) and not state.get("Paused"),
        started_at=str(state.get("StartedAt", "")),
        role=str(labels.get(ROLE_LABEL, "")),
        mounts={str(one.get("Destination", "")): str(one.get("Source", "")) for one in answer.get("Mounts") or ()},
        host_ports=frozenset(int(port) for port in ports if port.isdecimal()),
        addresses=frozenset(addresses - {""}),
    )

"""Which Docker engine: resolved from the environment, the Docker context and the known sockets."""

from __future__ import annotations

import ipaddress
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hostk8s_agent.volume.contexts import docker_folder, find_context
from hostk8s_agent.volume.errors import EndpointRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SYSTEM_SOCKET = Path("/var/run/docker.sock")

_TCP_SCHEMES = ("tcp", "http", "https")


@dataclass(frozen=True, slots=True)
class DockerEndpoint:
    """Where a Docker engine answers.

    `origin` says in words who named it: `DOCKER_HOST`, `context NAME`, `socket` (found on this machine) or
    `settings`. `tls_folder` holds `ca.pem`, `cert.pem` and `key.pem`.
    """

    url: str
    origin: str
    is_remote: bool = False
    tls_folder: Path | None = None

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket's path, None for an endpoint on the network."""
        return Path(self.url.removeprefix("unix://")) if self.url.startswith("unix://") else None

    def sign_socket(self) -> tuple[int, int] | None:
        """Return what changes when the socket file is made anew, None when there is none."""
        path = self.socket_path
        try:
            found = path.stat() if path else None
        except OSError:
            return None
        return (found.st_ino, found.st_ctime_ns) if found else None


@dataclass(frozen=True, slots=True)
class EndpointSources:
    """What the endpoint is resolved from.

    `configured_url` is the settings' and goes before everything; `allows_remote` lets engines on other
    machines through; `sockets` are looked at besides the user's own ones, in that order.
    """

    environment: Mapping[str, str]
    home: Path
    configured_url: str = ""
    allows_remote: bool = False
    sockets: tuple[Path, ...] = (SYSTEM_SOCKET,)


def list_endpoints(sources: EndpointSources) -> tuple[DockerEndpoint, ...]:
    """Return the endpoints that may be used, the preferred one first; empty when there is no Docker here.

    More than one are returned only when nobody chose and several sockets exist. Only reads files, asks no
    engine. Raises `ContextUnknownError`, or `EndpointRefusedError` for a chosen endpoint on another machine.
    """
    chosen = _find_chosen(sources)
    if chosen is not None:
        return (_require_usable(chosen, allows_remote=sources.allows_remote),)
    return tuple(DockerEndpoint(f"unix://{path}", "socket") for path in _list_sockets(sources))


def find_endpoint(
    sources: EndpointSources, runs_node: Callable[[DockerEndpoint], bool | None]
) -> DockerEndpoint | None:
    """Return the endpoint to use, None when there is no Docker here.

    Of several sockets that of the engine that runs the node, else of one that answers, else the first.
    `runs_node` asks an engine and returns None when it does not answer; it is called only where there is a
    choice. Raises what `list_endpoints` raises.
    """
    endpoints = list_endpoints(sources)
    if len(endpoints) <= 1:
        return endpoints[0] if endpoints else None
    answering: DockerEndpoint | None = None
    for endpoint in endpoints:
        answer = runs_node(endpoint)
        if answer:
            return endpoint
        if answer is not None and answering is None:
            answering = endpoint
    return answering or endpoints[0]


def _find_chosen(sources: EndpointSources) -> DockerEndpoint | None:
    environment = sources.environment
    if sources.configured_url:
        return _build_endpoint(sources.configured_url, "settings", _environment_tls_folder(sources))
    if url := environment.get("DOCKER_HOST"):
        return _build_endpoint(url, "DOCKER_HOST", _environment_tls_folder(sources))
    context = find_context(environment, sources.home)
    return _build_endpoint(context.url, f"context {context.name}", context.tls_folder) if context else None


def _environment_tls_folder(sources: EndpointSources) -> Path | None:
    # DOCKER_TLS_VERIFY set to anything at all switches TLS on, as in the Docker client.
    if not sources.environment.get("DOCKER_TLS_VERIFY"):
        return None
    given = sources.environment.get("DOCKER_CERT_PATH")
    return Path(given) if given else docker_folder(sources.environment, sources.home)


def _build_endpoint(url: str, origin: str, tls_folder: Path | None) -> DockerEndpoint:
    # `unix:/path` and `unix:///path` are the same to the Docker client.
    if url.startswith("unix:") and not url.startswith("unix://"):
        url = "unix://" + url.removeprefix("unix:")
    url = _without_credentials(url)
    return DockerEndpoint(url, origin, is_remote=_is_remote(url), tls_folder=tls_folder)


def _without_credentials(url: str) -> str:
    """Return the URL without a user and password, which no engine asks for: it is shown, logged and kept."""
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0]
    user, at, _ = host.rpartition("@")
    if not separator or not at:
        return url
    kept = f"{user.partition(':')[0]}@" if scheme == "ssh" else ""
    return f"{scheme}://{kept}{rest[len(user) + 1 :]}"


def _is_remote(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "ssh":
        return True
    if parts.scheme not in _TCP_SCHEMES:
        return False
    host = parts.hostname or ""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _require_usable(endpoint: DockerEndpoint, *, allows_remote: bool) -> DockerEndpoint:
    scheme = urlsplit(endpoint.url).scheme
    if endpoint.is_remote and not allows_remote:
        raise EndpointRefusedError(
            f"{endpoint.origin} leads to a Docker engine on another machine, {endpoint.url}",
            hint="choose the engine that runs the cluster (`docker context use default`, or unset DOCKER_HOST), "
            "or allow remote engines in the settings; then restart the agent",
        )
    if scheme not in ("unix", *_TCP_SCHEMES):
        raise EndpointRefusedError(
            f"{endpoint.origin} names a Docker endpoint that the agent cannot use, {endpoint.url}",
            hint="use a Unix socket or tcp://; forward a socket over ssh with `ssh -L /path/docker.sock:"
            "/var/run/docker.sock HOST`",
        )
    return endpoint


def _list_sockets(sources: EndpointSources) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in _list_known_sockets(sources):
        try:
            # Docker Desktop makes the system's socket a link to the user's: one engine, not two.
            resolved = path.resolve(strict=True)
            is_socket = stat.S_ISSOCK(resolved.stat().st_mode)
        except (OSError, RuntimeError):
            continue
        if is_socket:
            found.setdefault(resolved, path)
    return list(found.values())


def _list_known_sockets(sources: EndpointSources) -> Iterator[Path]:
    home = sources.home
    yield home / ".docker/run/docker.sock"
    yield home / ".docker/desktop/docker.sock"
    yield from sorted(home.glob(".colima/*/docker.sock"))
    yield home / ".orbstack/run/docker.sock"
    yield home / ".rd/docker.sock"
    if runtime := sources.environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "docker.sock")
        yield Path(runtime, "podman/podman.sock")
    yield from sources.sockets

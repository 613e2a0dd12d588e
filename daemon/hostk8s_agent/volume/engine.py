"""One Docker engine: a connection that was opened late, names the engine, and gives up in time."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import docker
import docker.constants
import docker.errors
import docker.tls

from hostk8s_agent.volume.errors import EngineUnreachableError, VolumeGoneError
from hostk8s_agent.volume.translation import translate_answer, translated
from hostk8s_agent.volume.unix_transport import UnixTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from hostk8s_agent.volume.endpoint import DockerEndpoint

MANAGED_BY = {"app.kubernetes.io/managed-by": "hostk8s-agent"}
"""The label on everything that the agent makes in the engine."""

VOLUME_ID_LABEL = "hostk8s.io/volume-id"
"""On a volume that we made: tells it from a later one of the same name."""

NODE_LABEL = "io.x-k8s.kind.cluster"
"""Kind's label on the containers of a cluster (sigs.k8s.io/kind, pkg/cluster/internal/providers/docker)."""

_POOL_SIZE = 8
_CALL_TIMEOUT_SECONDS = 10.0
_CHECK_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Who answered: `engine_id` tells engines apart, `version` is for people.

    `remaps_owners` says that a uid in a container is another one on the machine (rootless, userns-remap).
    """

    engine_id: str
    version: str
    remaps_owners: bool


@dataclass(frozen=True, slots=True)
class EngineVolume:
    """A volume as the engine has it.

    `mountpoint` is a path on the engine's machine, which need not be this one. `is_plain` says that it is a
    directory there at any time: of the `local` driver, without options that would mount something. `created_at` is
    the engine's RFC 3339 text.
    """

    name: str
    mountpoint: str
    is_plain: bool
    volume_id: str
    created_at: str = ""


class Engine:
    """A connection to the engine at an endpoint. Safe from several threads. Close it.

    Opening asks the engine for its version and raises `EngineUnreachableError` when nobody answers.
    """

    def __init__(self, endpoint: DockerEndpoint, *, timeout_seconds: float = _CALL_TIMEOUT_SECONDS) -> None:
        self.endpoint = endpoint
        with translated(f"reach the Docker engine at {endpoint.url}"):
            self._version: Mapping[str, Any] = _ask_version(endpoint, timeout_seconds)
            # With a version given, the constructor asks nothing: it cannot fail half-way with a socket open.
            self.client: docker.APIClient = _build_client(endpoint, self._version["ApiVersion"], timeout_seconds)

    @property
    def architecture(self) -> str:
        """The architecture of the engine's machine in Go's words, for instance `amd64`; empty when it did not say."""
        return str(self._version.get("Arch", ""))

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    def identify(self) -> EngineIdentity:
        """Ask the engine who it is (about 10 ms)."""
        with translated(f"ask the Docker engine at {self.endpoint.url} who it is"):
            answer = self.client.info()
        names = {component.get("Name") for component in self._version.get("Components") or ()}
        if "Podman Engine" in names:
            # Podman invents a new ID for each answer (pkg/api/handlers/compat/info.go).
            engine_id = f"podman:{answer.get('Name', '')}:{answer.get('DockerRootDir', '')}"
        else:
            engine_id = str(answer.get("ID", ""))
        options = answer.get("SecurityOptions") or ()
        return EngineIdentity(
            engine_id=engine_id,
            version=str(self._version.get("Version", "")),
            remaps_owners=any("name=rootless" in option or "name=userns" in option for option in options),
        )

    def find_volume(self, name: str) -> EngineVolume | None:
        """Return the volume, None when there is none (about 1 ms, given up after 4 s)."""
        with translated(f"look at the Docker volume {name}"):
            response = self.client.get(self.build_url(f"/volumes/{name}"), timeout=_CHECK_TIMEOUT_SECONDS)
            if response.status_code == HTTPStatus.NOT_FOUND:
                return None
            require_success(response, f"look at the Docker volume {name}")
            return _parse_volume(response.json())

    def require_volume(self, name: str, *, may_create: bool) -> EngineVolume:
        """Return the volume; it is created when it is missing and `may_create`, else `VolumeGoneError` is raised."""
        if (found := self.find_volume(name)) is not None:
            return found
        if not may_create:
            raise VolumeGoneError(
                f"there is no Docker volume {name}", hint="start the agent, which creates it: `hostk8s-agent run`"
            )
        return self.create_volume(name, {})

    def create_volume(self, name: str, labels: Mapping[str, str]) -> EngineVolume:
        """Create a volume with our labels and an ID of its own."""
        ours = {**MANAGED_BY, VOLUME_ID_LABEL: uuid.uuid4().hex, **labels}
        with translated(f"create the Docker volume {name}"):
            return _parse_volume(self.client.create_volume(name, driver="local", labels=ours))

    def runs_node(self, cluster_name: str) -> bool:
        """Whether a container of the cluster's node exists here, running or not."""
        with translated(f"look for the node of cluster {cluster_name}"):
            filters = {"label": f"{NODE_LABEL}={cluster_name}"}
            return bool(self.client.containers(all=True, limit=1, filters=filters))

    def build_url(self, path: str) -> str:
        """The address of a call, for instance `/volumes/x`; `path` is quoted already."""
        return f"{self.client.base_url}/v{self.client.api_version}{path}"


def ask_runs_node(endpoint: DockerEndpoint, cluster_name: str) -> bool | None:
    """Return whether the engine at the endpoint runs the cluster's node, None when it does not answer in time."""
    try:
        engine = Engine(endpoint, timeout_seconds=_CHECK_TIMEOUT_SECONDS)
    except EngineUnreachableError:
        return None
    try:
        return engine.runs_node(cluster_name)
    except EngineUnreachableError:
        return None
    finally:
        engine.close()


def require_success(response: requests.Response, attempt: str) -> None:
    """Raise the `VolumeError` for an answer that is no success; its body is read for the engine's words."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return
    try:
        words = str(json.loads(response.content)["message"])
    except (ValueError, KeyError, TypeError):
        words = response.text
    raise translate_answer(attempt, response.status_code, words)


def _ask_version(endpoint: DockerEndpoint, timeout_seconds: float) -> Mapping[str, Any]:
    # The oldest version that the library knows: `/version` is asked without one, so that any engine answers.
    client = _build_client(endpoint, docker.constants.MINIMUM_DOCKER_API_VERSION, timeout_seconds)
    try:
        answer: Mapping[str, Any] = client.version(api_version=False)
    finally:
        client.close()
    if not isinstance(answer, dict) or not isinstance(answer.get("ApiVersion"), str):
        raise EngineUnreachableError(
            f"what answers at {endpoint.url} is no Docker engine", hint="point DOCKER_HOST at a Docker engine"
        )
    return answer


def _build_client(endpoint: DockerEndpoint, api_version: str, timeout_seconds: float) -> docker.APIClient:
    tls: docker.tls.TLSConfig | bool = False
    if (folder := endpoint.tls_folder) is not None and endpoint.socket_path is None:
        tls = docker.tls.TLSConfig(
            client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
            ca_cert=str(folder / "ca.pem"),
            verify=True,
        )
    client = docker.APIClient(base_url=endpoint.url, version=api_version, timeout=timeout_seconds, tls=tls)
    if (path := endpoint.socket_path) is not None:
        transport = UnixTransport(f"http+unix://{path}", timeout_seconds, max_pool_size=_POOL_SIZE)
        client.mount("http+docker://", transport)
    # Proxies and .netrc of the environment are for the Internet, and reading them costs a millisecond a call.
    client.trust_env = False
    # The engine would compress archives for us, at ten times the cost.
    client.headers["Accept-Encoding"] = "identity"
    return client


def _parse_volume(answer: Mapping[str, Any]) -> EngineVolume:
    return EngineVolume(
        name=str(answer["Name"]),
        mountpoint=str(answer.get("Mountpoint") or ""),
        is_plain=answer.get("Driver") == "local" and not answer.get("Options"),
        volume_id=str((answer.get("Labels") or {}).get(VOLUME_ID_LABEL, "")),
        created_at=str(answer.get("CreatedAt") or ""),
    )

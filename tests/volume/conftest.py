"""The real engine, a volume of each test's own, and the three ways in."""

from __future__ import annotations

import secrets
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Testbed

from hostk8s_agent.volume.access import AccessKind
from hostk8s_agent.volume.connection import VolumeConnection
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.endpoint import DockerEndpoint, EndpointSources
from hostk8s_agent.volume.engine import NODE_LABEL, Engine
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import HelperPlace, remove_helpers
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.volume.reference import remove_reference
from hostk8s_agent.volume.state import Pace, VolumeOptions
from hostk8s_agent.volume.tools import find_node_image

BUSYBOX_IMAGE = "hostk8s.local/busybox:1"
"""The testbed's image for pods: it has mv and rm, and no perl."""

Access = DirectAccess | HelperContainerAccess | HostDirectoryAccess


@dataclass(frozen=True)
class Place:
    """A way in, and where the tests see the same directories without it."""

    access: Access
    root: Path


@dataclass(frozen=True)
class OwnVolume:
    """A Docker volume of one test's own."""

    engine: Engine
    name: str
    workspace: str
    root: Path

    @property
    def helper(self) -> HelperPlace:
        """Whose helper container works on it."""
        return HelperPlace(self.workspace, self.name)

    def list_containers(self) -> list[dict[str, Any]]:
        """Its helper containers, those of streams included."""
        filters = {"label": [f"{key}={value}" for key, value in self.helper.labels.items()]}
        found: list[dict[str, Any]] = self.engine.client.containers(all=True, filters=filters)
        return found

    def list_helpers(self) -> list[str]:
        """The IDs of its helper containers, those of streams included."""
        return [one["Id"] for one in self.list_containers()]


@pytest.fixture(scope="session")
def docker(engine: str) -> Iterator[Engine]:
    """A connection to the real engine."""
    with closing(Engine(DockerEndpoint(engine, "settings"))) as opened:
        yield opened


@pytest.fixture(scope="session")
def tool_cluster(testbed: Testbed, docker: Engine) -> Iterator[str]:
    """The name of a cluster whose node exists in the engine, created and not started: its image has the tools."""
    testbed.run("install", "node")
    (image, *_) = docker.client.images(name="hostk8s.local/node")
    name = f"tools-{secrets.token_hex(4)}"
    container = docker.client.create_container(image["Id"], command=["true"], labels={NODE_LABEL: name})
    try:
        yield name
    finally:
        docker.client.remove_container(container, v=True)


@pytest.fixture
def own_volume(docker: Engine) -> Iterator[OwnVolume]:
    """A fresh volume, gone after the test with its helper containers."""
    name = f"volume-test-{secrets.token_hex(6)}"
    root = Path(docker.create_volume(name, {}).mountpoint)
    volume = OwnVolume(docker, name, f"workspace-{name}", root)
    try:
        yield volume
    finally:
        remove_helpers(docker, volume.helper)
        if docker.find_volume(name) is not None:
            docker.client.remove_volume(name, force=True)


@pytest.fixture(
    params=[
        pytest.param("direct", marks=pytest.mark.engine),
        pytest.param("helper-container", marks=pytest.mark.engine),
        "host-directory",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each of the three ways in, on a volume of its own."""
    kind: AccessKind = request.param
    root = tmp_path / "pv"
    access: Access
    if kind == "host-directory":
        root.mkdir(mode=0o755)
        access = HostDirectoryAccess(root)
    else:
        volume: OwnVolume = request.getfixturevalue("own_volume")
        root = volume.root
        if kind == "direct":
            access = DirectAccess(root)
        else:
            cluster: str = request.getfixturevalue("tool_cluster")
            access = HelperContainerAccess(
                volume.engine, volume.helper, find_tool_image=lambda: find_node_image(volume.engine, cluster)
            )
    try:
        yield Place(access, root)
    finally:
        access.close()


class EngineProxy:
    """A Unix socket that forwards to the real engine, and that a test starts and stops like an engine.

    `accepted` counts the connections. A frozen one accepts and reads, and never answers. `replaced_bytes` are
    an old and a new word, of equal length, in the engine's answers.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        self.accepted = 0
        self.is_frozen = False
        self.replaced_bytes = (b"", b"")
        self._pairs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen, on a new socket file."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Close everything and remove the socket file, as an engine that ends does."""
        if self._listener is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for one in self._pairs:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()
        for one in self._pairs:
            one.close()
        self._pairs, self._threads = [], []
        self.path.unlink()

    def _spawn(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.target))
            self._pairs += [client, server]
            self._spawn(self._forward, client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source, other = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        chunk = source.recv(1 << 16)
                        if chunk and not self.is_frozen:
                            other.sendall(chunk.replace(*self.replaced_bytes) if self.replaced_bytes[0] else chunk)
                    except OSError:
                        chunk = b""
                    if not chunk:
                        for one in (client, server):
                            try:
                                one.shutdown(socket.SHUT_RDWR)
                            except OSError:
                                continue
                        return


@pytest.fixture
def proxy(engine: str, tmp_path: Path) -> Iterator[EngineProxy]:
    """A proxy that is not started yet."""
    made = EngineProxy(tmp_path / "engine.sock", Path(engine.removeprefix("unix://")))
    try:
        yield made
    finally:
        made.stop()


QUICK = Pace(check_seconds=0.2, look_seconds=0.05)


class Observed:
    """A connection under test and the states it went through."""

    connection: VolumeConnection

    def __init__(self) -> None:
        self.states: list[str] = []

    def note(self) -> None:
        """Called by the connection at each change."""
        self.states.append(self.connection.state().state)

    def reaches(self, state: str) -> Callable[[], bool]:
        """A condition: the connection is in this state."""
        return lambda: self.connection.state().state == state


Connect = Callable[..., Observed]


@pytest.fixture
def options(tmp_path: Path) -> VolumeOptions:
    """A volume that does not exist yet, and a host directory."""
    name = f"volume-test-{secrets.token_hex(6)}"
    return VolumeOptions(name, tmp_path / "pv", f"workspace-{name}", "hostk8s-test")


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Start connections on an empty machine: no variables, an empty home, no sockets but those given."""
    running: list[VolumeConnection] = []

    def start(
        options: VolumeOptions, *, pace: Pace = QUICK, sockets: tuple[Path, ...] = (), **variables: str
    ) -> Observed:
        sources = EndpointSources(variables, tmp_path / "home", sockets=sockets)
        observed = Observed()
        observed.connection = VolumeConnection(options, sources=sources, on_change=observed.note, pace=pace)
        running.append(observed.connection)
        observed.connection.start()
        return observed

    yield start
    for connection in running:
        connection.stop()


@pytest.fixture
def volume(docker: Engine, options: VolumeOptions) -> Iterator[str]:
    """The volume's name; whatever has it is removed after the test."""
    yield options.volume_name
    remove_helpers(docker, HelperPlace(options.workspace, options.volume_name))
    remove_reference(docker, options.volume_name)
    if docker.find_volume(options.volume_name) is not None:
        docker.client.remove_volume(options.volume_name, force=True)

"""Which engine: variables, contexts, sockets, in that order."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostk8s_agent.volume.contexts import DockerContext, find_context
from hostk8s_agent.volume.endpoint import DockerEndpoint, EndpointSources, find_endpoint, list_endpoints
from hostk8s_agent.volume.errors import ContextUnknownError, EndpointRefusedError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    folder = tmp_path / "h"
    folder.mkdir()
    return folder


@pytest.fixture
def sockets(home: Path) -> Iterator[list[Path]]:
    """Two sockets that users have: Docker Desktop's and Colima's."""
    paths = [home / ".docker/run/docker.sock", home / ".colima/default/docker.sock"]
    bound = []
    for path in paths:
        path.parent.mkdir(parents=True)
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(path))
        bound.append(one)
    yield paths
    for one in bound:
        one.close()


def write_context(docker_folder: Path, name: str, content: object) -> str:
    """Write a context's file and return the name of its folder."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = docker_folder / "contexts/meta" / digest
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(content))
    return digest


def at(url: str) -> object:
    """A context's content."""
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}


def refuse_to_ask(endpoint: DockerEndpoint) -> bool | None:
    """For where there is nothing to choose from."""
    raise AssertionError(endpoint)


def test_nothing_at_all_is_no_endpoint(home: Path) -> None:
    """A machine without Docker has no endpoint, and nobody is asked."""
    assert find_endpoint(EndpointSources({}, home, sockets=()), refuse_to_ask) is None


def test_an_empty_docker_host_is_none(home: Path) -> None:
    """An empty variable is as good as none."""
    assert list_endpoints(EndpointSources({"DOCKER_HOST": ""}, home, sockets=())) == ()


def test_the_settings_go_before_docker_host_and_it_before_the_context(home: Path) -> None:
    """The order of precedence is the Docker client's, with the settings before it."""
    write_context(home / ".docker", "c", at("unix:///c"))
    environment = {"DOCKER_CONTEXT": "c"}
    assert list_endpoints(EndpointSources(environment, home)) == (DockerEndpoint("unix:///c", "context c"),)
    environment["DOCKER_HOST"] = "unix:///h"
    assert list_endpoints(EndpointSources(environment, home)) == (DockerEndpoint("unix:///h", "DOCKER_HOST"),)
    configured = EndpointSources(environment, home, configured_url="unix:///s")
    assert list_endpoints(configured) == (DockerEndpoint("unix:///s", "settings"),)


def test_the_variable_goes_before_the_current_context(home: Path) -> None:
    """DOCKER_CONTEXT overrides the client's own file, `default` included."""
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text('{"currentContext": "file"}')
    write_context(home / ".docker", "file", at("unix:///file"))
    assert find_context({}, home) == DockerContext("file", "unix:///file")
    assert find_context({"DOCKER_CONTEXT": "default"}, home) is None


def test_docker_config_moves_the_folder(home: Path, tmp_path: Path) -> None:
    """$DOCKER_CONFIG stands for ~/.docker."""
    write_context(tmp_path / "elsewhere", "c", at("unix:///c"))
    environment = {"DOCKER_CONFIG": str(tmp_path / "elsewhere"), "DOCKER_CONTEXT": "c"}
    assert find_context(environment, home) == DockerContext("c", "unix:///c")


def test_a_contexts_certificates_come_with_it(home: Path) -> None:
    """The TLS folder of a context is found by its digest."""
    digest = write_context(home / ".docker", "c", at("tcp://127.0.0.1:2376"))
    tls = home / ".docker/contexts/tls" / digest / "docker"
    tls.mkdir(parents=True)
    (endpoint,) = list_endpoints(EndpointSources({"DOCKER_CONTEXT": "c"}, home))
    assert endpoint == DockerEndpoint("tcp://127.0.0.1:2376", "context c", tls_folder=tls)


@pytest.mark.parametrize("content", [None, {}, [], {"Endpoints": {}}, {"Endpoints": {"docker": {"Host": ""}}}, "x"])
def test_a_context_that_is_missing_or_broken_is_an_error(home: Path, sockets: list[Path], content: object) -> None:
    """An unknown context never silently becomes a socket that happens to be there."""
    assert sockets
    if content is not None:
        write_context(home / ".docker", "c", content)
    with pytest.raises(ContextUnknownError):
        list_endpoints(EndpointSources({"DOCKER_CONTEXT": "c"}, home))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"currentContext": 5}', "\0"])
def test_a_broken_client_file_chooses_nothing(home: Path, text: str) -> None:
    """As the Docker client does: a broken config.json is no context."""
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(text)
    assert find_context({}, home) is None


@pytest.mark.parametrize(
    "url", ["tcp://10.0.0.5:2375", "tcp://build.example:2376", "ssh://root@host", "https://engine:1", "tcp://"]
)
def test_another_machine_is_refused_unless_allowed(home: Path, url: str) -> None:
    """Whatever is not surely this machine is another one."""
    with pytest.raises(EndpointRefusedError, match="another machine"):
        list_endpoints(EndpointSources({"DOCKER_HOST": url}, home))
    allowed = EndpointSources({"DOCKER_HOST": url}, home, allows_remote=True)
    if url.startswith("ssh:"):
        with pytest.raises(EndpointRefusedError, match="cannot use"):
            list_endpoints(allowed)
    else:
        assert list_endpoints(allowed) == (DockerEndpoint(url, "DOCKER_HOST", is_remote=True),)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:2375", "tcp://localhost:1", "tcp://[::1]:2375", "unix:///x"])
def test_loopback_is_this_machine(home: Path, url: str) -> None:
    """Loopback addresses and sockets are used as they are."""
    assert list_endpoints(EndpointSources({"DOCKER_HOST": url}, home)) == (DockerEndpoint(url, "DOCKER_HOST"),)


@pytest.mark.parametrize("url", ["npipe:////./pipe/docker_engine", "fd://", "nonsense"])
def test_what_is_no_endpoint_for_us_is_refused(home: Path, url: str) -> None:
    """An unknown scheme is refused in words, not by a library's traceback."""
    with pytest.raises(EndpointRefusedError, match="cannot use"):
        list_endpoints(EndpointSources({"DOCKER_HOST": url}, home))


def test_sockets_are_listed_in_order_and_links_once(home: Path, sockets: list[Path], tmp_path: Path) -> None:
    """A system socket that is a link to the user's is the same engine; files that are no sockets are none."""
    system, file = tmp_path / "system.sock", tmp_path / "file.sock"
    system.symlink_to(sockets[0])
    file.write_text("x")
    dangling = tmp_path / "dangling.sock"
    dangling.symlink_to("nowhere")
    sources = EndpointSources({}, home, sockets=(system, file, dangling))
    assert [one.url for one in list_endpoints(sources)] == [f"unix://{path}" for path in sockets]
    assert {one.origin for one in list_endpoints(sources)} == {"socket"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((False, True), 1),
        ((None, True), 1),
        ((None, False), 1),
        ((False, None), 0),
        ((None, None), 0),
        ((True, True), 0),
    ],
)
def test_the_engine_that_runs_the_node_is_preferred(
    home: Path, sockets: list[Path], answers: tuple[bool | None, bool | None], expected: int
) -> None:
    """Of several sockets the node's engine, else one that answers, else the first."""
    endpoints = [DockerEndpoint(f"unix://{path}", "socket") for path in sockets]
    found = find_endpoint(EndpointSources({}, home, sockets=()), lambda one: answers[endpoints.index(one)])
    assert found == endpoints[expected]

"""An engine that stops in the middle of a stream: a stand-in on a socket, because a real one does not on demand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume import archive
from hostk8s_agent.volume.archive import ContainerArchive
from hostk8s_agent.volume.endpoint import DockerEndpoint
from hostk8s_agent.volume.engine import Engine
from hostk8s_agent.volume.errors import StreamStalledError

VERSION = b'{"ApiVersion": "1.41", "Version": "20.10"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def stalling_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that knows its version, begins every archive with ten bytes and goes quiet; it never reads a PUT."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "e.sock"))
    listener.listen()
    accepted: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                accepted.append(client)
                request = client.recv(1000)
                if b"/version" in request:
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSION), VERSION))
                elif request.startswith(b"GET"):
                    client.sendall(HEAD + b"a\r\n0123456789\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with closing(Engine(DockerEndpoint(f"unix://{tmp_path}/e.sock", "DOCKER_HOST"))) as engine:
            yield engine
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in [listener, *accepted]:
            one.close()


def read_all(engine: Engine, *, stall_seconds: float) -> None:
    """Read a stream to its end."""
    contents = ContainerArchive(engine, "x", stall_seconds=stall_seconds)
    with contents.open_stream("/volume/.", "read it") as response:
        assert b"".join(contents.iterate_stream(response, "read it")) == b"0123456789"


def write_all(engine: Engine, *, stall_seconds: float) -> None:
    """Write a stream without an end."""

    def deliver() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 20)

    ContainerArchive(engine, "x", stall_seconds=stall_seconds).write_tar("/volume", deliver(), "write it")


@pytest.mark.parametrize("stream", [read_all, write_all])
def test_a_stream_that_stalls_is_noticed(stalling_engine: Engine, stream: Callable[..., None]) -> None:
    """No byte for the limit ends the stream with its own error, in both directions."""
    began = time.monotonic()
    with pytest.raises(StreamStalledError):
        stream(stalling_engine, stall_seconds=0.3)
    assert 0.2 < time.monotonic() - began < 5


def test_the_limit_in_production_is_under_a_minute() -> None:
    """The fault catalogue asks that a stall is noticed within 60 s (I4)."""
    assert archive.STALL_SECONDS < 60


def test_the_first_header_of_a_stalled_stream_is_an_error(stalling_engine: Engine) -> None:
    """A directory whose owner cannot be read is no directory without an owner."""
    with pytest.raises(VolumeError):
        ContainerArchive(stalling_engine, "x", stall_seconds=0.3).read_first_header("/volume/a")

"""HTTP/1.1 as servers really speak it, well and badly, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from hostk8s_agent.cluster.credentials import Credentials
from hostk8s_agent.cluster.direct_wire import DirectWire
from hostk8s_agent.cluster.proxied_wire import ProxiedWire
from hostk8s_agent.cluster.sockets import Lifelines
from hostk8s_agent.cluster.wire import Answer, Call, Wire

PATCH = Call("PATCH", "/api/x?force=true", "Bearer t", b'{"a":1}', "application/apply-patch+yaml")
GET = Call("GET", "/api/x")
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class ScriptedServer:
    """Answers the requests of each connection with the next bytes of its script, and ends it after the last."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.scripts: list[list[bytes]] = []
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            # The client may hang up on what it does not like.
            with peer, suppress(OSError):
                for answer in self.scripts.pop(0) if self.scripts else [WHOLE]:
                    self.requests.append(peer.recv(65536))
                    # In pieces, as a network may have it.
                    piece = len(answer) // 10 + 1
                    for index in range(0, len(answer), piece):
                        peer.sendall(answer[index : index + piece])


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def open_wire(server: ScriptedServer) -> Iterator[Callable[..., Wire]]:
    """Make a wire to the server, direct unless a proxy is named; all are closed at the end."""
    wires: list[Wire] = []

    def make(proxy: str | None = None, **options: Any) -> Wire:
        name = "cluster.test:80" if proxy else server.address
        credentials = Credentials(f"http://{name}", lambda: "", None, None, proxy, [], **options)
        kind = ProxiedWire if proxy else DirectWire
        wires.append(kind(credentials, Lifelines(), connect_timeout_seconds=5, read_timeout_seconds=5))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


def test_a_request_is_one_write_and_says_what_is_needed(server: ScriptedServer, open_wire: Callable[..., Wire]) -> None:
    """The head and the body come together."""
    open_wire().exchange(PATCH)

    assert server.requests == [
        f"PATCH /api/x?force=true HTTP/1.1\r\nHost: {server.address}\r\nAccept: application/json\r\n"
        "User-Agent: hostk8s-agent\r\nAuthorization: Bearer t\r\nContent-Type: application/apply-patch+yaml\r\n"
        'Content-Length: 7\r\n\r\n{"a":1}'.encode()
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (WHOLE, (200, b"{}")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{ \n\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n",
            (200, b"{ \n}"),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", (201, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", (502, b"<html>")),
        (b"HTTP/1.1 429\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n", (429, b"")),
    ],
)
def test_an_answer_is_read_whole_however_it_is_framed(
    server: ScriptedServer, open_wire: Callable[..., Wire], answer: bytes, expected: tuple[int, bytes]
) -> None:
    """By its length, in chunks, or up to the end of the connection."""
    server.scripts.append([answer])
    found = open_wire().exchange(GET)

    assert (found.status, found.body) == expected
    if found.status == 429:
        assert found.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", ValueError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", ValueError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}", ValueError),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n{}", ValueError),
        (
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50 + b"".join(b"A%d: b\r\n" % n for n in range(101)) + b"\r\n",
            ValueError,
        ),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, ValueError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ValueError),
    ],
)
def test_what_is_cut_or_malformed_is_an_error_and_its_connection_is_not_used_again(
    server: ScriptedServer, open_wire: Callable[..., Wire], answer: bytes, expected: type[Exception]
) -> None:
    """Nothing half is ever taken for an answer."""
    server.scripts.append([answer])
    wire = open_wire()
    with pytest.raises(expected):
        wire.exchange(GET)

    assert wire.exchange(GET) == Answer(200, {"Content-Length": "2"}, b"{}")


def test_a_connection_is_kept_until_either_side_means_to_end_it(
    server: ScriptedServer, open_wire: Callable[..., Wire]
) -> None:
    """One that the server ended while it was idle is noticed before anything is sent over it."""
    last = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server.scripts += [[WHOLE, WHOLE], [last], [WHOLE]]
    wire = open_wire()
    for _ in range(4):
        assert wire.exchange(GET).body == b"{}"

    assert server.scripts == []
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "call",
    [Call("GET", "/x HTTP/1.1\r\nEvil: 1"), Call("GET", "/x y"), Call("GET", "/x", "Bearer t\r\nEvil: 1")],
)
def test_nothing_can_be_put_into_a_requests_head(
    server: ScriptedServer, open_wire: Callable[..., Wire], call: Call
) -> None:
    """Neither a name nor a token with a line's end in it."""
    with pytest.raises(ValueError, match="head"):
        open_wire().exchange(call)

    assert server.requests in ([], [b""])


def test_a_closed_wire_opens_nothing(open_wire: Callable[..., Wire]) -> None:
    """Whoever still has it gets an error of the kind that a cut connection is."""
    wire = open_wire()
    wire.close()

    assert wire.is_closed
    with pytest.raises(ConnectionError):
        wire.exchange(GET)


def test_a_proxy_is_asked_for_the_whole_address(server: ScriptedServer, open_wire: Callable[..., Wire]) -> None:
    """The other way to a server, by urllib3, gives the same answers."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    server.scripts.append([WHOLE, chunked])
    wire = open_wire(proxy=f"http://{server.address}")

    answer = wire.exchange(Call("GET", "http://cluster.test:80/api/x"))
    with wire.open_stream(Call("GET", "http://cluster.test:80/api/x"), 5) as stream:
        pieces = list(iter(stream.read_some, b""))

    assert (answer.status, answer.body, stream.status, b"".join(pieces)) == (200, b"{}", 200, b"{}")
    assert server.requests[0].startswith(b"GET http://cluster.test:80/api/x HTTP/1.1\r\n")

"""HTTP/1.1 over connections of our own: a request is one write, an answer is read from one buffer.

Of an API server's answers this knows what RFC 9112 asks of a client that sends no `TE` and no `Accept-Encoding`.
urllib3 takes ten times the processor's time for a request, and a cold start of a thousand stacks has two thousand.
"""

from __future__ import annotations

import io
import re
import select
import socket
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hostk8s_agent.cluster.wire import CHUNK_BYTES, USER_AGENT, Answer, Call, Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from hostk8s_agent.cluster.credentials import Credentials
    from hostk8s_agent.cluster.sockets import Lifelines

# Those that wait for the next request: the apply threads, the workers that apply by themselves, a probe.
_KEPT = 32
_BUFFER_BYTES = 16 * 1024
_LINE_LIMIT_BYTES = 64 * 1024
_HEADER_LIMIT = 100
# What would end a line of the head, or the target in it.
_NOT_IN_HEAD = re.compile(r"[^\x21-\x7e]")


class DirectWire:
    """Implements `Wire` for a server that is reached without a proxy."""

    def __init__(
        self,
        credentials: Credentials,
        lifelines: Lifelines,
        *,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        server = urlsplit(credentials.server)
        self._address = server.hostname or "", server.port or (443 if credentials.tls is not None else 80)
        self._host = server.netloc.rpartition("@")[2]
        self._credentials = credentials
        self._lifelines = lifelines
        self._connect_timeout = connect_timeout_seconds
        self._read_timeout = read_timeout_seconds
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def exchange(self, call: Call) -> Answer:
        """Send the call and return its whole answer."""
        with self._connection(call, self._read_timeout) as connection:
            body = b"".join(iter(connection.read_some, b""))
            return Answer(connection.status, connection.headers, body)

    @contextmanager
    def open_stream(self, call: Call, patience_seconds: float) -> Iterator[Stream]:
        """Send the call and give its answer while it comes; no byte for `patience_seconds` is a timeout."""
        with self._connection(call, patience_seconds) as connection:
            yield connection

    def close(self) -> None:
        """Break all connections, also under calls that wait in other threads, and every one from now on."""
        self._lifelines.cut()
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._lifelines.is_cut

    @contextmanager
    def _connection(self, call: Call, timeout_seconds: float) -> Iterator[_Connection]:
        """Give a connection that has sent the call and read the answer's head; keep it when the answer is over."""
        connection = self._take_idle() or self._connect()
        try:
            connection.ask(_render(call, self._host), timeout_seconds)
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.may_be_kept:
            with self._lock:
                if len(self._idle) < _KEPT and not self._lifelines.is_cut:
                    self._idle.append(connection)
                    return
        connection.close()

    def _take_idle(self) -> _Connection | None:
        while True:
            with self._lock:
                # The one that was used last: the others may end.
                connection = self._idle.pop() if self._idle else None
            if connection is None or not connection.is_dropped():
                return connection
            connection.close()

    def _connect(self) -> _Connection:
        connected = socket.create_connection(self._address, self._connect_timeout)
        lifeline = self._lifelines.tie(connected)
        if lifeline is None:
            connected.close()
            raise ConnectionAbortedError("the client was closed")
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in self._credentials.socket_options:
                connected.setsockopt(*option)
            if self._credentials.tls is not None:
                name = self._credentials.server_name or self._address[0]
                connected = self._credentials.tls.wrap_socket(connected, server_hostname=name)
        except BaseException:
            self._lifelines.untie(lifeline)
            connected.close()
            raise
        return _Connection(connected, lifeline, self._lifelines)


class _Connection:
    """One connection, and the answer that is being read from it. Implements `Stream`."""

    def __init__(self, connected: socket.socket | ssl.SSLSocket, lifeline: socket.socket, lifelines: Lifelines) -> None:
        self._socket = connected
        # Unbuffered, an SSLSocket's file is as raw as any other.
        self._reader = io.BufferedReader(connected.makefile("rb", 0), _BUFFER_BYTES)
        self._lifeline = lifeline
        self._lifelines = lifelines
        self.status = 0
        self.headers: dict[str, str] = {}
        # How much of the body, or of its chunk, is left; None where its end is the connection's.
        self._left: int | None = 0
        self._is_chunked = False
        self._is_in_chunk = False
        self._is_over = True

    def ask(self, request: bytes, timeout_seconds: float) -> None:
        """Send a request and read the head of its answer."""
        self._socket.settimeout(timeout_seconds)
        self._socket.sendall(request)
        self._is_over = False
        self.status = HTTPStatus.CONTINUE
        while self.status < HTTPStatus.OK:  # what comes before the answer (RFC 9110, 15.2)
            self._read_head()
        self._is_chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        self._is_in_chunk = False
        length = self.headers.get("Content-Length")
        if self._is_chunked or self.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self._left = 0
        else:
            self._left = None if length is None else _parse_size(length, 10)
        self._is_over = self._left == 0 and not self._is_chunked

    def read_some(self) -> bytes:
        """Return what there is of the body, waiting for at least one byte; empty at the end."""
        if self._is_chunked and not self._left and not self._is_over:
            self._begin_chunk()
        if self._is_over:
            return b""
        piece = self._reader.read1(CHUNK_BYTES if self._left is None else min(self._left, CHUNK_BYTES))
        if self._left is None:
            self._is_over = not piece
            return piece
        if not piece:
            raise _cut_error()
        self._left -= len(piece)
        self._is_over = self._left == 0 and not self._is_chunked
        return piece

    @property
    def may_be_kept(self) -> bool:
        """Whether the next request may go over it: the answer is over, and nobody means to end it."""
        return self._is_over and self._left is not None and self.headers.get("Connection", "").lower() != "close"

    def is_dropped(self) -> bool:
        """Whether the server has ended it, or sent what nobody asked for, while it was idle."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """End it."""
        self._lifelines.untie(self._lifeline)
        with suppress(OSError):
            self._reader.close()
        self._socket.close()

    def _begin_chunk(self) -> None:
        if self._is_in_chunk and self._read_line():
            raise ValueError("a chunk is longer than it says")
        self._is_in_chunk = True
        self._left = _parse_size(self._read_line().partition(b";")[0].decode("ascii"), 16)
        if self._left == 0:
            while self._read_line():
                pass  # trailers, which nobody has asked for
            self._is_over = True

    def _read_head(self) -> None:
        version, _, rest = self._read_line().partition(b" ")
        if version != b"HTTP/1.1":
            raise ValueError("the answer is not one of HTTP/1.1")
        self.status = _parse_size(rest[:3].decode("ascii"), 10)
        headers: dict[str, str] = {}
        while line := self._read_line():
            name, separator, value = line.partition(b":")
            if not separator or len(headers) == _HEADER_LIMIT:
                raise ValueError("the answer's head is malformed")
            headers[name.decode("ascii").title()] = value.strip().decode("latin-1")
        self.headers = headers

    def _read_line(self) -> bytes:
        line = self._reader.readline(_LINE_LIMIT_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == _LINE_LIMIT_BYTES:
                raise ValueError("a line of the answer's head is too long")
            raise _cut_error()
        return line.rstrip(b"\r\n")


def _render(call: Call, host: str) -> bytes:
    if _NOT_IN_HEAD.search(call.target) or _NOT_IN_HEAD.search(call.authorization.replace(" ", "")):
        raise ValueError("a request's head may not hold this")
    lines = [
        f"{call.method} {call.target} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        f"User-Agent: {USER_AGENT}",
    ]
    if call.authorization:
        lines.append(f"Authorization: {call.authorization}")
    if call.body is not None:
        lines += (f"Content-Type: {call.content_type}", f"Content-Length: {len(call.body)}")
    return "\r\n".join((*lines, "", "")).encode("ascii") + (call.body or b"")


def _parse_size(text: str, base: int) -> int:
    # int() takes signs, blanks and underscores, too.
    stripped = text.strip()
    if not stripped.isalnum():
        raise ValueError("the answer has a length that is none")
    return int(stripped, base)


def _cut_error() -> ConnectionError:
    return ConnectionResetError("the connection ended before the answer")

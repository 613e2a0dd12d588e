"""HTTP/1.0 over a Unix socket, as much of it as the control client needs.

`http.client` would do, but it imports the whole email package: 30 ms of the 100 that `status` takes. HTTP/1.0
has no chunks and no second request, so that an answer is its head, and then bytes until the end (RFC 1945).
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.control.errors import AgentSilentError, AgentUnresponsiveError
from hostk8s_agent.control.peers import find_peer_uid, may_answer
from hostk8s_agent.control.places import find_place, open_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONNECT_SECONDS = 2.0
MAX_HEAD_BYTES = 16 * 1024
# 5,000 stacks with three directories each take 8 MB.
MAX_BODY_BYTES = 512 * 1024 * 1024
_RETRY_SECONDS = 0.02
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `target` is the path with its query, both quoted; `body` is JSON, empty for none."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> bytes:
        """Return the bytes to send."""
        lines = [f"{self.method} {self.target} HTTP/1.0", "Host: hostk8s-agent", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join((*lines, "", "")).encode("ascii") + self.body


def connect(path: Path) -> socket.socket:
    """Return a connection to whoever listens at `path`.

    Raises `FileNotFoundError` or `ConnectionRefusedError` when nobody does, other `OSError`s when it cannot be told,
    `AgentUnresponsiveError` when it is not our agent, or one too busy to take the connection.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with open_address(find_place(path)) as address:
            _connect_patiently(connection, address)
        _require_our_agent(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def send(connection: socket.socket, request: Request, deadline: Deadline) -> tuple[int, bytes]:
    """Send a request; return the answer's status and what has come of its body with the head."""
    connection.settimeout(deadline.remaining_seconds())
    connection.sendall(request.render())
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        chunk = _receive(connection, deadline)
        if not chunk or len(received) > MAX_HEAD_BYTES:
            raise _not_understood("it ended the connection without an answer" if not chunk else "its answer has no end")
        received += chunk
    return _parse_status(bytes(received[:end])), bytes(received[end + 4 :])


def read_body(connection: socket.socket, begun: bytes, deadline: Deadline) -> bytes:
    """Return the whole body, of which `begun` has come already."""
    body = bytearray(begun)
    while chunk := _receive(connection, deadline):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _not_understood("its answer has no end")
    return bytes(body)


def read_lines(connection: socket.socket, begun: bytes, timeout_seconds: float) -> Iterator[bytes | None]:
    """Give the body line by line as it comes, None each time that nothing has come for the timeout."""
    connection.settimeout(timeout_seconds)
    pending = begun
    while True:
        *lines, pending = pending.split(b"\n")
        yield from (line.rstrip(b"\r") for line in lines)
        try:
            chunk = connection.recv(_CHUNK_BYTES)
        except TimeoutError:
            yield None
            continue
        if not chunk:
            return
        pending += chunk


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._end = time.monotonic() + timeout_seconds

    def remaining_seconds(self) -> float:
        """How long there is still. Raises `AgentUnresponsiveError` when it is over."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise _too_slow(self._timeout_seconds)
        return remaining

    def expire(self) -> AgentUnresponsiveError:
        """Return the error that says that it is over."""
        return _too_slow(self._timeout_seconds)


def _connect_patiently(connection: socket.socket, address: str) -> None:
    deadline = time.monotonic() + CONNECT_SECONDS
    connection.settimeout(CONNECT_SECONDS)
    while True:
        try:
            connection.connect(address)
        except BlockingIOError as error:
            # A full backlog is EAGAIN at once, not a wait (unix(7)): many ask at the same time.
            if time.monotonic() > deadline:
                raise _too_slow(CONNECT_SECONDS) from error
            time.sleep(_RETRY_SECONDS)
        except TimeoutError as error:
            raise _too_slow(CONNECT_SECONDS) from error
        else:
            return


def _require_our_agent(connection: socket.socket, path: Path) -> None:
    uid = find_peer_uid(connection)
    if not may_answer(uid):
        raise AgentUnresponsiveError(
            f"what listens on {path} belongs to user {uid} and is not asked",
            hint="remove the socket, and start the agent",
        )


def _receive(connection: socket.socket, deadline: Deadline) -> bytes:
    connection.settimeout(deadline.remaining_seconds())
    try:
        return connection.recv(_CHUNK_BYTES)
    except TimeoutError as error:
        raise deadline.expire() from error
    except ConnectionError as error:
        raise _not_understood("it ended the connection") from error


def _parse_status(head: bytes) -> int:
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if words[0] not in {b"HTTP/1.0", b"HTTP/1.1"} or not words[1:2] or not words[1].isdigit():
        raise _not_understood("its answer is not HTTP")
    return int(words[1])


def _too_slow(seconds: float) -> AgentSilentError:
    return AgentSilentError(
        f"an agent runs and did not answer within {seconds:.0f} s",
        hint="its log says what it does; it may need a restart",
    )


def _not_understood(what: str) -> AgentUnresponsiveError:
    return AgentUnresponsiveError(
        f"the agent's answer cannot be understood: {what}", hint="try again; if it stays so, restart the agent"
    )

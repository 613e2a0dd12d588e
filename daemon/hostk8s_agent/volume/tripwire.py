"""A connection that tells at once what the next check would find: the engine goes away, or something of ours does.

It is idle until it is told what to tell of; then it carries the engine's events (Docker Engine API, `GET /events`).
They are hints: one that is lost costs the time until the next check, and what one says is looked at before it is
believed.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from hostk8s_agent.volume.translation import translate_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.volume.endpoint import DockerEndpoint

_CONNECT_SECONDS = 4.0
_CHUNK_BYTES = 65536
# One event is some hundred bytes; of a longer line, which is none, the end is enough.
_LINE_BYTES = 16384
_FILTERS = {"type": {"volume": True, "container": True}, "event": {"destroy": True}}


class Tripwire:
    """Used from one thread. Opening it raises an `EngineUnreachableError`; close it."""

    def __init__(self, endpoint: DockerEndpoint) -> None:
        self._may_subscribe = endpoint.tls_folder is None
        self._is_subscribed = False
        self._names: dict[str, str] = {}
        self._line = b""
        self.is_cut = False
        """Whether the engine, or what forwards to it, has ended the connection."""
        self.is_told = False
        """Whether the engine has begun to tell events. One that never did is not asked again."""
        self._removed: set[str] = set()
        try:
            self.socket = _connect(endpoint)
        except OSError as error:
            raise translate_connection(f"reach the Docker engine at {endpoint.url}", error) from error

    def subscribe(self, api_version: str, volume: str, container: str) -> None:
        """Ask for the removal of a volume and of a container, both by name. What fails is seen as a cut."""
        if not self._may_subscribe:
            return
        self._names = {"volume": volume, "container": container}
        filters = quote(json.dumps(_FILTERS))
        request = f"GET /v{api_version}/events?filters={filters} HTTP/1.1\r\nHost: docker\r\n\r\n"
        self._is_subscribed = True
        with suppress(OSError):
            self.socket.sendall(request.encode("ascii"))

    def has_news(self) -> bool:
        """Read what has come, and return whether any of it is for us: an end, or a removal."""
        for line in self._read_lines():
            if line.startswith(b"HTTP/1.1 200"):
                self.is_told = True
            if kind := self._find_removed(line):
                self._removed.add(kind)
        return self.is_cut or bool(self._removed)

    def take_removed(self) -> set[str]:
        """Return the types of what was removed since the last time: `volume`, `container`."""
        removed, self._removed = self._removed, set()
        return removed

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _read_lines(self) -> Iterator[bytes]:
        self.socket.settimeout(0)
        while True:
            try:
                chunk = self.socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk or not self._is_subscribed:
                # Nothing was asked: whatever arrives, the end included, is a sign.
                self.is_cut = True
                return
            *lines, rest = (self._line + chunk).split(b"\n")
            self._line = rest[-_LINE_BYTES:]
            yield from lines

    def _find_removed(self, line: bytes) -> str:
        """Return the type of what a line says was removed, empty when it is none of ours, or no event."""
        if not line.startswith(b"{"):
            return ""  # a header, or the size of a chunk
        try:
            event = json.loads(line)
            kind, actor = str(event["Type"]), event["Actor"]
            name = str(actor["ID"] if kind == "volume" else actor["Attributes"]["name"])
        except (ValueError, TypeError, KeyError):
            return ""
        return kind if event.get("Action") == "destroy" and self._names.get(kind) == name else ""


def _connect(endpoint: DockerEndpoint) -> socket.socket:
    if endpoint.socket_path is None:
        parts = urlsplit(endpoint.url)
        return socket.create_connection((parts.hostname, parts.port or 2375), timeout=_CONNECT_SECONDS)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(_CONNECT_SECONDS)
        made.connect(str(endpoint.socket_path))
    except BaseException:
        made.close()
        raise
    return made

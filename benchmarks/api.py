"""The API server by raw HTTP: kept-alive connections, eight in parallel, and the server's own count of requests."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import subprocess
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workload import Patch

PARALLEL = 8
TIMEOUT_SECONDS = 60.0
WRITING_VERBS = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
STORAGE_RESOURCES = frozenset({"persistentvolumes", "persistentvolumeclaims", "storageclasses"})

_COUNTER = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class ApiServer:
    """How the API server is reached: by token, over TLS."""

    host: str
    port: int
    certificate_authority: str
    token: str

    def connect(self) -> RawConnection:
        """Open one connection."""
        return RawConnection(self)


def load_api_server(kubectl: str, kubeconfig: Path) -> ApiServer:
    """Return the API server of a kubeconfig of the testbed, which holds a token and inline certificates."""
    command = [kubectl, "--kubeconfig", str(kubeconfig), "config", "view", "--raw", "--minify", "--output", "json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    server = urlsplit(cluster["server"])
    certificate_authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return ApiServer(server.hostname or "", server.port or 443, certificate_authority, user["token"])


class RawConnection:
    """One kept-alive connection."""

    def __init__(self, server: ApiServer) -> None:
        context = ssl.create_default_context(cadata=server.certificate_authority)
        self._http = http.client.HTTPSConnection(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
        self._headers = {"Authorization": f"Bearer {server.token}", "Accept": "application/json"}

    def get(self, path: str) -> bytes:
        """Return the body of a GET. Raises `RuntimeError` on any answer but 2xx."""
        return self._send("GET", path, None, {})

    def patch(self, patch: Patch) -> None:
        """Send one PATCH. Raises `RuntimeError` on any answer but 2xx."""
        self._send("PATCH", patch.path, patch.body, {"Content-Type": patch.content_type})

    def open_stream(self, path: str) -> http.client.HTTPResponse:
        """Ask for an answer that does not end, and return it once its head has come."""
        self._http.request("GET", path, headers=self._headers)
        # For a long time nothing may happen that is worth an event.
        self._http.sock.settimeout(None)
        return self._http.getresponse()

    def interrupt(self) -> None:
        """End a stream that another thread reads."""
        # The server may have ended it before, or be gone.
        with suppress(OSError):
            if self._http.sock is not None:
                self._http.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._http.request(method, path, body=body, headers={**self._headers, **headers})
        with self._http.getresponse() as answer:
            content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
        return content


class RawPool:
    """Eight kept-alive connections that share out what is to be sent: the bare limit. Use as a context manager."""

    def __init__(self, server: ApiServer) -> None:
        self._connections = [server.connect() for _ in range(PARALLEL)]
        self._threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="raw")

    def warm(self) -> None:
        """Use each connection and each thread once, so that none is opened within a measure."""
        list(self._threads.map(lambda one: one.get("/version"), self._connections))

    def patch(self, patches: Sequence[Patch]) -> None:
        """Send all; return when all answers are in. The first share is the caller's own: no hand-over for it."""
        waiting = deque(patches)
        first, *others = self._connections[: len(patches)]
        shares = [self._threads.submit(_patch_until_none_waits, one, waiting) for one in others]
        _patch_until_none_waits(first, waiting)
        for share in shares:
            share.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for one in self._connections:
            one.close()


def _patch_until_none_waits(connection: RawConnection, waiting: deque[Patch]) -> None:
    while True:
        try:
            patch = waiting.popleft()
        except IndexError:
            return
        connection.patch(patch)


class RequestKind(NamedTuple):
    """What the API server counts separately, of the labels of its metric `apiserver_request_total`."""

    verb: str
    resource: str
    is_json: bool


class RequestCounter:
    """How many requests the API server has served, by its own count.

    Who asked is not among the labels. But the server itself and the controller manager speak protobuf with it
    where the agent speaks JSON (label `contentType`, before 1.22), so that most of their requests can be told.
    """

    def __init__(self, server: ApiServer) -> None:
        self._connection = server.connect()

    def read(self) -> Counter[RequestKind]:
        """Return the counts so far. Watches are left out: they are counted when they end."""
        found: Counter[RequestKind] = Counter()
        for labels, count in _COUNTER.findall(self._connection.get("/metrics").decode()):
            values = dict(_LABEL.findall(labels))
            if values["verb"] != "WATCH" and values["resource"]:
                is_json = values.get("contentType", "application/json") == "application/json"
                found[RequestKind(values["verb"], values["resource"], is_json)] += int(float(count))
        return found

    def wait_until_quiet(self, *, quiet_seconds: float = 1.0, limit_seconds: float = 120.0) -> Counter[RequestKind]:
        """Wait until no storage object was read or written for a while, by anyone; return the counts then."""
        deadline = time.monotonic() + limit_seconds
        before = self.read()
        while time.monotonic() < deadline:
            time.sleep(quiet_seconds)
            now = self.read()
            if not count_storage_requests(now - before):
                return now
            before = now
        raise RuntimeError(f"the API server was never quiet for {quiet_seconds} s within {limit_seconds} s")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def count_storage_requests(counts: Counter[RequestKind], *, only_writes: bool = False) -> int:
    """Return how many of the requests were for volumes, claims and classes, by anyone."""
    return sum(
        count
        for kind, count in counts.items()
        if kind.resource in STORAGE_RESOURCES and (not only_writes or kind.verb in WRITING_VERBS)
    )


def count_heartbeats(counts: Counter[RequestKind]) -> int:
    """Return how often a namespace was read in JSON, which in a benchmark only the agent does."""
    return sum(count for kind, count in counts.items() if kind.resource == "namespaces" and kind.is_json)

"""Lean requests to an API server: JSON in, JSON out, over connections that are kept.

The generated API of the `kubernetes` package reaches 350 applies a second on a machine where this reaches 530
(bare sockets: 620), and its models refuse objects that servers really send.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

import urllib3

from hostk8s_agent.cluster.errors import ClusterAnswerError
from hostk8s_agent.cluster.requests import JsonObject, Request, RequestCounter
from hostk8s_agent.cluster.sockets import Lifelines, tie_connections
from hostk8s_agent.cluster.statuses import error_from_status
from hostk8s_agent.cluster.translation import translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hostk8s_agent.cluster.credentials import Credentials
    from hostk8s_agent.cluster.resources import Resource

_PAGE_SIZE = 500
# The apply threads, the workers that apply by themselves, three watches, a probe.
_POOL_SIZE = 32
_CHUNK_BYTES = 64 * 1024
# An event is one object, which etcd keeps below 1.5 MB by default.
_LINE_LIMIT_BYTES = 16 * 1024 * 1024


class ApiServerClient:
    """One server, one user, kept connections. Safe from several threads.

    Every call raises a `ClusterError`; none is tried again here, none follows a redirect.
    """

    def __init__(
        self,
        credentials: Credentials,
        counter: RequestCounter,
        *,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self.server = credentials.server
        self._credentials = credentials
        self._counter = counter
        self._connect_timeout = connect_timeout_seconds
        self._timeout = urllib3.Timeout(connect=connect_timeout_seconds, read=read_timeout_seconds)
        self._lifelines = Lifelines()
        self._pools = _make_pools(credentials)
        # The one pool that there is, asked directly: finding it anew costs a third of the time of a request.
        self._pool = self._pools.connection_from_url(self.server)
        tie_connections(self._pool, self._lifelines)
        # Only a proxy for plain HTTP is told the whole address in the request line.
        is_told_all = credentials.proxy is not None and credentials.tls is None
        self._base = self.server if is_told_all else urlsplit(self.server).path

    def send(self, request: Request) -> JsonObject:
        """Send the request and return the JSON object of the answer. Raises a `ClusterError` unless it is 2xx."""
        with translate_errors(self.server), self._counting(request) as answered:
            response = self._open(request, self._timeout, preload=True)
            answered.append(response.status)
            body = response.data
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise error_from_status(response.status, _status_of(body), request.subject, response.headers)
        with translate_errors(self.server):
            decoded = json.loads(body)
        if not isinstance(decoded, dict):
            raise _no_object(request)
        return decoded

    def list_all(self, resource: Resource) -> tuple[list[object], str]:
        """Return all objects of a resource, of one instant, and the resource version of that instant.

        Read page by page, so that neither end holds two thousand objects as text.
        """
        items: list[object] = []
        query: dict[str, str | int] = {"limit": _PAGE_SIZE}
        while True:
            request = Request("list", resource.path, f"list {resource.kind} objects", query)
            page = self.send(request)
            metadata, found = page.get("metadata"), page.get("items")
            version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
            if not isinstance(metadata, dict) or not isinstance(version, str) or not version:
                raise _no_object(request)
            items.extend(found if isinstance(found, list) else ())
            following = metadata.get("continue")
            if not following:
                return items, version
            query = {"limit": _PAGE_SIZE, "continue": str(following)}

    @contextmanager
    def open_watch(
        self, resource: Resource, version: str, seconds: int, patience_seconds: float
    ) -> Iterator[Iterator[JsonObject]]:
        """Watch a resource from `version` on for `seconds`; yield the iterator of the events, bookmarks included.

        The iterator ends when the server ends the watch. No byte for `patience_seconds` is a
        `ClusterTimeoutError`, a stream that is cut a `ClusterUnreachableError`.
        """
        query: dict[str, str | int] = {
            "watch": 1,
            "resourceVersion": version,
            "timeoutSeconds": seconds,
            "allowWatchBookmarks": "true",
        }
        request = Request("watch", resource.path, f"watch {resource.kind} objects", query)
        timeout = urllib3.Timeout(connect=self._connect_timeout, read=patience_seconds)
        with translate_errors(self.server), self._counting(request) as answered:
            response = self._open(request, timeout, preload=False)
            answered.append(response.status)
        try:
            if response.status != HTTPStatus.OK:
                with translate_errors(self.server):
                    body = response.read(_CHUNK_BYTES)
                raise error_from_status(response.status, _status_of(body), request.subject, response.headers)
            yield self._read_events(response, request)
        finally:
            # A stream that was read to its end has given its connection back by now; any other is of no use.
            response.close()

    def close(self) -> None:
        """Break all connections, also under requests that wait for an answer in other threads."""
        self._lifelines.cut()
        self._pools.clear()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._lifelines.is_cut

    def _open(self, request: Request, timeout: urllib3.Timeout, *, preload: bool) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "hostk8s-agent"}
        if authorization := self._credentials.authorize():
            headers["Authorization"] = authorization
        body = None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            body = json.dumps(request.body, separators=(",", ":")).encode()
        url = f"{self._base}{request.path}"
        if request.query:
            url = f"{url}?{urlencode(request.query)}"
        return self._pool.urlopen(
            request.method,
            url,
            body=body,
            headers=headers,
            timeout=timeout,
            preload_content=preload,
            retries=False,
            redirect=False,
        )

    @contextmanager
    def _counting(self, request: Request) -> Iterator[list[int]]:
        answered: list[int] = []
        try:
            yield answered
        finally:
            self._counter.count(request.verb, str(answered[0]) if answered else "none")

    def _read_events(self, response: urllib3.BaseHTTPResponse, request: Request) -> Iterator[JsonObject]:
        rest = b""
        with translate_errors(self.server):
            # What there is at once, even when it is less than was asked for: an event must not wait for the next.
            while chunk := response.read1(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LINE_LIMIT_BYTES:
                    raise _no_object(request)
                for line in lines:
                    if line.strip():
                        yield _decode_event(line, request)


def _make_pools(credentials: Credentials) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "maxsize": _POOL_SIZE,
        "socket_options": credentials.socket_options,
    }
    if credentials.tls is not None:
        options["ssl_context"] = credentials.tls
        options["server_hostname"] = credentials.server_name
    if credentials.proxy is None:
        return urllib3.PoolManager(**options)
    if credentials.proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 - needs PySocks, which few have

        return SOCKSProxyManager(credentials.proxy, **options)
    return urllib3.ProxyManager(credentials.proxy, **options)


def _decode_event(line: bytes, request: Request) -> JsonObject:
    event = json.loads(line)
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise _no_object(request)
    return cast("JsonObject", event)


def _status_of(body: bytes) -> Mapping[str, Any]:
    """Return the `Status` object of an answer, empty when the body is something else (a proxy's page)."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) else {}


def _no_object(request: Request) -> ClusterAnswerError:
    return ClusterAnswerError(
        f"the API server's answer to {request.subject} is not of the form that it should have",
        hint="check that the kubeconfig names an API server and nothing in between; the agent goes on trying",
    )

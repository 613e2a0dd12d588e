"""Lean requests to an API server: JSON in, JSON out, over connections that are kept.

The generated API of the `kubernetes` package is slower by far (docs/adr/0002), and its models refuse objects that
servers really send.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

from hostk8s_agent.cluster.direct_wire import DirectWire
from hostk8s_agent.cluster.errors import ClusterAnswerError
from hostk8s_agent.cluster.requests import JsonObject, Request, RequestCounter
from hostk8s_agent.cluster.sockets import Lifelines
from hostk8s_agent.cluster.statuses import error_from_status
from hostk8s_agent.cluster.translation import translate_errors
from hostk8s_agent.cluster.wire import Call
from hostk8s_agent.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hostk8s_agent.cluster.credentials import Credentials
    from hostk8s_agent.cluster.resources import Resource
    from hostk8s_agent.cluster.wire import Stream, Wire

_PAGE_SIZE = 500
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
        self._wire = _make_wire(
            credentials, connect_timeout_seconds=connect_timeout_seconds, read_timeout_seconds=read_timeout_seconds
        )
        # Only a proxy for plain HTTP is told the whole address in the request line.
        is_told_all = credentials.proxy is not None and credentials.tls is None
        self._base = self.server if is_told_all else urlsplit(self.server).path

    def send(self, request: Request) -> JsonObject:
        """Send the request and return the JSON object of the answer. Raises a `ClusterError` unless it is 2xx."""
        with translate_errors(self.server), self._counting(request) as answered:
            answer = self._wire.exchange(self._call(request))
            answered.append(answer.status)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise error_from_status(answer.status, _status_of(answer.body), request.subject, answer.headers)
        with translate_errors(self.server):
            decoded = json.loads(answer.body)
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
        with ExitStack() as opened:
            with translate_errors(self.server), self._counting(request) as answered:
                stream = opened.enter_context(self._wire.open_stream(self._call(request), patience_seconds))
                answered.append(stream.status)
            if stream.status != HTTPStatus.OK:
                with translate_errors(self.server):
                    body = stream.read_some()
                raise error_from_status(stream.status, _status_of(body), request.subject, stream.headers)
            try:
                yield self._read_events(stream, request)
            except ClusterError:
                # Cut, silent for too long, or expired: whatever the reader of the events makes of them counts too.
                self._counter.count_watch_restart()
                raise

    def close(self) -> None:
        """Break all connections, also under requests that wait for an answer in other threads."""
        self._wire.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._wire.is_closed

    def _call(self, request: Request) -> Call:
        url = f"{self._base}{request.path}"
        if request.query:
            url = f"{url}?{urlencode(request.query)}"
        body = None if request.body is None else json.dumps(request.body, separators=(",", ":")).encode()
        return Call(request.method, url, self._credentials.authorize(), body, request.content_type)

    @contextmanager
    def _counting(self, request: Request) -> Iterator[list[int]]:
        answered: list[int] = []
        try:
            yield answered
        finally:
            self._counter.count(request.verb, str(answered[0]) if answered else "none")

    def _read_events(self, stream: Stream, request: Request) -> Iterator[JsonObject]:
        rest = b""
        with translate_errors(self.server):
            # What there is at once, even when it is less than was asked for: an event must not wait for the next.
            while chunk := stream.read_some():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LINE_LIMIT_BYTES:
                    raise _no_object(request)
                for line in lines:
                    if line.strip():
                        yield _decode_event(line, request)


def _make_wire(credentials: Credentials, *, connect_timeout_seconds: float, read_timeout_seconds: float) -> Wire:
    if credentials.proxy is None:
        return DirectWire(
            credentials,
            Lifelines(),
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
        )
    from hostk8s_agent.cluster.proxied_wire import ProxiedWire  # noqa: PLC0415 - few have a proxy before a cluster

    return ProxiedWire(
        credentials,
        Lifelines(),
        connect_timeout_seconds=connect_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
    )


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

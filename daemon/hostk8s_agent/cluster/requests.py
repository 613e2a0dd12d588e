"""What a request is, and how many there were. Free of any HTTP client."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from hostk8s_agent.cluster.resources import Resource

JsonObject: TypeAlias = dict[str, Any]

Verb: TypeAlias = Literal["get", "list", "watch", "create", "apply", "patch", "delete"]
"""What a request is for; `create`, `apply`, `patch` and `delete` write, the others do not."""

APPLY_PATCH = "application/apply-patch+yaml"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `subject` says in words what it is for, as errors tell it: `apply PersistentVolume/x`.

    `query` is sent in its order; `body` is sent as JSON, of `content_type`, unless it is None.
    """

    verb: Verb
    path: str
    subject: str
    query: Mapping[str, str | int] | None = None
    body: object = None
    content_type: str = ""

    @property
    def method(self) -> str:
        """The HTTP method."""
        if self.verb == "delete":
            return "DELETE"
        if self.verb == "create":
            return "POST"
        return "PATCH" if self.verb in ("apply", "patch") else "GET"


class ClusterClient(Protocol):
    """One server, one user, kept connections. Safe from several threads; every call raises a `ClusterError`."""

    def send(self, request: Request) -> JsonObject:
        """Send the request and return the JSON object of the answer, which was a 2xx."""

    def list_all(self, resource: Resource) -> tuple[list[object], str]:
        """Return all objects of a resource, of one instant, and the resource version of that instant."""

    def open_watch(
        self, resource: Resource, version: str, seconds: int, patience_seconds: float
    ) -> AbstractContextManager[Iterator[JsonObject]]:
        """Watch a resource from `version` on for `seconds`; give the iterator of the events, bookmarks included.

        The iterator ends when the server ends the watch. No byte for `patience_seconds` is a
        `ClusterTimeoutError`, a stream that is cut a `ClusterUnreachableError`.
        """

    def close(self) -> None:
        """Break all connections, also under requests that wait for an answer in other threads."""


class RequestCounter:
    """Requests by verb and answer. Survives the clients that count with it. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._watch_restarts = 0

    def count(self, verb: Verb, answer: str) -> None:
        """Count one request; `answer` is the HTTP status, or `none` when no answer came."""
        with self._lock:
            self._counts[verb, answer] += 1

    def count_watch_restart(self) -> None:
        """Count a watch that ended before its time, so that another one has to be begun."""
        with self._lock:
            self._watch_restarts += 1

    @property
    def watch_restarts(self) -> int:
        """How many watches ended before their time."""
        with self._lock:
            return self._watch_restarts

    def snapshot(self) -> Mapping[tuple[str, str], int]:
        """Return the counts so far, keyed by (verb, answer)."""
        with self._lock:
            return dict(self._counts)

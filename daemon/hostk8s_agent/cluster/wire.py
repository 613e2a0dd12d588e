"""What carries requests to one server and brings the answers back; free of any library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

CHUNK_BYTES = 64 * 1024
USER_AGENT = "hostk8s-agent"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire. `target` is what stands in the request line, query included.

    `body` is sent as `content_type` unless it is None; an empty `authorization` is left out.
    """

    method: str
    target: str
    authorization: str = ""
    body: bytes | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Names of headers are as in `Retry-After`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(Protocol):
    """An answer that is still coming."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names are as in `Retry-After`."""

    def read_some(self) -> bytes:
        """Return what there is, waiting for at least one byte; empty at the end."""


class Wire(Protocol):
    """Kept connections to one server. Safe from several threads.

    What goes wrong is raised as the library or the operating system has it: see `translation.translate_errors`.
    """

    def exchange(self, call: Call) -> Answer:
        """Send the call and return its whole answer."""

    def open_stream(self, call: Call, patience_seconds: float) -> AbstractContextManager[Stream]:
        """Send the call and give its answer while it comes; no byte for `patience_seconds` is a timeout."""

    def close(self) -> None:
        """Break all connections, also under calls that wait in other threads, and every one from now on."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""

"""The engine's archive API on one container: look at a path, read a tree, write a tree.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerArchive
"""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

from hostk8s_agent.volume.engine import Engine, require_success
from hostk8s_agent.volume.errors import HelperGoneError, StreamStalledError
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import requests

    from hostk8s_agent.plan.observed import EntryKind

STALL_SECONDS = 50.0
"""How long a stream may bring no byte. Each read and each write has this limit, the whole stream has none."""

_STREAM_CHUNK_BYTES = 1 << 20
_PUT_TIMEOUT_SECONDS = 30.0

# Go's os.FileMode (https://pkg.go.dev/io/fs#FileMode): the type and the special bits stand elsewhere than in st_mode.
_GO_DIRECTORY, _GO_SYMLINK = 1 << 31, 1 << 27
_GO_NOT_REGULAR = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
_GO_SPECIAL_BITS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))


@dataclass(frozen=True, slots=True)
class PathStat:
    """What `HEAD` tells of a path: everything but the owner. `modified_at` is the engine's RFC 3339 text."""

    kind: EntryKind
    mode: int
    modified_at: str


class ContainerArchive:
    """The archive API on a container that exists and does not run. Safe from several threads."""

    def __init__(self, engine: Engine, container_id: str, *, stall_seconds: float = STALL_SECONDS) -> None:
        self._engine = engine
        self._stall_seconds = stall_seconds
        self._url = engine.build_url(f"/containers/{quote(container_id, safe='')}/archive")
        self._container_url = engine.build_url(f"/containers/{quote(container_id, safe='')}/json")

    def find_stat(self, path: str) -> PathStat | None:
        """Return what stands at an absolute path of the container, None when nothing does (about 2 ms).

        The last component is not followed when it is a link; the ones before are, by the engine. An answer
        without a body cannot say whether the path is absent or the container: see `require_container`.
        """
        attempt = f"look at {path}"
        with translated(attempt):
            response = self._engine.client.head(self._url, params={"path": path})
            if response.status_code == HTTPStatus.NOT_FOUND:
                return None
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                # A container that is being removed at this moment fails, without a word, before it is gone.
                self._require_staying()
            require_success(response, attempt)
            text = response.headers["X-Docker-Container-Path-Stat"]
            return _parse_stat(json.loads(base64.b64decode(text)))

    def read_first_header(self, path: str) -> tarfile.TarInfo:
        """Return the tar header of a path: the only way to its owner (about 50 ms). The content is not read."""
        attempt = f"read the owner of {path}"
        with self.open_stream(path, attempt) as response, translated(attempt, is_stream=True):
            # Closing with content unread drops this one connection; the pool opens another when it needs it.
            with tarfile.open(fileobj=cast("IO[bytes]", response.raw), mode="r|") as archive:
                header = archive.next()
            if header is None:
                raise StreamStalledError(f"could not {attempt}: the engine sent nothing", hint="look into its log")
            return header

    @contextmanager
    def open_stream(self, path: str, attempt: str) -> Iterator[requests.Response]:
        """Open the tree at a path as a tar stream whose reads end after the stall limit without a byte."""
        with translated(attempt):
            response = self._engine.client.get(
                self._url, params={"path": path}, stream=True, timeout=(_PUT_TIMEOUT_SECONDS, self._stall_seconds)
            )
        with closing(response):
            require_success(response, attempt)
            yield response

    def iterate_stream(self, response: requests.Response, attempt: str) -> Iterator[bytes]:
        """Yield the chunks of an open stream. Raises `StreamStalledError`, and an error for one that ends early."""
        with translated(attempt, is_stream=True):
            yield from response.iter_content(_STREAM_CHUNK_BYTES)

    def write_tar(self, path: str, body: bytes | Iterable[bytes], attempt: str) -> None:
        """Extract a tar stream at an absolute path of the container, which exists.

        A directory never replaces what is none, nor the other way round: the engine refuses.
        """
        is_stream = not isinstance(body, bytes)
        seconds = self._stall_seconds if is_stream else _PUT_TIMEOUT_SECONDS
        with translated(attempt, is_stream=is_stream):
            response = self._engine.client.put(
                self._url,
                params={"path": path, "noOverwriteDirNonDir": "true"},
                data=body,
                headers={"Content-Type": "application/x-tar"},
                # The first is the limit of each write as well: urllib3 leaves it on the socket.
                timeout=(seconds, seconds),
            )
            require_success(response, attempt)

    def _require_staying(self) -> None:
        """Raise `HelperGoneError` when the container is gone, or on its way out."""
        response = self._engine.client.get(self._container_url)
        is_leaving = response.status_code == HTTPStatus.NOT_FOUND
        if response.status_code == HTTPStatus.OK:
            is_leaving = json.loads(response.content).get("State", {}).get("Status") in {"removing", "dead"}
        if is_leaving:
            raise HelperGoneError("the helper container is being removed", hint="the agent makes a new one by itself")

    def require_container(self) -> None:
        """Raise `HelperGoneError` when the container itself is gone."""
        # Its own root is the one path that is there as long as it is.
        if self.find_stat("/") is None:
            raise HelperGoneError("the helper container is gone", hint="the agent makes a new one by itself")


def _parse_stat(answer: dict[str, object]) -> PathStat:
    go_mode = int(cast("int", answer["mode"]))
    mode = go_mode & 0o777
    for go_bit, bit in _GO_SPECIAL_BITS:
        if go_mode & go_bit:
            mode |= bit
    return PathStat(_classify_go_mode(go_mode), mode, str(answer.get("mtime", "")))


def _classify_go_mode(go_mode: int) -> EntryKind:
    if go_mode & _GO_DIRECTORY:
        return "directory"
    if go_mode & _GO_SYMLINK:
        return "symlink"
    return "other" if go_mode & _GO_NOT_REGULAR else "file"

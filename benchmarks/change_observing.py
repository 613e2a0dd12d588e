"""An observer of changes: a raw watch that notes when each PersistentVolume was seen with which size."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

    from api import ApiServer

# When each change came is noted as it comes; looking for them at each one took more than the agent, for a thousand.
LOOK_SECONDS = 0.02
_COLLECTION = "/api/v1/persistentvolumes"
# Not decoded: the observer's work is done on the processors that are measured. `managedFields` have `f:` before names.
_EVENT = re.compile(rb'\{"type":"(\w+)".*?"name":"([^"]+)".*"capacity":\{"storage":"(\w+)"\}')


class ChangeObserver:
    """Watches all PersistentVolumes from now on. Use as a context manager."""

    def __init__(self, server: ApiServer) -> None:
        self._connection = server.connect()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._seen: dict[str, list[tuple[str, float]]] = {}
        self.counts = {"ADDED": 0, "MODIFIED": 0, "DELETED": 0}

    def __enter__(self) -> Self:
        version = json.loads(self._connection.get(f"{_COLLECTION}?limit=1"))["metadata"]["resourceVersion"]
        stream = self._connection.open_stream(f"{_COLLECTION}?watch=1&timeoutSeconds=3600&resourceVersion={version}")
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.interrupt()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def forget(self) -> None:
        """Know of no change before this moment."""
        with self._lock:
            self._seen.clear()

    def wait(self, sizes: Mapping[str, str], timeout_seconds: float, *, after: float = 0.0) -> dict[str, float]:
        """Return when each volume was first seen with its size since `forget` and `after`, on `perf_counter`'s clock.

        Raises `RuntimeError` when that does not come about in time.
        """
        deadline = time.monotonic() + timeout_seconds
        found: dict[str, float] = {}
        while True:
            with self._lock:
                for name in [one for one in sizes if one not in found]:
                    times = [at for size, at in self._seen.get(name, ()) if size == sizes[name] and at > after]
                    found |= {name: times[0]} if times else {}
            if len(found) == len(sizes):
                return found
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(sizes) - len(found)} volumes did not change in {timeout_seconds} s")
            time.sleep(LOOK_SECONDS)

    def _read(self, stream: HTTPResponse) -> None:
        try:
            while line := stream.readline():
                now = time.perf_counter()
                if (match := _EVENT.match(line)) is None:
                    continue
                kind, name, size = (part.decode() for part in match.groups())
                with self._lock:
                    self.counts[kind] = self.counts.get(kind, 0) + 1
                    self._seen.setdefault(name, []).append((size, now))
        except (OSError, ValueError):
            return  # interrupted

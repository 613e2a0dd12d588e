"""An observer that knows nothing of the agent: raw watches, opened before, that note when each object was there."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.client import HTTPResponse

    from api import ApiServer, RawConnection

_COLLECTIONS = ("/apis/storage.k8s.io/v1/storageclasses", "/api/v1/persistentvolumes")

# As every API server writes it: kind, version, and the name first of the metadata.
_ADDED = re.compile(rb'\{"type":"ADDED","object":\{"kind":"(\w+)","apiVersion":"[^"]+","metadata":\{"name":"([^"]+)"')


class Observer:
    """Watches all StorageClasses and PersistentVolumes. Use as a context manager.

    With `from_the_start` what is there already counts as added at the moment when the watch is opened.
    """

    def __init__(self, server: ApiServer, *, from_the_start: bool = False) -> None:
        self._server = server
        self._from_the_start = from_the_start
        self._connections: list[RawConnection] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._missing: set[str] = set()
        self._seen_at: dict[str, float] = {}
        # What came before anyone expected it; kept only by an observer that looks from the start.
        self._seen_before: dict[str, float] = {}
        self._is_complete = threading.Event()

    def __enter__(self) -> Self:
        for collection in _COLLECTIONS:
            connection = self._server.connect()
            # The limit of 1 keeps the answer small; its version is that of the whole list.
            listed = json.loads(connection.get(f"{collection}?limit=1"))
            version = "" if self._from_the_start else f"&resourceVersion={listed['metadata']['resourceVersion']}"
            stream = connection.open_stream(f"{collection}?watch=1&timeoutSeconds=3600{version}")
            thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
            thread.start()
            self._connections.append(connection)
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.interrupt()
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()

    def expect(self, names: Iterable[str]) -> None:
        """From now on wait for these objects (`Kind/name`), in place of those expected before."""
        with self._lock:
            wanted = set(names)
            self._seen_at = {name: at for name, at in self._seen_before.items() if name in wanted}
            self._missing = wanted - self._seen_at.keys()
            self._is_complete.clear()
            if wanted and not self._missing:
                self._is_complete.set()

    def wait(self, timeout_seconds: float) -> dict[str, float]:
        """Return when each expected object was seen to be added, on `time.perf_counter`'s clock.

        Raises `TimeoutError` naming some that were not, `RuntimeError` when a watch has ended.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._is_complete.wait(0.5):
            if not all(thread.is_alive() for thread in self._threads):
                raise RuntimeError("the API server ended a watch of the observer")
            if time.monotonic() > deadline:
                with self._lock:
                    some = ", ".join(sorted(self._missing)[:3])
                    raise TimeoutError(f"{len(self._missing)} objects did not come in {timeout_seconds} s: {some}")
        with self._lock:
            return dict(self._seen_at)

    def _read(self, stream: HTTPResponse) -> None:
        try:
            while line := stream.readline():
                self._note(line, time.perf_counter())
        except (OSError, ValueError):
            return  # interrupted

    def _note(self, line: bytes, now: float) -> None:
        # Not decoded: the observer's work is done on the processors that are measured.
        if (match := _ADDED.match(line)) is None:
            return
        name = b"/".join(match.groups()).decode()
        with self._lock:
            if self._from_the_start:
                self._seen_before.setdefault(name, now)
            if name in self._missing:
                self._missing.remove(name)
                self._seen_at[name] = now
                if not self._missing:
                    self._is_complete.set()

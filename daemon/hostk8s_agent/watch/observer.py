"""Events wherever inotify is not: watchdog's `Observer` for the platform, FSEvents on macOS.

One recursive subscription, so `watch_folder` has nothing to do. FSEvents reports resolved paths and no
"closed after writing", so paths are mapped back and a modification counts as written.
"""

# ruff: noqa: PTH119, PTH120
# Strings and os.path: paths are strings on the way of every event.
from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from hostk8s_agent.watch.canary import CANARY_PREFIX
from hostk8s_agent.watch.contract_files import CONTRACT_NAME

if TYPE_CHECKING:
    from hostk8s_agent.watch.events import EventSink

logger = structlog.get_logger()

_ALWAYS: tuple[type[FileSystemEvent], ...] = (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
)
# Only inotify tells when a writer is done; elsewhere each write tells.
_WRITTEN: type[FileSystemEvent] = FileClosedEvent if sys.platform == "linux" else FileModifiedEvent


class ObserverSource(FileSystemEventHandler):
    """The events of one stacks folder, delivered on the observer's thread."""

    unwatched = 0

    def __init__(self, root: str, sink: EventSink) -> None:
        super().__init__()
        self._root = root
        self._real_root = os.path.realpath(root)
        self._sink = sink
        self._closing = threading.Lock()
        self._observer = Observer()
        self.backend = type(self._observer).__name__.removesuffix("Observer").lower()
        self._observer.schedule(self, self._real_root, recursive=True, event_filter=[*_ALWAYS, _WRITTEN])
        try:
            self._observer.start()
        except OSError:
            self._observer.on_thread_stop()
            raise

    def forgive_refusals(self) -> None:
        """Nothing is refused here."""

    def watch_folder(self, folder: str) -> None:
        """Nothing to do: the subscription is recursive."""

    def is_alive(self) -> bool:
        """Whether the observer and all its emitters run; alone, it outlives a removed folder."""
        emitters = list(self._observer.emitters)
        return self._observer.is_alive() and bool(emitters) and all(emitter.is_alive() for emitter in emitters)

    def close(self) -> None:
        """Stop the observer and join its threads."""
        with self._closing:
            if self._observer.is_alive():
                self._observer.stop()
                self._observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Translate one event of watchdog's. What it makes up for a moved folder's inside is left out."""
        if event.is_synthetic:
            return
        try:
            self._translate(event, self._path(event.src_path), self._path(event.dest_path))
        except Exception:
            # An error here would end the observer's thread, and with it every later event.
            logger.exception("watch.event_failed", path=str(event.src_path))
            self._sink.events_lost()

    def _translate(self, event: FileSystemEvent, source: str, destination: str) -> None:
        if event.is_directory:
            if source and not isinstance(event, DirCreatedEvent):
                self._sink.folder_gone(source)
            appeared = source if isinstance(event, DirCreatedEvent) else destination
            if appeared:
                self._sink.folder_appeared(appeared, self.watch_folder)
            return
        folder, name = os.path.split(source)
        if name.startswith(CANARY_PREFIX):
            self._sink.canary_seen()
        elif name == CONTRACT_NAME and isinstance(event, _WRITTEN):
            self._sink.contract_written(folder)
        elif name == CONTRACT_NAME:
            self._sink.contract_unsettled(folder)
        if os.path.basename(destination) == CONTRACT_NAME:
            self._sink.contract_written(os.path.dirname(destination))

    def _path(self, reported: bytes | str) -> str:
        """A reported path as it would be had the stacks folder been watched by the path it was given."""
        path = os.fsdecode(reported)
        if path == self._real_root or path.startswith(self._real_root + os.sep):
            return self._root + path[len(self._real_root) :]
        return path if path.startswith(self._root + os.sep) else ""

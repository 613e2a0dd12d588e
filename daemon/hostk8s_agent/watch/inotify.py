"""Events on Linux, one inotify watch for each folder that the scan looks at.

This sits on watchdog's `InotifyFD` (the descriptor, its reader thread and its callbacks) and not on its
`InotifyObserver`, for four reasons found in watchdog 7.1: the observer swallows ENOSPC when watches run out,
it watches `.git` and `node_modules`, with `follow_symlink` it walks a link loop until the path is too long,
and a file moved out of the tree holds back every later event for half a second.
"""

# ruff: noqa: PTH114, PTH118, PTH120
# Strings and os.path: paths are strings on the way of every event.
from __future__ import annotations

import os
import threading
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import structlog
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from hostk8s_agent.watch.canary import CANARY_PREFIX
from hostk8s_agent.watch.contract_files import CONTRACT_NAME
from hostk8s_agent.watch.scan import is_skipped_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.watch.events import EventSink

logger = structlog.get_logger()

# No IN_MODIFY, IN_OPEN, IN_ATTRIB, IN_CLOSE_NOWRITE: a contract is complete when it is closed or moved, and
# what is not asked for costs nothing.
_MASK = Mask(
    reduce(
        or_,
        (
            InotifyConstants.IN_CLOSE_WRITE,
            InotifyConstants.IN_CREATE,
            InotifyConstants.IN_DELETE,
            InotifyConstants.IN_MOVED_FROM,
            InotifyConstants.IN_MOVED_TO,
            InotifyConstants.IN_ONLYDIR,
        ),
    ),
)


class InotifySource:
    """The events of one stacks folder, delivered on watchdog's reader thread within a millisecond."""

    backend = "inotify"

    def __init__(self, root: str, sink: EventSink) -> None:
        self._root = root
        self._sink = sink
        self._lock = threading.Lock()
        self._folders: dict[str, _FolderWatch] = {}
        self._refused: set[str] = set()
        self._closed = False
        self._has_root_ended = False
        self._descriptor = InotifyFD()
        self._descriptor.start()
        try:
            self._add(root)
        except OSError:
            self.close()
            raise

    @property
    def unwatched(self) -> int:
        """How many folders the kernel refused to watch since the last `forgive_refusals`."""
        return len(self._refused)

    def forgive_refusals(self) -> None:
        """Forget what was refused: the next `watch_folder` tries again."""
        with self._lock:
            self._refused.clear()

    def watch_folder(self, folder: str) -> None:
        """Make sure that `folder` is watched; one that the kernel refuses is counted."""
        try:
            self._add(folder)
        except FileNotFoundError:
            return
        except OSError:
            with self._lock:
                self._refused.add(folder)

    def _add(self, folder: str) -> None:
        with self._lock:
            if self._closed or folder in self._folders:
                return
            watch = _FolderWatch(self, folder)
            watch.number = self._descriptor.add_callback(os.fsencode(folder), _MASK, watch, watch.key)
            if watch.number < 0:
                # watchdog hides EACCES. The scan reports such a folder; a watch on it would end nowhere.
                self._descriptor.remove_callbacks([(watch.number, watch.key)])
                return
            self._folders[folder] = watch

    def is_alive(self) -> bool:
        """Whether the reader thread runs and the stacks folder that it was opened for exists.

        A folder made again at once may well get the same inode, so only its watch knows.
        """
        return self._descriptor.is_alive() and not self._has_root_ended

    def close(self) -> None:
        """Remove all watches, close the descriptor and join the reader thread."""
        with self._lock:
            self._closed = True
            self._folders.clear()
        self._descriptor.stop()
        self._descriptor.join()

    def folder_ended(self, watch: _FolderWatch) -> None:
        """The kernel removed the watch because its folder is gone."""
        with self._lock:
            if self._closed:
                return
            if self._folders.get(watch.folder) is watch:
                del self._folders[watch.folder]
            self._has_root_ended |= watch.folder == self._root
            has_root_ended = self._has_root_ended
        if has_root_ended:
            self._sink.events_lost()

    def overflowed(self) -> None:
        """The kernel's queue was full."""
        self._sink.events_lost()

    def entry_changed(self, folder: str, event: InotifyEvent) -> None:
        """One event about an entry of `folder`."""
        name = os.fsdecode(event.name)
        if event.is_directory:
            self._folder_changed(os.path.join(folder, name), name, event)
        elif name == CONTRACT_NAME:
            self._contract_changed(folder, event)
        elif name.startswith(CANARY_PREFIX):
            self._sink.canary_seen()
        elif not event.is_close_write and not is_skipped_folder(name):
            self._link_changed(os.path.join(folder, name), event)

    def _contract_changed(self, folder: str, event: InotifyEvent) -> None:
        if event.is_close_write or event.is_moved_to:
            self._sink.contract_written(folder)
        else:
            self._sink.contract_unsettled(folder)

    def _folder_changed(self, path: str, name: str, event: InotifyEvent) -> None:
        if name == CONTRACT_NAME:
            self._sink.contract_unsettled(os.path.dirname(path))
        elif is_skipped_folder(name):
            return
        elif event.is_create or event.is_moved_to:
            self._sink.folder_appeared(path, self.watch_folder)
        else:
            self._forget(path)
            self._sink.folder_gone(path)

    def _link_changed(self, path: str, event: InotifyEvent) -> None:
        """A link to a folder is no folder to the kernel; other files are of no interest."""
        with self._lock:
            was_followed = path in self._folders
        if was_followed:
            self._forget(path)
            self._sink.folder_gone(path)
        if (event.is_create or event.is_moved_to) and os.path.islink(path):
            self._sink.folder_appeared(path, self.watch_folder)

    def _forget(self, path: str) -> None:
        """Drop the watches of a folder that left its place: its events would name the old path."""
        below = path + os.sep
        with self._lock:
            if self._closed:
                return
            gone = [watch for folder, watch in self._folders.items() if folder == path or folder.startswith(below)]
            for watch in gone:
                del self._folders[watch.folder]
            self._remove(gone)

    def _remove(self, watches: Iterable[_FolderWatch]) -> None:
        for watch in watches:
            try:
                self._descriptor.remove_callbacks([(watch.number, watch.key)])
            except OSError as error:
                logger.debug("watch.unwatch_failed", folder=watch.folder, error=str(error))


class _FolderWatch:
    """One folder's place in watchdog's callbacks. It knows its path: one inode may have two."""

    def __init__(self, source: InotifySource, folder: str) -> None:
        self._source = source
        self.folder = folder
        self.key = CallbackId(id(self))
        self.number = WatchDescriptor(-1)

    def on_event(self, event: InotifyEvent) -> None:
        """One event of the folder; those about itself (an empty name) are the root check's."""
        if not event.name:
            return
        try:
            self._source.entry_changed(self.folder, event)
        except Exception:
            # An error here would end watchdog's reader thread, and with it every later event.
            logger.exception("watch.event_failed", folder=self.folder)
            self._source.overflowed()

    def on_watch_deleted(self, _number: WatchDescriptor) -> None:
        """The kernel dropped the watch."""
        self._source.folder_ended(self)

    def on_queue_overflow(self) -> None:
        """The kernel dropped events."""
        self._source.overflowed()

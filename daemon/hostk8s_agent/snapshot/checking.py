"""What an archive of ours may hold, entry by entry: nothing that could be written outside its directory.

The entries come in tree order: a directory before what is in it, the names of a directory sorted by their bytes. So no
name comes twice, and the directory that an entry lies in is known to be one, and no link, when the entry comes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.listing import ROOT_PATH
from hostk8s_agent.snapshot.tar_headers import refuse

if TYPE_CHECKING:
    from hostk8s_agent.snapshot.listing import Entry

MAX_NAME_BYTES = 255
"""NAME_MAX of every file system that a volume lies on."""


class EntryChecker:
    """Refuses entries by raising `ArchiveRefusedError`. `max_entries` and `max_bytes` are the manifest's own."""

    def __init__(self, *, max_entries: int | None = None, max_bytes: int | None = None) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._folders: set[bytes] = set()
        self._last: tuple[bytes, ...] | None = None
        self.entries = 0
        self.files = 0
        self.byte_count = 0

    def check(self, entry: Entry) -> None:
        """Check the next entry."""
        self.entries += 1
        if entry.kind == "file":
            self.files += 1
            self.byte_count += entry.size
        if self._max_entries is not None and self.entries > self._max_entries:
            raise refuse(f"holds more than the {self._max_entries} entries that it should")
        if self._max_bytes is not None and self.byte_count > self._max_bytes:
            raise refuse(f"holds more than the {self._max_bytes} bytes that it should")
        self._check_place(entry)
        if entry.kind == "hardlink":
            self._check_target(entry)

    def finish(self) -> None:
        """Raise unless at least the directory itself has come."""
        if not self.entries:
            raise refuse("is empty: not even its directory is in it")

    def _check_place(self, entry: Entry) -> None:
        path = os.fsencode(entry.path)
        if self._last is None:
            if entry.path != ROOT_PATH or entry.kind != "directory":
                raise refuse(f"begins with {entry.path!r} and not with its directory")
            self._last = ()
            self._folders.add(b"")
            return
        components = _split(path, entry)
        if components <= self._last:
            raise refuse(f"holds {entry.path!r} twice, or not in its order")
        parent, _, _ = path.rpartition(b"/")
        if parent not in self._folders:
            raise refuse(f"holds {entry.path!r}, which lies in no directory of it")
        if entry.kind == "directory":
            self._folders.add(path)
        self._last = components

    def _check_target(self, entry: Entry) -> None:
        target = os.fsencode(entry.target)
        components = _split(target, entry)
        parent, _, _ = target.rpartition(b"/")
        if parent not in self._folders or target in self._folders or self._last is None or components >= self._last:
            raise refuse(f"holds {entry.path!r}, a hard link to what is no file of it")


def _split(path: bytes, entry: Entry) -> tuple[bytes, ...]:
    components = tuple(path.split(b"/"))
    if path.startswith(b"/") or b"\0" in path:
        raise refuse(f"holds {entry.path!r}, an absolute name")
    if any(one in (b"", b".", b"..") or len(one) > MAX_NAME_BYTES for one in components):
        raise refuse(f"holds {entry.path!r}, a name that no directory holds")
    return components

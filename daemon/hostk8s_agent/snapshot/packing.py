"""A tar stream into the repository: read once, and at the same time parsed, hashed and stored by the engine.

The reading thread scans and hashes, while the engine works in threads or a process of its own; hashing lets the
interpreter's lock go. Memory is what is under way between the two, whatever the size of the data.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from hostk8s_agent.snapshot.archive_engine import build_compressor
from hostk8s_agent.snapshot.checking import EntryChecker
from hostk8s_agent.snapshot.listing import render_entry
from hostk8s_agent.snapshot.tar_scanning import TarScanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.snapshot.durable import IncomingFile
    from hostk8s_agent.snapshot.engine import IncomingArchive
    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.repository import Repository

_QUEUED_LINES_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class PackedTree:
    """What a stream held. `root` is the directory's own entry; the two files are not kept yet."""

    tree: str
    root: Entry
    entries: int
    files: int
    byte_count: int
    devices: int
    archive: IncomingArchive
    listing: IncomingFile


@contextmanager
def pack_tree(chunks: Iterable[bytes], repository: Repository, name: str) -> Iterator[PackedTree]:
    """Pack a stream into a new archive and a new listing, which go when the block ends unless they were kept.

    `name` is what the engine shows people (`stack/directory`). Raises `ArchiveRefusedError` for a stream that is cut or
    holds what no directory holds, and what the engine raises.
    """
    with repository.engine.begin(name) as archive, repository.begin_listing() as listing:
        lister = _Lister(listing)
        scanner = TarScanner(lister.add, lister.checker.check)
        for chunk in chunks:
            archive.put(chunk)
            scanner.feed(chunk)
        scanner.finish()
        archive.finish()
        lister.finish()
        yield PackedTree(
            tree=lister.digest.hexdigest(),
            root=lister.require_root(),
            entries=lister.checker.entries,
            files=lister.checker.files,
            byte_count=lister.checker.byte_count,
            devices=lister.devices,
            archive=archive,
            listing=listing,
        )


class _Lister:
    """Writes the listing as the entries come."""

    def __init__(self, file: IncomingFile) -> None:
        self.checker = EntryChecker()
        self.digest = hashlib.sha256()
        self.devices = 0
        self._root: Entry | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._writer = build_compressor().stream_writer(cast("IO[bytes]", file), closefd=False)

    def add(self, entry: Entry) -> None:
        if self._root is None:
            self._root = entry
        self.devices += entry.is_device
        line = render_entry(entry)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _QUEUED_LINES_BYTES:
            self._flush()

    def finish(self) -> None:
        self.checker.finish()
        self._flush()
        self._writer.close()  # type: ignore[no-untyped-call]

    def require_root(self) -> Entry:
        if self._root is None:
            raise AssertionError("finish() has refused a stream without entries")
        return self._root

    def _flush(self) -> None:
        text = b"".join(self._lines)
        self._lines, self._size = [], 0
        self.digest.update(text)
        self._writer.write(text)

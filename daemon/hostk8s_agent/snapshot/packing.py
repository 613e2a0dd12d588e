"""A tar stream into the repository: read once, and at the same time parsed, hashed and compressed.

The reading thread scans and hashes, another one compresses with threads of its own; hashing and compressing let the
interpreter's lock go. Memory is the queue between the two and zstd's own windows, whatever the size of the data.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self, cast

import zstandard

from hostk8s_agent.snapshot.checking import EntryChecker
from hostk8s_agent.snapshot.listing import render_entry
from hostk8s_agent.snapshot.tar_scanning import TarScanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.snapshot.durable import IncomingFile
    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.repository import Repository

LEVEL: Final = 2
"""Of zstd. 3, the command's default, takes 1.4 times the time for 1 % fewer bytes (files of a database, measured)."""

_MAX_THREADS = 4
_QUEUED_CHUNKS = 8
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
    packed_sha256: str
    packed_bytes: int
    archive: IncomingFile
    listing: IncomingFile


@contextmanager
def pack_tree(chunks: Iterable[bytes], repository: Repository) -> Iterator[PackedTree]:
    """Pack a stream into two new files, which go when the block ends unless they were kept.

    Raises `ArchiveRefusedError` for a stream that is cut or holds what no directory holds.
    """
    with repository.begin("archives") as archive, repository.begin("listings") as listing:
        lister = _Lister(listing)
        scanner = TarScanner(lister.add, lister.checker.check)
        with _Compressing(archive) as compressing:
            for chunk in chunks:
                compressing.put(chunk)
                scanner.feed(chunk)
            scanner.finish()
        lister.finish()
        yield PackedTree(
            tree=lister.digest.hexdigest(),
            root=lister.require_root(),
            entries=lister.checker.entries,
            files=lister.checker.files,
            byte_count=lister.checker.byte_count,
            devices=lister.devices,
            packed_sha256=compressing.digest.hexdigest(),
            packed_bytes=compressing.packed_bytes,
            archive=archive,
            listing=listing,
        )


def build_compressor(level: int = LEVEL, *, threads: int = 0) -> zstandard.ZstdCompressor:
    """Return a compressor that writes the checksum of the content, which the library leaves out unless told."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, threads=threads)


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


class _Compressing:
    """Compresses what it is given, in its own thread, into a file, and knows the file's digest."""

    def __init__(self, file: IncomingFile) -> None:
        self.digest = hashlib.sha256()
        self.packed_bytes = 0
        self._file = file
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_QUEUED_CHUNKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="snapshot-compress", daemon=True)

    def put(self, chunk: bytes) -> None:
        """Hand a chunk over, waiting for room. Raises what has failed in the thread."""
        if self._failure is not None:
            raise self._failure
        self._chunks.put(chunk)

    def write(self, packed: bytes) -> int:
        """Take compressed bytes (zstd's side)."""
        self._file.write(packed)
        self.digest.update(packed)
        self.packed_bytes += len(packed)
        return len(packed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._chunks.put(None)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        is_ended = False
        try:
            threads = min(os.cpu_count() or 1, _MAX_THREADS)
            with build_compressor(threads=threads).stream_writer(cast("IO[bytes]", self), closefd=False) as writer:
                while (chunk := self._chunks.get()) is not None:
                    writer.write(chunk)
                # What is written from here on is the rest: nobody hands anything over any more.
                is_ended = True
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for this thread
            self._failure = error
            # Whoever hands over must never wait for room that nobody makes.
            while not is_ended:
                is_ended = self._chunks.get() is None

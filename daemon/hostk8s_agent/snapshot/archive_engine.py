"""The default engine: an archive is a plain `.tar.zst` file in the repository, named after its own SHA-256."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, Self, cast

import zstandard

from hostk8s_agent.snapshot.durable import incoming, list_paths, make_folder, measure_folder, remove_durably
from hostk8s_agent.snapshot.errors import SnapshotDamagedError
from hostk8s_agent.snapshot.model import ARCHIVE_ENGINE, ArchiveReference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.durable import IncomingFile

ARCHIVES_FOLDER: Final = "archives"
LEVEL: Final = 2
"""Of zstd. 3, the command's default, takes 1.4 times the time for 1 % fewer bytes (files of a database, measured)."""

CHUNK_BYTES: Final = 1 << 20
_MAX_THREADS = 4
# What a thread compresses at a time. With zstd's own choice of 4 MiB the jobs take 20 MB more with two threads and 30
# with four, for no byte less (files of a database, measured).
_JOB_BYTES = 1 << 20
_QUEUED_CHUNKS = 8


class ArchiveEngine:
    """Keeps archives as files in a folder of the repository."""

    def __init__(self, repository: Path) -> None:
        self._folder = repository / ARCHIVES_FOLDER

    @property
    def name(self) -> str:
        """Its name in manifests."""
        return ARCHIVE_ENGINE

    @property
    def address(self) -> str:
        """None of its own: the files lie in the repository's folder."""
        return ""

    @property
    def manifests(self) -> None:
        """No copies: the manifests lie beside the archives."""
        return

    def stop(self) -> None:
        """Nothing: files are never waited for."""

    def prepare(self) -> None:
        """Make the folder."""
        make_folder(self._folder)

    def path(self, reference: ArchiveReference) -> Path:
        """Where an archive lies."""
        return self._folder / f"{reference.stored_as}.tar.zst"

    @contextmanager
    def begin(self, name: str) -> Iterator[_IncomingFileArchive]:
        """Open a new archive: compressed while it comes."""
        del name
        with incoming(self._folder) as file, _IncomingFileArchive(self, file) as archive:
            yield archive

    def has(self, reference: ArchiveReference) -> bool:
        """Whether the file is there in its length."""
        try:
            return self.path(reference).stat().st_size == reference.packed_bytes
        except OSError:
            return False

    def read(self, reference: ArchiveReference) -> Iterator[bytes]:
        """Yield the tar stream; after the last chunk the file's SHA-256 was compared."""
        try:
            with self.path(reference).open("rb") as file:
                packed = _PackedFile(file)
                decompressor = zstandard.ZstdDecompressor()
                with decompressor.stream_reader(cast("IO[bytes]", packed), read_size=CHUNK_BYTES) as reader:
                    while chunk := reader.read(CHUNK_BYTES):
                        yield chunk
                # A frame's end is not the file's: what follows must be hashed as well.
                while packed.read(CHUNK_BYTES):
                    pass
        except (OSError, zstandard.ZstdError) as error:
            raise build_damage(f"the archive of {reference.tree[:12]} cannot be read: {error}") from error
        if (packed.packed_bytes, packed.digest.hexdigest()) != (reference.packed_bytes, reference.stored_as):
            raise build_damage(
                f"the archive of {reference.tree[:12]} is not the file that was written: its SHA-256 differs"
            )

    def sweep(self, kept: Collection[ArchiveReference], forgotten: Collection[str]) -> int:
        """Remove every other file."""
        del forgotten
        paths = {self.path(one) for one in kept if one.engine == ARCHIVE_ENGINE}
        freed = 0
        for path in list_paths(self._folder):
            if path not in paths:
                freed += path.stat().st_size
                remove_durably(path)
        return freed

    def tidy(self) -> None:
        """Nothing: a file that is removed is gone."""

    def measure(self) -> int:
        """Return the bytes of all files."""
        return measure_folder(self._folder)


def build_compressor(level: int = LEVEL, *, threads: int = 0) -> zstandard.ZstdCompressor:
    """Return a compressor that writes the checksum of the content, which the library leaves out unless told."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, write_checksum=True, threads=threads, **({"job_size": _JOB_BYTES} if threads else {})
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def build_damage(what: str) -> SnapshotDamagedError:
    """Return the error for what was read back and is not what was written."""
    return SnapshotDamagedError(what, hint="restore from another snapshot: hostk8s-agent snapshot list shows them")


class _PackedFile:
    """The archive's file as zstd reads it: what passes is hashed and counted."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.packed_bytes = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        chunk = self._file.read(size)
        self.digest.update(chunk)
        self.packed_bytes += len(chunk)
        return chunk


class _IncomingFileArchive:
    """Compresses what it is given, in its own thread, into a file, and knows the file's digest."""

    def __init__(self, engine: ArchiveEngine, file: IncomingFile) -> None:
        self._engine = engine
        self._digest = hashlib.sha256()
        self._packed_bytes = 0
        self._file = file
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_QUEUED_CHUNKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="snapshot-compress", daemon=True)

    def put(self, chunk: bytes) -> None:
        """Hand a chunk over, waiting for room. Raises what has failed in the thread."""
        if self._failure is not None:
            raise self._failure
        self._chunks.put(chunk)

    def finish(self) -> None:
        """Wait until everything is compressed. Raises what has failed in the thread."""
        self._stop()
        if self._failure is not None:
            raise self._failure

    def keep(self, tree: str) -> ArchiveReference:
        """Give the file its name."""
        reference = ArchiveReference(tree, self._digest.hexdigest(), self._packed_bytes)
        self._file.keep_as(self._engine.path(reference))
        return reference

    def write(self, packed: bytes) -> int:
        """Take compressed bytes (zstd's side)."""
        self._file.write(packed)
        self._digest.update(packed)
        self._packed_bytes += len(packed)
        return len(packed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._chunks.put(None)
            self._thread.join()

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

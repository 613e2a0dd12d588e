"""An archive read back: every byte of the file, every entry against the listing, the listing against its name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import zstandard

from hostk8s_agent.snapshot.archive_engine import CHUNK_BYTES, build_damage
from hostk8s_agent.snapshot.checking import EntryChecker
from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.listing import MAX_LINE_BYTES, parse_entry, render_entry
from hostk8s_agent.snapshot.tar_scanning import TarScanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.model import DirectoryManifest
    from hostk8s_agent.snapshot.repository import Repository


def iterate_listing(repository: Repository, tree: str) -> Iterator[Entry]:
    """Yield the entries of a tree's listing; after the last one its digest was compared.

    Raises `SnapshotDamagedError` when it is missing, broken or another tree's.
    """
    return _parse(iterate_lines(repository, tree), tree)


def list_devices(repository: Repository, tree: str) -> list[str]:
    """Return the paths of a tree's device nodes. Raises as `iterate_listing` does.

    No line is parsed that cannot be one: inside of a path the quotes would be escaped.
    """
    lines = (one for one in iterate_lines(repository, tree) if b'"type":"character"' in one or b'"type":"block"' in one)
    return [entry.path for entry in _parse(lines, tree) if entry.is_device]


def _parse(lines: Iterable[bytes], tree: str) -> Iterator[Entry]:
    for line in lines:
        try:
            yield parse_entry(line)
        except ValueError as error:
            raise build_damage(f"the listing of {tree[:12]} cannot be read: {error}") from error


def iterate_archive(repository: Repository, directory: DirectoryManifest) -> Iterator[bytes]:
    """Yield the tar stream of a directory's archive, each chunk after every entry that ends in it was compared.

    No header is yielded that was not checked, and after the last chunk the whole of it is proven: what the engine knows
    of the archive, every entry, the number of entries and bytes, the end mark. Raises `SnapshotDamagedError` for
    what is not what was written, `ArchiveRefusedError` for what could be written outside.
    """
    comparer = _Comparer(repository, directory)
    scanner = TarScanner(comparer.compare, comparer.checker.check)
    for chunk in repository.find_engine(directory.archive).read(directory.archive):
        scanner.feed(chunk)
        yield chunk
    scanner.finish()
    comparer.finish()


def read_back(repository: Repository, directory: DirectoryManifest) -> Iterator[int]:
    """Read a directory's archive and compare everything; yield how many bytes each step was."""
    try:
        for chunk in iterate_archive(repository, directory):
            yield len(chunk)
    except ArchiveRefusedError as error:
        raise build_damage(f"the archive of {directory.name}: {error.message}") from error


class _Comparer:
    """Compares the entries that come by with the listing, in its order."""

    def __init__(self, repository: Repository, directory: DirectoryManifest) -> None:
        self._directory = directory
        self._lines = iterate_lines(repository, directory.archive.tree)
        self.checker = EntryChecker(max_entries=directory.entries, max_bytes=directory.byte_count)

    def compare(self, entry: Entry) -> None:
        if render_entry(entry) != next(self._lines, None):
            raise build_damage(f"{self._directory.name}: {entry.path!r} is not what was written")

    def finish(self) -> None:
        if next(self._lines, None) is not None:
            raise build_damage(f"the archive of {self._directory.name} ends before its listing does")
        found = self.checker.entries, self.checker.files, self.checker.byte_count
        if found != (self._directory.entries, self._directory.files, self._directory.byte_count):
            raise build_damage(f"the archive of {self._directory.name} does not hold what its manifest counts")


def iterate_lines(repository: Repository, tree: str) -> Iterator[bytes]:
    """Yield the lines of a tree's listing as they are. Raises as `iterate_listing` does."""
    digest = hashlib.sha256()
    rest = b""
    try:
        with (
            repository.listing_path(tree).open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_size=CHUNK_BYTES) as reader,
        ):
            while chunk := reader.read(CHUNK_BYTES):
                digest.update(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise build_damage(f"the listing of {tree[:12]} has no end of line")
                for line in lines:
                    yield line + b"\n"
            if file.read(1):
                raise build_damage(f"the listing of {tree[:12]} goes on after its end")
    except (OSError, zstandard.ZstdError) as error:
        raise build_damage(f"the listing of {tree[:12]} cannot be read: {error}") from error
    if rest or digest.hexdigest() != tree:
        raise build_damage(f"the listing of {tree[:12]} is not the one that was written: its SHA-256 differs")

"""Whether a tree in the volume is the one of a listing, by its content: for ways in that tell no inode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.tar_scanning import TarScanner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.volume.access import VolumeAccess


class _DiffersError(Exception):
    """An entry that the listing does not have at its place."""


def has_content(access: VolumeAccess, path: str, listing: Iterable[Entry]) -> bool:
    """Whether the tree at a path has the entries of a listing: names, kinds, sizes, hashes, links.

    Owners, modes and times are left out: a restore sets those of the directory itself, and the engine rounds times.
    """
    expected = (one for one in listing if not one.is_device)

    def compare(entry: Entry) -> None:
        wanted = next(expected, None)
        if wanted is None or _tell(entry) != _tell(wanted):
            raise _DiffersError

    scanner = TarScanner(compare)
    try:
        with access.stream_tree_out(path) as chunks:
            for chunk in chunks:
                scanner.feed(chunk)
        scanner.finish()
    except (_DiffersError, ArchiveRefusedError):
        return False
    return next(expected, None) is None


def _tell(entry: Entry) -> tuple[str, str, int, str, str]:
    return entry.path, entry.kind, entry.size, entry.sha256, entry.target

"""Whether a tree in the volume is the one of a listing, by its content: for ways in that tell no inode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.tar_scanning import TarScanner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.volume.access import VolumeAccess


class _DiffersError(Exception):
    """An entry that the listing does not have at its place."""


def has_content(access: VolumeAccess, path: str, listing: Iterable[Entry], part: str = "") -> bool:
    """Whether the tree at a path has the entries of a listing: names, kinds, sizes, hashes, links.

    With a `part`, the entry at the path is that part of the listing's tree, of any kind. Owners, modes and times are
    left out: a restore sets those of the directory itself, and the engine rounds times.
    """
    # Of an entry the engine's stream is that of the directory around it.
    folder, _, name = path.rpartition("/") if part else (path, "", "")
    lead = len(part) - len(name)
    expected = (one for one in listing if not one.is_device and (not part or _is_at(one.path, part)))

    def compare(entry: Entry) -> None:
        if part and not _is_at(entry.path, name):
            return
        wanted = next(expected, None)
        if wanted is None:
            raise _DiffersError
        if part and wanted.kind == "hardlink":
            # Its other name may lie outside the part: then the content stands here.
            is_same = entry.path == wanted.path[lead:] and entry.kind in ("file", "hardlink")
        else:
            is_same = _tell(entry) == _tell(replace(wanted, path=wanted.path[lead:]) if part else wanted)
        if not is_same:
            raise _DiffersError

    scanner = TarScanner(compare)
    try:
        with access.stream_tree_out(folder) as chunks:
            for chunk in chunks:
                scanner.feed(chunk)
        scanner.finish()
    except (_DiffersError, ArchiveRefusedError):
        return False
    return next(expected, None) is None


def _is_at(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _tell(entry: Entry) -> tuple[str, str, int, str, str]:
    return entry.path, entry.kind, entry.size, entry.sha256, entry.target

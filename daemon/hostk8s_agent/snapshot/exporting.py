"""What is in a snapshot, looked at and copied out without touching the volume."""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, cast

from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.snapshot.chunk_files import ChunkFile
from hostk8s_agent.snapshot.errors import RestoreFailedError, RestoreUnfitError, SnapshotUnknownError
from hostk8s_agent.snapshot.flushing import kept_durable
from hostk8s_agent.snapshot.picking import find_part, select_members
from hostk8s_agent.snapshot.progress import Meter
from hostk8s_agent.snapshot.unpacking import iterate_archive, iterate_listing, list_devices
from hostk8s_agent.snapshot.writing import write_tree
from hostk8s_agent.volume.host_directory import HostDirectoryAccess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.model import DirectoryManifest, SnapshotManifest
    from hostk8s_agent.snapshot.picking import Part
    from hostk8s_agent.snapshot.repository import Repository

_CHUNK_BYTES = 1 << 20


def export_snapshot(
    repository: Repository, snapshot: SnapshotManifest, folder: Path, *, path: str = "", meter: Meter | None = None
) -> None:
    """Write every directory of a snapshot into `folder/<its name>`, or what is at `path` alone. The folder is empty.

    `path` is `DIRECTORY` or `DIRECTORY/PATH`. Raises `RestoreFailedError` for a folder that is not empty,
    `SnapshotUnknownError` for a path that the snapshot does not have, and what reading the archive raises. An ordinary
    user's copy belongs to that user.
    """
    picked = [(one, None) for one in snapshot.directories] if not path else [pick(repository, snapshot, path)]
    require_outside(repository, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise RestoreFailedError(
            f"{folder} is no folder that can be written into: {error.strerror}", hint="name a new folder"
        ) from error
    if not is_empty:
        raise RestoreFailedError(f"{folder} is not empty", hint="name a new folder; nothing is ever replaced there")
    meter = meter or Meter()
    meter.begin("exporting", sum(one.byte_count for one, _ in picked))
    access = HostDirectoryAccess(folder)
    try:
        for directory, part in picked:
            place = f"/mnt/pv/{directory.name}"
            failure = access.apply_directories([CreateDirectory(place, 0, 0, 0o700, "a copy")])[0]
            if failure is not None:
                raise failure
            devices = list_devices(repository, directory.archive.tree)
            chunks: Iterator[bytes] = meter.count(iterate_archive(repository, directory))
            with kept_durable(access, place):
                write_tree(access, place, select_members(chunks, part.needs) if part else chunks, devices)
    finally:
        access.close()


def require_outside(repository: Repository, place: Path) -> None:
    """Raise `RestoreFailedError` for a place in the repository's own folder."""
    if place.resolve().is_relative_to(repository.folder.resolve()):
        raise RestoreFailedError(
            f"{place} lies in the snapshot repository itself", hint="name a place outside; nothing was written"
        )


def pick(repository: Repository, snapshot: SnapshotManifest, path: str) -> tuple[DirectoryManifest, Part | None]:
    """Return what a path (`DIRECTORY` or `DIRECTORY/PATH`) means in a snapshot: None for the directory as a whole.

    Raises `SnapshotUnknownError` when the snapshot has nothing there, `RestoreUnfitError` for a device node.
    """
    name, _, inner = path.strip("/").partition("/")
    for directory in snapshot.directories:
        if directory.name == name:
            if inner and inner in list_devices(repository, directory.archive.tree):
                raise RestoreUnfitError(
                    f"{path!r} is a device node, which no restore makes",
                    hint="make it with mknod; snapshot ls shows its owner and mode",
                )
            part = find_part(iterate_listing(repository, directory.archive.tree), inner) if inner else None
            if part is not None or not inner:
                return directory, part
    raise SnapshotUnknownError(
        f"{snapshot.id} holds nothing at {path!r}", hint=f"hostk8s-agent snapshot ls {snapshot.id} shows what it holds"
    )


def iterate_entries(repository: Repository, snapshot: SnapshotManifest, below: str) -> Iterator[tuple[str, Entry]]:
    """Yield `DIRECTORY/PATH` and entry of everything at or below `below`, which is written like that; empty for all."""
    wanted = below.strip("/")
    for directory in snapshot.directories:
        for entry in iterate_listing(repository, directory.archive.tree):
            shown = _show(directory, entry)
            if not wanted or shown == wanted or shown.startswith(f"{wanted}/"):
                yield shown, entry


def iterate_content(repository: Repository, snapshot: SnapshotManifest, path: str) -> Iterator[bytes]:
    """Yield the content of the file at `DIRECTORY/PATH`, proven once the last chunk has come.

    Raises `SnapshotUnknownError` when the snapshot has no such file.
    """
    found = next(((shown, one) for shown, one in iterate_entries(repository, snapshot, path) if shown == path), None)
    if found is None or found[1].kind not in ("file", "hardlink"):
        what = f"; it is a {found[1].kind}" if found else ""
        raise SnapshotUnknownError(
            f"{snapshot.id} holds no file {path!r}{what}",
            hint=f"hostk8s-agent snapshot ls {snapshot.id} shows what it holds",
        )
    name, _, _ = path.partition("/")
    directory = next(one for one in snapshot.directories if one.name == name)
    # The content of a file with several names stands under the first.
    wanted = found[1].target or found[1].path
    chunks = iterate_archive(repository, directory)
    with tarfile.open(
        fileobj=cast("IO[bytes]", ChunkFile(chunks)), mode="r|", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # the library keeps every header
            if member.name.removeprefix("./") != wanted:
                continue
            content = archive.extractfile(member)
            while content is not None and (chunk := content.read(_CHUNK_BYTES)):
                yield chunk
            break
    # To its end: what came of it is proven only then.
    for _chunk in chunks:
        pass


def diff_snapshots(
    repository: Repository, first: SnapshotManifest, second: SnapshotManifest
) -> Iterator[tuple[str, str]]:
    """Yield what differs as (`added`, `removed` or `changed`, `DIRECTORY/PATH`); equal trees are not looked into."""
    before = {one.name: one for one in first.directories}
    after = {one.name: one for one in second.directories}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and old.archive.tree == new.archive.tree:
            continue
        entries = {one.path: one for one in iterate_listing(repository, old.archive.tree)} if old is not None else {}
        if new is not None:
            for entry in iterate_listing(repository, new.archive.tree):
                former = entries.pop(entry.path, None)
                if former != entry:
                    yield "added" if former is None else "changed", _show(new, entry)
        if old is not None:
            for entry in entries.values():
                yield "removed", _show(old, entry)


def _show(directory: DirectoryManifest, entry: Entry) -> str:
    return directory.name if entry.path == "." else f"{directory.name}/{entry.path}"

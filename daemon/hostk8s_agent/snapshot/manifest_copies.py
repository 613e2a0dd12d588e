"""A snapshot's manifest and listings as one stream, for the place where its archives lie (docs/snapshot-format.md).

The first line holds the manifest and what a person has said of the snapshot; then comes each tree once: a line with its
name, and the lines of its listing. Whoever takes one in trusts none of it: the manifest must be what its id stands
for, a listing what its tree's name stands for.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final, cast

from hostk8s_agent.snapshot.archive_engine import build_compressor
from hostk8s_agent.snapshot.documents import parse_manifest, render_manifest
from hostk8s_agent.snapshot.errors import ManifestForgedError, RepositoryNewerError
from hostk8s_agent.snapshot.listing import MAX_LINE_BYTES
from hostk8s_agent.snapshot.model import Marks, SnapshotState
from hostk8s_agent.snapshot.unpacking import iterate_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository

FORMAT_VERSION: Final = 1
MAX_HEAD_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 18


def render_head(snapshot: SnapshotManifest) -> bytes:
    """Return the first line: the manifest, whether it is pinned, and why it is suspect (empty when it is not)."""
    document = {
        "format": FORMAT_VERSION,
        "pinned": snapshot.is_pinned,
        "suspect": snapshot.marks.reason if snapshot.state is SnapshotState.SUSPECT else "",
        "manifest": json.loads(render_manifest(snapshot)),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def iterate_listings(repository: Repository, snapshot: SnapshotManifest) -> Iterator[bytes]:
    """Yield what follows the first line. Raises `SnapshotDamagedError` when a listing is not what was written."""
    for tree in dict.fromkeys(one.archive.tree for one in snapshot.directories):
        lines, size = [json.dumps({"tree": tree}).encode() + b"\n"], 0
        for line in iterate_lines(repository, tree):
            lines.append(line)
            size += len(line)
            if size > _CHUNK_BYTES:
                yield b"".join(lines)
                lines, size = [], 0
        yield b"".join(lines)


@dataclass(frozen=True, slots=True)
class TakenCopy:
    """What a stream held: the manifest with the marks that it has from now on, and the first line."""

    snapshot: SnapshotManifest
    head: bytes


def parse_copy(chunks: Iterable[bytes], snapshot_id: str) -> TakenCopy:
    """Return what the first line of a stream says, which is read no further. Raises as `take_listings` does."""
    return _parse_head(next(_split(chunks), b""), snapshot_id)


def take_copy(repository: Repository, chunks: Iterable[bytes], snapshot_id: str) -> TakenCopy:
    """Take the listings of a stream into the repository, all of them or none, and return the rest of what it held.

    Raises `ManifestForgedError` for what is not what was written, `RepositoryNewerError` for a newer format.
    """
    lines = _split(chunks)
    copy = _parse_head(next(lines, b""), snapshot_id)
    entries = {one.archive.tree: one.entries for one in copy.snapshot.directories}
    with ExitStack() as stack:
        kept = []
        for tree, count in entries.items():
            if next(lines, b"") != json.dumps({"tree": tree}).encode() + b"\n":
                raise _refuse(snapshot_id, f"the listing of {tree[:12]} is not where it should be")
            file = stack.enter_context(repository.begin_listing())
            writer = build_compressor().stream_writer(cast("IO[bytes]", file), closefd=False)
            digest = hashlib.sha256()
            for _ in range(count):
                line = next(lines, b"")
                digest.update(line)
                writer.write(line)
            writer.close()  # type: ignore[no-untyped-call]
            if digest.hexdigest() != tree:
                raise _refuse(snapshot_id, f"the listing of {tree[:12]} has another SHA-256")
            kept.append((file, tree))
        if next(lines, b""):
            raise _refuse(snapshot_id, "something follows its listings")
        for file, tree in kept:
            file.keep_as(repository.listing_path(tree))
    return copy


def _parse_head(line: bytes, snapshot_id: str) -> TakenCopy:
    try:
        document: dict[str, Any] = json.loads(line)
        if document["format"] > FORMAT_VERSION:
            raise RepositoryNewerError(
                f"the copy of {snapshot_id}'s manifest has format {document['format']}, and this agent knows "
                f"{FORMAT_VERSION}",
                hint="update hostk8s-agent",
            )
        text = json.dumps(document["manifest"], indent=1).encode() + b"\n"
        is_pinned, suspect = bool(document["pinned"]), str(document["suspect"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refuse(snapshot_id, "it does not begin with one") from error
    snapshot = parse_manifest(text, snapshot_id)
    if snapshot.id != snapshot_id:
        raise _refuse(snapshot_id, f"it is that of {snapshot.id}")
    state = SnapshotState.SUSPECT if suspect else SnapshotState.UNVERIFIED
    return TakenCopy(replace(snapshot, marks=Marks(state, is_pinned, reason=suspect)), line)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield line for line, each with its end; what comes after the last end of line is one as well."""
    rest = b""
    limit = MAX_HEAD_BYTES
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
            limit = MAX_LINE_BYTES
        if len(rest) > limit:
            raise ManifestForgedError(
                "the copy of a manifest has no end of line", hint="another snapshot serves in its place"
            )
    if rest:
        yield rest


def _refuse(snapshot_id: str, why: str) -> ManifestForgedError:
    return ManifestForgedError(
        f"the copy of {snapshot_id}'s manifest is not the one that was written: {why}",
        hint="its archives are restored by hand (docs/snapshots.md); another snapshot serves in its place",
    )

"""Manifests brought back from where the archives lie, into a repository of ours that lacks them.

Each is checked as one that a colleague has sent: it is what its id stands for, its listings are those of its trees, its
archives are there, it is not dated after now. What is in the archives is not read: a snapshot that was recovered is not
verified yet, and every restore compares each byte anyway. Nothing that is here already is ever replaced.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.snapshot.documents import render_manifest
from hostk8s_agent.snapshot.errors import (
    EngineUnknownError,
    ManifestDuplicateError,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotUnknownError,
)
from hostk8s_agent.snapshot.manifest_copies import parse_copy, take_copy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.snapshot.engine import CopyCatalog, ManifestCopy, ManifestStore
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.progress import Meter
    from hostk8s_agent.snapshot.repository import Repository

log = structlog.get_logger()

# An event name.
RECOVERED = "snapshot.manifest_recovered"


@dataclass(frozen=True, slots=True)
class UnusableCopy:
    """A copy of a manifest that could not be taken in, and why."""

    snapshot: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of it.

    `origin` is whose manifests were looked for (`HOST:FOLDER`); `others` says how many manifests others have sent,
    `loose` names the archives there that no manifest here refers to, by the engine's names.
    """

    origin: str
    recovered: tuple[SnapshotManifest, ...]
    present: tuple[str, ...]
    unusable: tuple[UnusableCopy, ...]
    others: Mapping[str, int]
    loose: tuple[str, ...]


def recover_manifests(repository: Repository, meter: Meter, *, origin: str = "") -> Recovery:
    """Take in the manifests that `origin` (this place when empty) has sent and that are not here; return what came.

    Under the repository's lock, with the repository prepared. Raises `EngineUnknownError` when no engine keeps copies,
    and what the engine raises when it cannot be asked.
    """
    store = repository.engine.manifests
    if store is None:
        raise EngineUnknownError(
            "the settings name no restic repository, and only there are copies of manifests",
            hint="set snapshot_restic_repository and the way to its password (docs/snapshots.md)",
        )
    origin = origin or store.origin
    catalog = store.look()
    found: dict[str, list[ManifestCopy]] = {}
    for copy in sorted(catalog.copies, key=lambda one: one.sent_at, reverse=True):
        if copy.origin == origin:
            found.setdefault(copy.snapshot, []).append(copy)
    recovered, present, unusable = [], [], []
    for snapshot_id, copies in sorted(found.items()):
        try:
            if snapshot_id in repository.list_ids():
                _require_same(repository, store, copies, catalog, meter)
                present.append(snapshot_id)
            else:
                recovered.append(_take_in(repository, store, copies, catalog, meter))
                log.info(RECOVERED, snapshot=snapshot_id)
        except SnapshotError as error:
            if error.retryable:
                raise
            unusable.append(UnusableCopy(snapshot_id, error.problem))
    kept = {part.archive.stored_as for one in repository.load_all()[0] for part in one.directories}
    others = Counter(one.origin for one in catalog.copies if one.origin != origin)
    return Recovery(
        origin,
        tuple(recovered),
        tuple(present),
        tuple(unusable),
        dict(sorted(others.items())),
        tuple(sorted(catalog.archives.keys() - kept)),
    )


def _take_in(
    repository: Repository, store: ManifestStore, copies: Sequence[ManifestCopy], catalog: CopyCatalog, meter: Meter
) -> SnapshotManifest:
    snapshot_id = copies[0].snapshot
    if snapshot_id in repository.list_forgotten():
        raise SnapshotUnknownError(
            f"the snapshot {snapshot_id} was forgotten here", hint="its copy goes with the next snapshot"
        )
    taken = take_copy(repository, meter.count(store.read(copies[0])), snapshot_id)
    repository.require_past(taken.snapshot)
    _require_archives(taken.snapshot, repository, catalog)
    # What a person has said here may be newer than what was sent.
    kept = repository.find_marks(snapshot_id)
    is_pinned = taken.snapshot.is_pinned or (kept is not None and kept.is_pinned)
    snapshot = replace(taken.snapshot, marks=replace(taken.snapshot.marks, is_pinned=is_pinned))
    # The manifest first: an archive that is known, and that no manifest refers to, is forgotten by the next sweep.
    repository.add(snapshot)
    store.adopt(snapshot, taken.head, copies, catalog.archives)
    return snapshot


def _require_same(
    repository: Repository, store: ManifestStore, copies: Sequence[ManifestCopy], catalog: CopyCatalog, meter: Meter
) -> None:
    """Raise `ManifestDuplicateError` when another manifest lies here under the same id; else take note of the copy."""
    snapshot_id = copies[0].snapshot
    hint = f"nothing was replaced; move manifests/{snapshot_id}.json out of the repository, then recover again"
    try:
        here = repository.load(snapshot_id)
    except SnapshotError as error:
        raise ManifestDuplicateError(f"{error.message}, and it lies here", hint=hint) from error
    if store.has(copies[0]):
        return
    taken = parse_copy(meter.count(store.read(copies[0])), snapshot_id)
    if render_manifest(here) != render_manifest(taken.snapshot):
        raise ManifestDuplicateError(f"another manifest lies here under the id {snapshot_id}", hint=hint)
    _require_archives(here, repository, catalog)
    store.adopt(here, taken.head, copies, catalog.archives)


def _require_archives(snapshot: SnapshotManifest, repository: Repository, catalog: CopyCatalog) -> None:
    """Raise `SnapshotDamagedError` unless each archive is there, as far as its name tells."""
    if not snapshot.directories:
        raise SnapshotDamagedError(f"{snapshot.id} holds no directory", hint="another snapshot serves in its place")
    for one in snapshot.directories:
        archive = one.archive
        is_there = archive.home == catalog.home and archive.stored_as in catalog.archives
        if archive.engine != repository.engine.name or not is_there:
            raise SnapshotDamagedError(
                f"the archive of {one.name} ({archive.stored_as[:8]}) is not in the restic repository",
                hint="another snapshot serves in its place",
            )

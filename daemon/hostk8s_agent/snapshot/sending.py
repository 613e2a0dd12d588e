"""Copies of manifests to where the archives lie: data first, then the manifest, then what they replace is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.snapshot.errors import SnapshotError
from hostk8s_agent.snapshot.manifest_copies import iterate_listings, render_head
from hostk8s_agent.snapshot.model import SnapshotState

if TYPE_CHECKING:
    from hostk8s_agent.snapshot.engine import ManifestStore
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository

log = structlog.get_logger()

# An event name.
NOT_SENT = "snapshot.manifests_not_sent"

AT_ONCE: Final = 8
"""Manifests that are sent while somebody may wait for the repository's lock: each takes a start of the engine."""


def expect_work(repository: Repository) -> None:
    """Begin to look whether the engine is at work: what it did before does not count."""
    if repository.engine.manifests is not None:
        repository.engine.manifests.rest()


def send_manifests(repository: Repository, *, is_asked: bool = False) -> int:
    """Send the manifests that the engine lacks, the newest first; return how many it lacks then.

    Those that are to go are forgotten. Without `is_asked` only if the engine has been at work anyway: an unchanged
    stack starts nothing. What fails is tried the next time: the snapshot itself is there. Under the repository's lock.
    """
    store = repository.engine.manifests
    if store is None or not (is_asked or store.is_awake):
        return 0
    left = 0
    try:
        lacking = _list_lacking(repository, store)
        left = len(lacking)
        for snapshot, head in lacking[:AT_ONCE]:
            store.send(snapshot, head, iterate_listings(repository, snapshot))
            left -= 1
        store.forget(repository.list_forgotten())
    except SnapshotError as error:
        log.warning(NOT_SENT, manifests=left, code=error.code, reason=error.message)
        return 0
    finally:
        store.rest()
    return left


def _list_lacking(repository: Repository, store: ManifestStore) -> list[tuple[SnapshotManifest, bytes]]:
    """Return the snapshots whose copy is missing or older than what is known now, with their first lines.

    Not those that are damaged: whoever needs the copy is not helped by it.
    """
    snapshots, _ = repository.load_all()
    chosen = (
        (one, render_head(one))
        for one in reversed(snapshots)
        if one.engine == repository.engine.name and one.state is not SnapshotState.DAMAGED
    )
    return [(one, head) for one, head in chosen if not store.is_sent(one, head)]

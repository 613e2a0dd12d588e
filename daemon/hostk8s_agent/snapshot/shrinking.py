"""The shrink guard: a directory that lost nearly all that it held was emptied, or is not the one that it was.

A snapshot of an emptied directory is whole and restores well, and would push out the good ones one by one. So it is
suspect, nothing of its stack expires, and a person is told, who accepts it or forgets it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.model import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.snapshot.model import DirectoryManifest, SnapshotManifest

SHRINK_PERCENT: Final = 90
"""From so many percent fewer bytes, or files, on a directory has shrunk too much to be believed."""


def find_shrinkage(snapshot: SnapshotManifest, former: Iterable[SnapshotManifest]) -> str:
    """Given a new snapshot and those of its stack before it, return what shrank, in words; empty when nothing did.

    It is compared with the newest good one that is older and was not taken before something dangerous: that may be a
    wreck, or a part of the stack. Directories are compared one by one, so that a large one
    hides nothing; one that is new in the contract, or no longer in it, is no shrinkage.
    """
    good = (one for one in former if one.state is SnapshotState.GOOD and not one.is_event)
    older = (one for one in good if one.taken_at < snapshot.taken_at)
    baseline = max(older, key=attrgetter("taken_at", "id"), default=None)
    if baseline is None:
        return ""
    before = {one.name: one for one in baseline.directories}
    found = (
        _describe(before[one.name], one)
        for one in snapshot.directories
        if one.name in before and before[one.name].path == one.path
    )
    words = "; ".join(filter(None, found))
    return f"since {baseline.id}: {words}" if words else ""


def _describe(before: DirectoryManifest, after: DirectoryManifest) -> str:
    lost = [
        f"{old} → {new} {unit}"
        for old, new, unit in (
            (before.byte_count, after.byte_count, "bytes"),
            (before.files, after.files, "files"),
        )
        if old > 0 and (old - new) * 100 >= SHRINK_PERCENT * old
    ]
    return f"{after.name} shrank, {', '.join(lost)}" if lost else ""

"""Snapshots read back: what is known of them afterwards, and since when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import SnapshotDamagedError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.progress import Meter
from hostk8s_agent.snapshot.unpacking import read_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from hostk8s_agent.snapshot.model import ArchiveReference, DirectoryManifest, SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of reading one snapshot back: with its new marks."""

    snapshot: SnapshotManifest

    @property
    def is_whole(self) -> bool:
        """Whether every byte was what had been written."""
        return self.snapshot.state is not SnapshotState.DAMAGED


class Verifier:
    """Reads archives back, each once however many snapshots share it, and marks the snapshots.

    `verified` are archives that were read back earlier, with the time; a snapshot that has only such ones is as old
    in its verification as the oldest of them. Used under the repository's lock.
    """

    def __init__(
        self,
        repository: Repository,
        clock: Callable[[], datetime],
        *,
        verified: Mapping[ArchiveReference, datetime] | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._verified = dict(verified or {})
        self._damage: dict[ArchiveReference, str] = {}
        self._meter = meter or Meter()

    def expect(self, snapshots: Iterable[SnapshotManifest]) -> None:
        """Begin to tell the progress of reading these back: how much of them has not been read yet."""
        unread = {
            directory.archive: directory.byte_count
            for one in snapshots
            for directory in one.directories
            if directory.archive not in self._verified
        }
        self._meter.begin("verifying", sum(unread.values()))

    def verify(self, snapshot: SnapshotManifest) -> Verification:
        """Read one snapshot back and write down what is known of it now."""
        words = [self._read(directory) for directory in snapshot.directories]
        reason = "; ".join(filter(None, words))
        marks = snapshot.marks
        if reason:
            marks = replace(marks, state=SnapshotState.DAMAGED, reason=reason)
        else:
            oldest = min((self._verified[one.archive] for one in snapshot.directories), default=self._clock())
            is_suspect = marks.state is SnapshotState.SUSPECT
            state = SnapshotState.SUSPECT if is_suspect else SnapshotState.GOOD
            marks = replace(marks, state=state, verified_at=oldest, reason=marks.reason if is_suspect else "")
        if marks != snapshot.marks:
            self._repository.mark(snapshot.id, marks)
        return Verification(replace(snapshot, marks=marks))

    def _read(self, directory: DirectoryManifest) -> str:
        """Return what is wrong with a directory's archive, empty when nothing is."""
        archive = directory.archive
        if archive in self._verified:
            return ""
        if archive not in self._damage:
            try:
                for step in read_back(self._repository, directory):
                    self._meter.advance(step)
            except SnapshotDamagedError as error:
                self._damage[archive] = error.message
            else:
                self._verified[archive] = self._clock()
                return ""
        return self._damage[archive]


def find_verified(snapshots: Iterable[SnapshotManifest]) -> dict[ArchiveReference, datetime]:
    """Return when each archive was last read back whole, as far as the snapshots' marks tell."""
    found: dict[ArchiveReference, datetime] = {}
    for snapshot in snapshots:
        if snapshot.verified_at is None or snapshot.state is SnapshotState.DAMAGED:
            continue
        for directory in snapshot.directories:
            known = found.get(directory.archive)
            found[directory.archive] = max(known, snapshot.verified_at) if known else snapshot.verified_at
    return found

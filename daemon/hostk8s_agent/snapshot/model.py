"""What a snapshot is, as frozen values. Times are aware and in UTC; sizes are bytes.

A manifest has two parts: what was taken, which never changes and is what its id stands for, and the marks (pinned,
verified, its state), which change while the snapshot is kept. docs/snapshot-format.md says how both are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.model import Quiesce

if TYPE_CHECKING:
    from datetime import datetime

ARCHIVE_ENGINE: Final = "archive"
"""The name of the default engine in manifests: plain `.tar.zst` files in the repository."""

RESTIC_ENGINE: Final = "restic"
"""The name of the engine that keeps archives in a restic repository."""

TAG_BEFORE_RESTORE: Final = "before-restore"
"""The tag of the safety snapshot that each restore takes first."""

TAG_BEFORE_PURGE: Final = "before-purge"
"""The tag of the snapshot that is taken before a directory's data is removed."""

TAG_BEFORE_PRUNE: Final = "before-prune"
"""The tag of the snapshot that is taken before a PersistentVolume is pruned whose directory holds data."""

EVENT_TAGS: Final = frozenset({TAG_BEFORE_RESTORE, TAG_BEFORE_PURGE, TAG_BEFORE_PRUNE})
"""The tags of snapshots that are taken before something dangerous, whatever the schedule says."""


class Consistency(StrEnum):
    """How far a stack was at rest while it was read."""

    LIVE = "live"
    """Whoever uses the directories may have written meanwhile: as after a power failure, and files apart in time."""
    UNUSED = "unused"
    """No container had any of the directories: nothing could be written."""
    FROZEN = "frozen"
    """Every container with one of the directories was paused all the while."""
    HOOKS = "hooks"
    """Each pod's own hooks ran before and after, and none failed."""


class SnapshotState(StrEnum):
    """What is known of a snapshot. Only a good one counts toward what retention keeps."""

    UNVERIFIED = "unverified"
    """It was written, and not read back yet."""
    GOOD = "good"
    """It was read back whole: every file had its hash."""
    SUSPECT = "suspect"
    """It is whole, and far smaller than the one before: expiry is held until a person has looked."""
    DAMAGED = "damaged"
    """What was read back was not what was written."""


@dataclass(frozen=True, slots=True)
class ArchiveReference:
    """One directory's archive, as an engine keeps it.

    `tree` is the SHA-256 of the listing (hex): the same content has the same archive, whichever snapshot asks.
    `stored_as` is the engine's own name for it (hex, 64 digits): the SHA-256 of the compressed file, the id of the
    restic snapshot. `packed_bytes` is what it takes there, `home` the restic repository's id, empty for a file.
    """

    tree: str
    stored_as: str
    packed_bytes: int
    engine: str = ARCHIVE_ENGINE
    home: str = ""


@dataclass(frozen=True, slots=True)
class DirectoryManifest:
    """One directory in a snapshot.

    Owners are `uid:gid`, modes are numbers (`0o750`). `entries` counts everything in the listing, the directory itself
    included; `files` the regular files; `byte_count` their content. `lost` says in words what the way in cannot
    keep, `changed` names the files that vanished or changed while they were read.
    """

    name: str
    path: str
    declared_owner: str
    declared_mode: int
    observed_owner: str
    observed_mode: int
    archive: ArchiveReference
    entries: int
    files: int
    byte_count: int
    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marks:
    """What changes about a snapshot while it is kept. `reason` says why it is suspect or damaged, else empty."""

    state: SnapshotState = SnapshotState.UNVERIFIED
    is_pinned: bool = False
    verified_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """One snapshot: all directories of a stack at one moment.

    `id` is the time and the first digits of the digest of everything but the marks, for instance
    `20260131-080000-3f9ac2d1`; `name` is the person's own, empty when there is none; `asked` is the quiesce that the
    contract asked for, `consistency` what was reached and `rest_note` why it is less. `engine` is the snapshot engine.
    """

    id: str
    stack: str
    taken_at: datetime
    directories: tuple[DirectoryManifest, ...]
    contract_text: str
    contract_digest: str
    asked: Quiesce = Quiesce.NONE
    consistency: Consistency = Consistency.LIVE
    rest_note: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    engine: str = ARCHIVE_ENGINE
    access: str = ""
    docker_engine: str = ""
    agent_version: str = ""
    marks: Marks = field(default_factory=Marks)

    @property
    def state(self) -> SnapshotState:
        """What is known of it."""
        return self.marks.state

    @property
    def is_event(self) -> bool:
        """Whether it was taken before something dangerous: it may be of a wreck, or of a part of the stack."""
        return not EVENT_TAGS.isdisjoint(self.tags)

    @property
    def is_pinned(self) -> bool:
        """Whether a person said that it never expires."""
        return self.marks.is_pinned

    @property
    def verified_at(self) -> datetime | None:
        """When it was last read back whole, None when it never was."""
        return self.marks.verified_at

    @property
    def byte_count(self) -> int:
        """The content of all files, as a restore writes it."""
        return sum(directory.byte_count for directory in self.directories)

    @property
    def files(self) -> int:
        """How many regular files it holds."""
        return sum(directory.files for directory in self.directories)

    @property
    def packed_bytes(self) -> int:
        """What its archives take in the repository, those included that other snapshots share."""
        return sum({one.archive.tree: one.archive.packed_bytes for one in self.directories}.values())

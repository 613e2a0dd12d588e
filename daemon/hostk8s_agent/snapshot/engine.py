"""The boundary between snapshots and what keeps their content: one tar stream for each tree, whatever the engine.

Everything else is the same for each engine, and lies in our own repository: manifests, listings, marks, the ledger,
what unchanged directories are recognised by. An engine takes the stream of a directory while it is read, gives it back
byte for byte, and says by which name it is kept. It knows nothing of files in the stream, of snapshots, or of the
volume: who wants to know whether what came back is what was given compares it with the listing (docs/adr/0007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.snapshot.model import ArchiveReference, SnapshotManifest


class IncomingArchive(Protocol):
    """An archive that is being stored. Used by one thread."""

    def put(self, chunk: bytes) -> None:
        """Take the next bytes of the stream. Raises the `SnapshotError` that says why the engine cannot go on."""

    def finish(self) -> None:
        """Take note that the last byte was put, and wait until the engine has worked off all of them."""

    def keep(self, tree: str) -> ArchiveReference:
        """Make the archive part of what the engine keeps, durably; return by which name. After `finish`."""


@dataclass(frozen=True, slots=True)
class ManifestCopy:
    """A copy of a manifest where the archives lie: of which snapshot, the engine's name for it, its path there.

    `origin` says who has sent it (`HOST:FOLDER`, empty when not known), `sent_at` when, in RFC 3339.
    """

    snapshot: str
    stored_as: str
    path: str
    origin: str
    sent_at: str


@dataclass(frozen=True, slots=True)
class CopyCatalog:
    """What an engine holds: its repository's id, the copies of manifests, and the path of each archive by its name."""

    home: str
    copies: tuple[ManifestCopy, ...]
    archives: Mapping[str, str]


class ManifestStore(Protocol):
    """Keeps copies of manifests where the archives lie, for the day when our own repository is gone.

    Under the repository's lock, but for `list_sent`.
    """

    @property
    def origin(self) -> str:
        """Whose copies are sent from here."""

    @property
    def is_awake(self) -> bool:
        """Whether the engine has been at work since `rest`: then sending costs little more."""

    def rest(self) -> None:
        """Forget that the engine has been at work."""

    def list_sent(self) -> set[str]:
        """Return the ids of the snapshots whose manifest was sent."""

    def is_sent(self, snapshot: SnapshotManifest, head: bytes) -> bool:
        """Whether there is a copy with this first line; also where none can be."""

    def send(self, snapshot: SnapshotManifest, head: bytes, chunks: Iterable[bytes]) -> None:
        """Send a copy: its first line, and what follows."""

    def forget(self, snapshots: Collection[str]) -> None:
        """Forget the copies of these, and what newer copies have replaced."""

    def look(self) -> CopyCatalog:
        """Return everything of ours that is there."""

    def has(self, copy: ManifestCopy) -> bool:
        """Whether this very copy is the one that is known here."""

    def read(self, copy: ManifestCopy) -> Iterator[bytes]:
        """Yield what a copy holds."""

    def adopt(
        self, snapshot: SnapshotManifest, head: bytes, copies: Sequence[ManifestCopy], archives: Mapping[str, str]
    ) -> None:
        """Take note of a snapshot that is ours from now on, with its copies, the newest first."""


class SnapshotEngine(Protocol):
    """Keeps archives. Reading from any thread; what changes something under the repository's lock."""

    @property
    def name(self) -> str:
        """Its name in manifests."""

    @property
    def address(self) -> str:
        """Where the archives lie, without secrets; empty for our own repository's folder."""

    @property
    def manifests(self) -> ManifestStore | None:
        """What keeps copies of manifests beside the archives; None where they lie beside them anyway."""

    def stop(self) -> None:
        """Let whoever waits for the engine, in whatever thread, raise `SnapshotStoppedError` from now on."""

    def prepare(self) -> None:
        """Make what the engine needs on this machine. Called before each change."""

    def begin(self, name: str) -> AbstractContextManager[IncomingArchive]:
        """Open a new archive; what was not kept when the block ends is gone.

        `name` is for people who look at what the engine keeps: `stack/directory`.
        """

    def has(self, reference: ArchiveReference) -> bool:
        """Whether the archive is there, as far as can be told without reading it."""

    def read(self, reference: ArchiveReference) -> Iterator[bytes]:
        """Yield the stream of an archive; after the last chunk the engine's own checks were passed.

        Raises `SnapshotDamagedError` for an archive that is missing, or not what was stored.
        """

    def sweep(self, kept: Collection[ArchiveReference], forgotten: Collection[str]) -> int:
        """Remove every archive that is not one of these, and what a crash left; return the bytes that it freed.

        `forgotten` are the snapshots whose copies of manifests go first.
        """

    def tidy(self) -> None:
        """Do what removing has left to do, if it is time: daily, with what may take long."""

    def measure(self) -> int:
        """Return the bytes that the archives take, as far as can be told at once."""

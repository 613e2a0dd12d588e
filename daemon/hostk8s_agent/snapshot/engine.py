"""The boundary between snapshots and what keeps their content: one tar stream for each tree, whatever the engine.

Everything else is the same for each engine, and lies in our own repository: manifests, listings, marks, the ledger,
what unchanged directories are recognised by. An engine takes the stream of a directory while it is read, gives it back
byte for byte, and says by which name it is kept. It knows nothing of files in the stream, of snapshots, or of the
volume: who wants to know whether what came back is what was given compares it with the listing (docs/adr/0007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from contextlib import AbstractContextManager

    from hostk8s_agent.snapshot.model import ArchiveReference


class IncomingArchive(Protocol):
    """An archive that is being stored. Used by one thread."""

    def put(self, chunk: bytes) -> None:
        """Take the next bytes of the stream. Raises the `SnapshotError` that says why the engine cannot go on."""

    def finish(self) -> None:
        """Take note that the last byte was put, and wait until the engine has worked off all of them."""

    def keep(self, tree: str) -> ArchiveReference:
        """Make the archive part of what the engine keeps, durably; return by which name. After `finish`."""


class SnapshotEngine(Protocol):
    """Keeps archives. Reading from any thread; what changes something under the repository's lock."""

    @property
    def name(self) -> str:
        """Its name in manifests."""

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

    def sweep(self, kept: Collection[ArchiveReference]) -> int:
        """Remove every archive that is not one of these, and what a crash left; return the bytes that it freed."""

    def tidy(self) -> None:
        """Do what removing has left to do, if it is time: daily, with what may take long."""

    def measure(self) -> int:
        """Return the bytes that the archives take, as far as can be told at once."""

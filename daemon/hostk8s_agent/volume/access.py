"""The one protocol for the directories in the volume, whatever the way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.errors import VolumeError
    from hostk8s_agent.plan.actions import DirectoryAction
    from hostk8s_agent.plan.observed import ObservedDirectory

AccessKind = Literal["direct", "helper-container", "host-directory"]

MAX_FILE_BYTES = 1 << 20
"""What a folder of small files of ours may hold at most: whatever is larger is none of ours."""


@dataclass(frozen=True, slots=True)
class TreeSize:
    """What a tree holds: `size_bytes` of its regular files, `entries` below its root, and its newest time.

    `modified_at` is in seconds since the epoch: the newest modification of anything in the tree, its root included.
    `changed_bytes` is the size of those files that changed after the moment that was asked for (by their change time,
    which nobody can set); None where none was, or the way in cannot tell.
    """

    size_bytes: int
    entries: int
    modified_at: float
    changed_bytes: int | None = None


class DirectoryAccess(Protocol):
    """What a reconcile needs of the volume: observe directories, and make them so. See `VolumeAccess`."""

    @property
    def access(self) -> AccessKind:
        """Which way in this is."""

    @property
    def may_set_owner(self) -> bool:
        """Whether owners can be set: not by an ordinary user whose host directory stands in for the volume."""

    def observe_directories(self, paths: Sequence[str]) -> tuple[ObservedDirectory, ...]:
        """Return what stands at each path, in the order of `paths`."""

    def apply_directories(self, actions: Sequence[DirectoryAction]) -> tuple[VolumeError | None, ...]:
        """Carry the actions out, in order; return for each None, or why it failed. One failure stops no other."""


class VolumeAccess(DirectoryAccess, Protocol):
    """Observe directories, make them so, stream a tree out or in, move and measure trees, keep small files.

    Paths are the contracts' (`/mnt/pv/...`, clean). No call follows a symbolic link anywhere below the volume's root.
    All calls are safe from several threads. Each raises a `VolumeError` when the volume as a whole cannot be
    reached; what concerns one path is in that path's result.

    A tree is swapped for another in one step like this: make a folder of your own with `apply_directories` (its first
    name below the volume's root starts with `.hostk8s`, which no contract may use), `stream_tree_in` the new tree
    there, write down in a journal what is about to happen, and `exchange_directories(live, staged)`: a reader sees
    the old tree or the new one, never none. The old one is then at `staged`, and the same call once more undoes it.
    Where that raises `ExchangeImpossibleError`, two `move_directory` (live aside, staged to live) do it with an
    instant in between, in which nothing stands at `live`; after a crash there the journal says what to move back.
    """

    def stream_tree_out(self, path: str) -> AbstractContextManager[Iterable[bytes]]:
        """Open the tree below `path` as a tar stream (pax, numeric owners, names relative to `path`, `.` first)."""

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        """Extract a tar stream into `path`, which exists and is empty. Refuses members that would leave it."""

    def move_directory(self, source: str, target: str) -> None:
        """Rename the directory `source` to `target`, in one step: it is wholly at one of the two, at any moment.

        `target` does not exist, its parent does, and one of the two lies in a folder of ours (`.hostk8s...`). Raises
        `DirectoryGoneError`, `PathObstructedError`, `PathOccupiedError`, and `ToolMissingError` where nothing at hand
        can rename (see docs/adr/0005).
        """

    def exchange_directories(self, first: str, second: str) -> None:
        """Let two directories change places, in one step. One of them lies in a folder of ours.

        Raises what `move_directory` raises, and `ExchangeImpossibleError` where only one at a time can be renamed.
        """

    def move_entry(self, source: str, target: str) -> None:
        """Rename whatever stands at `source` (a file, a link, a directory) as `move_directory` renames a directory."""

    def exchange_entries(self, first: str, second: str) -> None:
        """Let two entries of any kind change places, as `exchange_directories` does with two directories."""

    def measure_trees(
        self, paths: Sequence[str], *, changed_since: float | None = None
    ) -> tuple[TreeSize | VolumeError, ...]:
        """Return what the tree at each path holds, or why that cannot be told, in the order of `paths`.

        `changed_since` is in seconds since the epoch.
        """

    def remove_tree(self, path: str) -> None:
        """Remove a tree for good, which must lie in a folder of ours; one that does not exist is no error."""

    def read_files(self, folder: str) -> Mapping[str, bytes]:
        """Return the small files that lie in a folder of ours, by name; empty when there is no such folder."""

    def write_file(self, path: str, content: bytes) -> None:
        """Write a small file (mode 600) into a folder of ours that exists, over what has its name.

        Through the helper container a reader may find it cut or absent while it is being written: what must be there
        at any moment is written under two names in turn, with words by which a whole one is known.
        """

    def close(self) -> None:
        """Let go of everything that was opened or created on the way (a helper container, descriptors)."""

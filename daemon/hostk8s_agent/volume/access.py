"""The one protocol for the directories in the volume, whatever the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.errors import VolumeError
    from hostk8s_agent.plan.actions import DirectoryAction
    from hostk8s_agent.plan.observed import ObservedDirectory

AccessKind = Literal["direct", "helper-container", "host-directory"]


class VolumeAccess(Protocol):
    """Observe directories, make them so, stream a tree out, stream a tree in.

    Paths are the contracts' (`/mnt/pv/...`, clean). No call follows a symbolic link anywhere below the volume's root.
    All calls are safe from several threads. Each raises a `VolumeError` when the volume as a whole cannot be
    reached; what concerns one path is in that path's result.
    """

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

    def stream_tree_out(self, path: str) -> AbstractContextManager[Iterable[bytes]]:
        """Open the tree below `path` as a tar stream (pax, numeric owners, names relative to `path`, `.` first)."""

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        """Extract a tar stream into `path`, which exists and is empty. Refuses members that would leave it."""

    def close(self) -> None:
        """Let go of everything that was opened or created on the way (a helper container, descriptors)."""

"""The part that the two ways in on this machine's file system share: direct, and host directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import CreateDirectory, DirectoryAction
from hostk8s_agent.volume.errors import DirectoryGoneError, VolumeGoneError
from hostk8s_agent.volume.mapping import parse_volume_path
from hostk8s_agent.volume.translation import translated
from hostk8s_agent.volume.tree_extraction import extract_tree
from hostk8s_agent.volume.tree_reading import read_tree

if TYPE_CHECKING:
    from hostk8s_agent.plan.observed import ObservedDirectory
    from hostk8s_agent.volume.access import AccessKind
    from hostk8s_agent.volume.tree import DirectoryTree

ReportLoss = Callable[[VolumeError], None]
"""Told of an error that concerns the volume as a whole, so that the connection looks at once."""


class TreeAccess:
    """A `VolumeAccess` over a `DirectoryTree`."""

    _kind: ClassVar[AccessKind]

    def __init__(self, tree: DirectoryTree, *, may_set_owner: bool, report_loss: ReportLoss) -> None:
        self._tree = tree
        self._may_set_owner = may_set_owner
        self._report_loss = report_loss

    @property
    def access(self) -> AccessKind:
        """Which way in this is."""
        return self._kind

    @property
    def may_set_owner(self) -> bool:
        """Whether directories can be given to any user; where not, they keep the agent's own user."""
        return self._may_set_owner

    def observe_directories(self, paths: Sequence[str]) -> tuple[ObservedDirectory, ...]:
        """Return what stands at each path, in the order of `paths`."""
        with self._opened("look into the volume") as root:
            return tuple(self._tree.observe(root, path) for path in paths)

    def apply_directories(self, actions: Sequence[DirectoryAction]) -> tuple[VolumeError | None, ...]:
        """Carry the actions out, in order; return for each None, or why it failed."""
        if not actions:
            return ()
        with self._opened("open the volume", may_create=True) as root:
            return tuple(self._apply(root, action) for action in actions)

    @contextmanager
    def stream_tree_out(self, path: str) -> Iterator[Iterable[bytes]]:
        """Open the tree below `path` as a tar stream (pax, numeric owners, names relative to `path`, `.` first)."""
        components = parse_volume_path(path)
        with self._opened(f"read {path}") as root:
            if root is None:
                raise DirectoryGoneError(f"{path} does not exist", hint="the agent makes it by itself")
            with self._tree.open_directory(root, components) as directory:
                stream = read_tree(directory, path)
                try:
                    yield stream
                finally:
                    stream.close()

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        """Extract a tar stream into `path`, a directory that exists and is empty.

        Raises `TarRefusedError` for a stream that is cut or would write outside; what was extracted before
        stays in `path`.
        """
        components = parse_volume_path(path)
        with self._opened(f"write {path}") as root:
            if root is None:
                raise DirectoryGoneError(f"{path} does not exist", hint="the agent makes it by itself")
            with self._tree.open_directory(root, components) as directory:
                extract_tree(directory, path, chunks, sets_owner=self._may_set_owner)

    def verify_root(self) -> None:
        """Raise `VolumeGoneError` when the volume's root was removed or replaced."""
        with self._opened("look into the volume"):
            pass

    def close(self) -> None:
        """Close the root's descriptor."""
        self._tree.close()

    def _apply(self, root: int | None, action: DirectoryAction) -> VolumeError | None:
        if root is None:
            return DirectoryGoneError(f"{action.path} does not exist", hint="the agent looks again by itself")
        try:
            with translated(f"make {action.path} as declared"):
                if isinstance(action, CreateDirectory):
                    self._tree.create(root, action)
                else:
                    self._tree.change(root, action)
        except VolumeError as error:
            return error
        return None

    @contextmanager
    def _opened(self, attempt: str, *, may_create: bool = False) -> Iterator[int | None]:
        try:
            with translated(attempt), self._tree.opened(may_create=may_create) as root:
                yield root
        except VolumeGoneError as error:
            self._report_loss(error)
            raise

"""The part that the two ways in on this machine's file system share: direct, and host directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import CreateDirectory, DirectoryAction
from hostk8s_agent.volume import tree_moving
from hostk8s_agent.volume.errors import DirectoryGoneError, VolumeGoneError
from hostk8s_agent.volume.mapping import parse_moved_paths, parse_own_path, parse_volume_path
from hostk8s_agent.volume.translation import translated
from hostk8s_agent.volume.tree_extraction import extract_tree
from hostk8s_agent.volume.tree_reading import read_tree

if TYPE_CHECKING:
    from hostk8s_agent.plan.observed import ObservedDirectory
    from hostk8s_agent.volume.access import AccessKind, TreeSize
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
        with (
            self._opened_existing(f"read {path}") as root,
            self._tree.open_directory(root, components) as directory,
        ):
            stream = read_tree(directory, path)
            try:
                yield stream
            finally:
                stream.close()

    @contextmanager
    def open_directory(self, path: str) -> Iterator[int]:
        """Open the directory at a path of the volume for reading; no component of the path is followed as a link.

        For programs that are started in it: what they are given is the descriptor, which no rename can re-point.
        """
        components = parse_volume_path(path)
        with (
            self._opened_existing(f"open {path}") as root,
            self._tree.open_directory(root, components) as directory,
        ):
            yield directory

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        """Extract a tar stream into `path`, a directory that exists and is empty.

        Raises `TarRefusedError` for a stream that is cut or would write outside; what was extracted before
        stays in `path`.
        """
        components = parse_volume_path(path)
        with (
            self._opened_existing(f"write {path}") as root,
            self._tree.open_directory(root, components) as directory,
        ):
            extract_tree(directory, path, chunks, sets_owner=self._may_set_owner)

    def move_directory(self, source: str, target: str) -> None:
        """Rename a directory, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(source, target)
        with self._opened_existing(f"move {source} to {target}") as root:
            tree_moving.move(self._tree, root, one, other)

    def exchange_directories(self, first: str, second: str) -> None:
        """Let two directories change places, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(first, second)
        with self._opened_existing(f"exchange {first} and {second}") as root:
            tree_moving.exchange(self._tree, root, one, other)

    def move_entry(self, source: str, target: str) -> None:
        """Rename an entry of any kind, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(source, target)
        with self._opened_existing(f"move {source} to {target}") as root:
            tree_moving.move(self._tree, root, one, other, any_kind=True)

    def exchange_entries(self, first: str, second: str) -> None:
        """Let two entries of any kind change places, in one step (see `VolumeAccess`)."""
        one, other = parse_moved_paths(first, second)
        with self._opened_existing(f"exchange {first} and {second}") as root:
            tree_moving.exchange(self._tree, root, one, other, any_kind=True)

    def identify(self, path: str) -> str:
        """Return device and inode of what stands at a path, of a link itself; empty for nothing."""
        components = parse_volume_path(path)
        with (
            self._opened_existing(f"look at {path}") as root,
            self._tree.open_directory(root, components[:-1]) as parent,
        ):
            return tree_moving.identify(parent, components[-1])

    def measure_trees(
        self, paths: Sequence[str], *, changed_since: float | None = None
    ) -> tuple[TreeSize | VolumeError, ...]:
        """Return what the tree at each path holds, or why that cannot be told, in the order of `paths`."""
        return tuple(self._measure(path, changed_since) for path in paths)

    def remove_tree(self, path: str) -> None:
        """Remove a tree in a folder of ours for good; one that does not exist is no error."""
        components = parse_own_path(path)
        with self._opened(f"remove {path}") as root:
            if root is not None:
                tree_moving.remove(self._tree, root, components)

    def read_files(self, folder: str) -> Mapping[str, bytes]:
        """Return the small files in a folder of ours, by name; empty when there is no such folder."""
        components = parse_own_path(folder)
        with self._opened(f"read {folder}") as root:
            return {} if root is None else tree_moving.read_files(self._tree, root, components)

    def write_file(self, path: str, content: bytes) -> None:
        """Write a small file into a folder of ours that exists: whole, or not at all."""
        components = parse_own_path(path)
        with self._opened_existing(f"write {path}") as root:
            tree_moving.write_file(self._tree, root, components, content)

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

    def _measure(self, path: str, changed_since: float | None) -> TreeSize | VolumeError:
        components = parse_volume_path(path)
        try:
            with self._opened_existing(f"measure {path}") as root:
                return tree_moving.measure(self._tree, root, components, changed_since)
        except VolumeGoneError:
            raise
        except VolumeError as error:
            return error

    @contextmanager
    def _opened_existing(self, attempt: str) -> Iterator[int]:
        with self._opened(attempt) as root:
            if root is None:
                raise DirectoryGoneError(
                    f"could not {attempt}: there is nothing yet", hint="the agent makes its directories by itself"
                )
            yield root

    @contextmanager
    def _opened(self, attempt: str, *, may_create: bool = False) -> Iterator[int | None]:
        try:
            with translated(attempt), self._tree.opened(may_create=may_create) as root:
                yield root
        except VolumeGoneError as error:
            self._report_loss(error)
            raise

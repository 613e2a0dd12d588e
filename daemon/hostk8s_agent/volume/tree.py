"""A directory tree on this machine, walked by descriptors alone: no symbolic link below its root is ever followed."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hostk8s_agent.plan.observed import EntryKind, ObservedDirectory
from hostk8s_agent.volume.errors import (
    AccessClosedError,
    DirectoryGoneError,
    ModeNotPermittedError,
    OwnerNotPermittedError,
    VolumeGoneError,
    build_obstructed_error,
)
from hostk8s_agent.volume.mapping import parse_volume_path, render_volume_path
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory

PARENT_MODE = 0o755
PERMISSION_BITS = 0o7777

_OPEN_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH (Linux) passes through a directory that we may search but not read; macOS has only O_RDONLY.
_WALK = _OPEN_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
_CHANGE = _OPEN_DIRECTORY | os.O_RDONLY


def classify_mode(mode: int) -> EntryKind:
    """Return what kind of entry a `st_mode` is of."""
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    return "file" if stat.S_ISREG(mode) else "other"


class DirectoryTree:
    """The tree below `root`, which itself may be reached through links: it is the operator's, not the volume's.

    The root is opened once and stays open, so that its inode cannot be given to another directory: a volume that was
    removed and made again under the same path is noticed. With `creates_root` a root that was never there is
    made for the first action (mode 755), and reads as empty until then.
    """

    def __init__(self, root: Path, *, may_set_owner: bool, creates_root: bool = False) -> None:
        self._root = root
        self._may_set_owner = may_set_owner
        self._creates_root = creates_root
        self._lock = threading.Lock()
        self._is_closed = False
        self._pinned: int | None = None
        if not creates_root:
            self._pinned = self._open_root()

    def close(self) -> None:
        """Close the root. Calls that are under way end as if it were open."""
        with self._lock:
            self._is_closed = True
            if self._pinned is not None:
                os.close(self._pinned)
                self._pinned = None

    @contextmanager
    def opened(self, *, may_create: bool = False) -> Iterator[int | None]:
        """Open the root for one call; None when it was never there and is not created.

        Raises `VolumeGoneError` when the root was removed or replaced since it was first seen.
        """
        descriptor = self._duplicate_root(may_create=may_create)
        try:
            if descriptor is not None:
                self._require_same_root(descriptor)
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def observe(self, root: int | None, path: str) -> ObservedDirectory:
        """Return what stands at a contract's path. `root` is from `opened`."""
        components = parse_volume_path(path)
        if root is None:
            return ObservedDirectory(path, "absent")
        parent = root
        for depth, name in enumerate(components[:-1], start=1):
            following, failure = _step(parent, name)
            if failure is None:
                _close_unless(parent, root)
                parent = following
                continue
            kind, detail = _explain_failure(parent, name, failure)
            _close_unless(parent, root)
            if kind == "absent":
                return ObservedDirectory(path, "absent")
            obstacle = None if kind == "unreadable" else render_volume_path(components[:depth])
            return ObservedDirectory(path, kind, obstacle=obstacle, detail=detail)
        try:
            return _observe_entry(parent, components[-1], path)
        finally:
            _close_unless(parent, root)

    def create(self, root: int, action: CreateDirectory) -> None:
        """Make a directory and its missing parents; what exists is not touched, the directory itself apart."""
        components = parse_volume_path(action.path)
        with self.open_directory(root, components[:-1], makes_missing=True) as parent:
            # 0700 until it has its owner: it is never more open than declared, not even for an instant.
            with suppress(FileExistsError):
                os.mkdir(components[-1], 0o700, dir_fd=parent)
            descriptor = _open_child(parent, components, len(components))
            try:
                self._set_owner(descriptor, action.uid, action.gid, path=action.path, is_required=False)
                _set_mode(descriptor, action.mode, action.path)
            finally:
                os.close(descriptor)

    def change(self, root: int, action: ChangeDirectory) -> None:
        """Give an existing directory its owner, its mode, or both. Raises `DirectoryGoneError` when it is absent."""
        components = parse_volume_path(action.path)
        with self.open_directory(root, components) as descriptor:
            mode = action.mode if action.changes_mode else os.fstat(descriptor).st_mode & PERMISSION_BITS
            if action.changes_owner:
                self._set_owner(descriptor, action.uid, action.gid, path=action.path, is_required=True)
            # After the owner: a change of owner may clear setuid and setgid bits (chown(2)).
            _set_mode(descriptor, mode, action.path)

    @contextmanager
    def open_directory(self, root: int, components: tuple[str, ...], *, makes_missing: bool = False) -> Iterator[int]:
        """Open the directory at components below the root, for changing it or what is in it.

        Missing ones are made root:root 755 when `makes_missing`, else `DirectoryGoneError` is raised;
        `PathObstructedError` when no directory stands where one belongs.
        """
        current = os.dup(root)
        try:
            for depth in range(1, len(components) + 1):
                following = self._open_or_make(current, components, depth, makes_missing=makes_missing)
                os.close(current)
                current = following
            yield current
        finally:
            os.close(current)

    def _open_or_make(self, parent: int, components: tuple[str, ...], depth: int, *, makes_missing: bool) -> int:
        try:
            return _open_child(parent, components, depth)
        except DirectoryGoneError:
            if not makes_missing:
                raise
        # 755 from its first instant where the umask lets it: a crash right here leaves no closed parent behind.
        try:
            os.mkdir(components[depth - 1], PARENT_MODE, dir_fd=parent)
        except FileExistsError:
            return _open_child(parent, components, depth)
        made = _open_child(parent, components, depth)
        try:
            path = render_volume_path(components[:depth])
            self._set_owner(made, 0, 0, path=path, is_required=False)
            _set_mode(made, PARENT_MODE, path)
        except BaseException:
            os.close(made)
            raise
        return made

    def _set_owner(self, descriptor: int, uid: int, gid: int, *, path: str, is_required: bool) -> None:
        now = os.fstat(descriptor)
        if (now.st_uid, now.st_gid) == (uid, gid):
            return
        try:
            os.fchown(descriptor, uid, gid)
        except PermissionError as error:
            if not self._may_set_owner and not is_required:
                return
            raise OwnerNotPermittedError(
                f"{path} cannot be given to {uid}:{gid}: only root may do that",
                hint="run the agent as root, or declare the owner that the directory has",
            ) from error

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise self._build_gone_error() from error

    def _duplicate_root(self, *, may_create: bool) -> int | None:
        with self._lock:
            if self._is_closed:
                raise AccessClosedError(f"{self._root} is not in use any more", hint="the agent tries again by itself")
            if self._pinned is None:
                if may_create:
                    self._root.mkdir(mode=PARENT_MODE, parents=True, exist_ok=True)
                elif not self._root.exists():
                    return None
                self._pinned = self._open_root()
            return os.dup(self._pinned)

    def _require_same_root(self, descriptor: int) -> None:
        try:
            there = self._root.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._build_gone_error() from error
        if not os.path.samestat(there, os.fstat(descriptor)):
            raise self._build_gone_error()

    def _build_gone_error(self) -> VolumeGoneError:
        return VolumeGoneError(
            f"{self._root} was removed or replaced while the agent used it",
            hint="if that was not meant, stop what writes to it and restore it from a snapshot",
        )


def _step(parent: int, name: str) -> tuple[int, OSError | None]:
    try:
        return os.open(name, _WALK, dir_fd=parent), None
    except OSError as error:
        return -1, error


def _close_unless(descriptor: int, kept: int) -> None:
    if descriptor != kept:
        os.close(descriptor)


def _observe_entry(parent: int, name: str, path: str) -> ObservedDirectory:
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return ObservedDirectory(path, "absent")
    except OSError as error:
        return ObservedDirectory(path, "unreadable", detail=error.strerror or str(error))
    kind = classify_mode(found.st_mode)
    if kind != "directory":
        return ObservedDirectory(path, kind, obstacle=path)
    return ObservedDirectory(path, kind, found.st_uid, found.st_gid, found.st_mode & PERMISSION_BITS)


def _explain_failure(parent: int, name: str, failure: OSError) -> tuple[EntryKind, str]:
    if failure.errno == errno.ENOENT:
        return "absent", ""
    # Linux says ENOTDIR for a link opened with O_NOFOLLOW and O_DIRECTORY, macOS ELOOP.
    if failure.errno in (errno.ENOTDIR, errno.ELOOP):
        try:
            kind = classify_mode(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except OSError:
            kind = "directory"
        if kind != "directory":
            return kind, ""
        return "unreadable", "it changes while it is being looked at"
    return "unreadable", failure.strerror or str(failure)


def _open_child(parent: int, components: tuple[str, ...], depth: int) -> int:
    """Open `components[depth - 1]` in its parent, for changing it."""
    name = components[depth - 1]
    path = render_volume_path(components[:depth])
    try:
        return os.open(name, _CHANGE, dir_fd=parent)
    except OSError as error:
        kind, _ = _explain_failure(parent, name, error)
        if kind == "absent":
            raise DirectoryGoneError(f"{path} does not exist", hint="the agent looks again by itself") from error
        if kind == "unreadable":
            with translated(f"open {path}"):
                raise
        raise build_obstructed_error(kind, path) from error


def _set_mode(descriptor: int, mode: int, path: str) -> None:
    if os.fstat(descriptor).st_mode & PERMISSION_BITS != mode:
        os.fchmod(descriptor, mode)
    if (real := os.fstat(descriptor).st_mode & PERMISSION_BITS) != mode:
        raise ModeNotPermittedError(
            f"{path} got the mode {real:o} instead of {mode:o}: the operating system dropped a bit",
            hint="run the agent as root, or as a member of the directory's group (setgid asks for that)",
        )

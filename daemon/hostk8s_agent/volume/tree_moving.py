"""Moving, measuring and removing trees, and small files of ours, by descriptors alone."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from hostk8s_agent.volume import renaming
from hostk8s_agent.volume.access import MAX_FILE_BYTES, TreeSize
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    ExchangeImpossibleError,
    PathOccupiedError,
    build_obstructed_error,
)
from hostk8s_agent.volume.mapping import Components, render_volume_path
from hostk8s_agent.volume.tree import DirectoryTree, classify_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o600


def move(tree: DirectoryTree, root: int, source: Components, target: Components, *, any_kind: bool = False) -> None:
    """Rename a directory (with `any_kind` any entry); both parents are opened first, without following a link."""
    with (
        tree.open_directory(root, source[:-1]) as from_folder,
        tree.open_directory(root, target[:-1]) as to_folder,
    ):
        _require_entry(from_folder, source, any_kind=any_kind)
        try:
            renaming.rename((from_folder, source[-1]), (to_folder, target[-1]))
        except FileExistsError as error:
            raise build_occupied_error(render_volume_path(target)) from error
        # Both folders, so that no crash of the machine leaves the entry in neither.
        os.fsync(to_folder)
        os.fsync(from_folder)


def exchange(tree: DirectoryTree, root: int, first: Components, second: Components, *, any_kind: bool = False) -> None:
    """Let two directories (with `any_kind` any two entries) change places."""
    with tree.open_directory(root, first[:-1]) as one, tree.open_directory(root, second[:-1]) as other:
        _require_entry(one, first, any_kind=any_kind)
        _require_entry(other, second, any_kind=any_kind)
        try:
            renaming.exchange((one, first[-1]), (other, second[-1]))
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                raise
            raise ExchangeImpossibleError(
                "two directories cannot change places in one step on this file system",
                hint="they are moved one after the other instead",
            ) from error
        os.fsync(one)
        os.fsync(other)


def identify(parent: int, name: str) -> str:
    """Return device and inode of an entry in an open folder, empty when there is none."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def measure(tree: DirectoryTree, root: int, components: Components, changed_since: float | None = None) -> TreeSize:
    """Walk a tree and add it up. What goes away meanwhile does not count."""
    with tree.open_directory(root, components) as directory:
        found = os.fstat(directory)
        size_bytes, entries, modified_at, changed_bytes = 0, 0, found.st_mtime, 0
        for one in _iterate_entries(os.open(".", _OPEN_DIRECTORY, dir_fd=directory)):
            size = one.st_size if stat.S_ISREG(one.st_mode) else 0
            size_bytes, entries, modified_at = size_bytes + size, entries + 1, max(modified_at, one.st_mtime)
            if changed_since is not None and one.st_ctime > changed_since:
                changed_bytes += size
    return TreeSize(size_bytes, entries, modified_at, None if changed_since is None else changed_bytes)


def remove(tree: DirectoryTree, root: int, components: Components) -> None:
    """Remove a tree; `shutil.rmtree` walks by descriptors, so that no link is followed whoever swaps one in."""
    try:
        with tree.open_directory(root, components[:-1]) as parent:
            try:
                shutil.rmtree(components[-1], dir_fd=parent)
            except NotADirectoryError:
                os.unlink(components[-1], dir_fd=parent)
            os.fsync(parent)
    except (DirectoryGoneError, FileNotFoundError):
        return


def read_files(tree: DirectoryTree, root: int, components: Components) -> dict[str, bytes]:
    """Return the small files in a folder, links and everything else left out."""
    found: dict[str, bytes] = {}
    try:
        with tree.open_directory(root, components) as folder:
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - a descriptor
                if (content := _read_file(folder, name)) is not None:
                    found[name] = content
    except DirectoryGoneError:
        return {}
    return found


def write_file(tree: DirectoryTree, root: int, components: Components, content: bytes) -> None:
    """Write a file whole or not at all: beside it, to the disk, and renamed into its place."""
    with tree.open_directory(root, components[:-1]) as folder:
        # Always the same name, so that a crash leaves at most one, which the next write takes; readers leave it out.
        beside = f".{components[-1]}~"
        descriptor = os.open(beside, _CREATE_FILE, _FILE_MODE, dir_fd=folder)
        try:
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(beside, components[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
            raise
        os.fsync(folder)


def build_occupied_error(path: str) -> PathOccupiedError:
    """Return the error for something that stands where a directory is to be moved to."""
    return PathOccupiedError(f"something stands already at {path}", hint="look at it, and move it away")


def _require_entry(parent: int, components: Components, *, any_kind: bool) -> None:
    path = render_volume_path(components)
    try:
        kind = classify_mode(os.stat(components[-1], dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError as error:
        raise DirectoryGoneError(f"{path} does not exist", hint="look what there is: hostk8s-agent orphans") from error
    if kind != "directory" and not any_kind:
        raise build_obstructed_error(kind, path)


def _iterate_entries(directory: int) -> Iterator[os.stat_result]:
    try:
        for name in os.listdir(directory):
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from _iterate_entries(os.open(name, _OPEN_DIRECTORY, dir_fd=directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            yield found
    finally:
        os.close(directory)


def _read_file(folder: int, name: str) -> bytes | None:
    try:
        descriptor = os.open(name, _OPEN_FILE, dir_fd=folder)
    except OSError:
        return None  # a link, or gone since the listing
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES or name.endswith("~"):
            return None
        return os.read(descriptor, MAX_FILE_BYTES)
    finally:
        os.close(descriptor)

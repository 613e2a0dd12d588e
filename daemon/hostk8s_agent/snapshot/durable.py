"""Files that are there whole or not at all: written beside, made durable, renamed over, the folder made durable.

After a crash at any instant a reader finds the old file or the new one; what was being written is left under a name
that starts with `.incoming-`, and is removed by whoever next holds the repository's lock.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import RepositoryFullError, RepositoryUnusableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INCOMING_PREFIX = ".incoming-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class IncomingFile:
    """A file that is being written. `keep_as` puts it in its place; without that it goes when the block ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._is_kept = False

    def write(self, chunk: bytes | memoryview) -> int:
        """Write all of the chunk."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self.descriptor, view) :]
        return len(chunk)

    def keep_as(self, target: Path) -> None:
        """Make the file durable and give it its name, over what has it."""
        os.fsync(self.descriptor)
        self.path.replace(target)
        self._is_kept = True
        make_folder_durable(target.parent)

    def close(self) -> None:
        """Close it, and remove it unless it was kept."""
        os.close(self.descriptor)
        if not self._is_kept:
            with suppress(OSError):
                self.path.unlink()


@contextmanager
def incoming(folder: Path) -> Iterator[IncomingFile]:
    """Open a file to be written in a folder that exists. Raises the translated error of what fails in the block."""
    with written(f"write into {folder}"):
        file = IncomingFile(folder / f"{INCOMING_PREFIX}{secrets.token_hex(8)}")
        try:
            yield file
        finally:
            file.close()


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file whole, over what has its name."""
    with incoming(path.parent) as file:
        file.write(content)
        file.keep_as(path)


def remove_durably(path: Path) -> None:
    """Remove a file that need not exist, and make that durable."""
    with written(f"remove {path}"):
        path.unlink(missing_ok=True)
        make_folder_durable(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder (mode 700) and its missing parents, durably."""
    if path.is_dir():
        return
    with written(f"make {path}"):
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        make_folder_durable(path.parent)


def list_paths(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted; nothing when there is none."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def measure_folder(folder: Path) -> int:
    """Return the bytes of the files in a folder; 0 when it cannot be looked at."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def make_folder_durable(folder: Path) -> None:
    """Make what was renamed into a folder, or removed from it, survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written(attempt: str) -> Iterator[None]:
    """Translate what the operating system says when something in the repository is changed."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno in _FULL:
            raise RepositoryFullError(
                f"could not {attempt}: {words}",
                hint="make space there, let snapshots expire, or set snapshot_repository to another disk",
            ) from error
        raise RepositoryUnusableError(
            f"could not {attempt}: {words}", hint="look at the folder's owner, mode and disk; nothing was changed"
        ) from error

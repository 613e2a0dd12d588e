"""A contract file as it stands on the disk: what it is and how to tell that it changed.

Nothing here opens the file: a FIFO would block, a device could have effects. Reading is the consumer's.
"""

# ruff: noqa: PTH116
# Strings and os.path: called once for each contract in every scan; Path objects treble its time.
from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

CONTRACT_NAME = "hostk8s.storage.yaml"

ContractKind = Literal["file", "directory", "fifo", "socket", "device", "dangling", "unreadable"]


class Fingerprint(NamedTuple):
    """What changes when a file is written, replaced or pointed elsewhere (nanoseconds, bytes).

    `ctime_ns` is in it because it cannot be set: a file restored with its old modification time still shows.
    """

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class ContractFile:
    """One entry named `hostk8s.storage.yaml` in a stack's folder.

    `stack` is the folder's path below the stacks folder with slashes (`foundation/airflow`), never empty.
    `kind` is what stands there once links are followed: anything but `file` cannot be a contract, yet exists,
    so that the reader can say what is wrong instead of "gone". `dangling` is a link to nothing or to itself,
    `unreadable` an entry that could not be looked at (its fingerprint is then the link's or all zero).
    `location` is the path as text, beginning with the stacks folder's path as it was given.
    `is_linked` tells that the entry or a folder on the way to it is a symlink: a change behind it may send no
    event.
    """

    stack: str
    location: str
    fingerprint: Fingerprint
    kind: ContractKind = "file"
    is_linked: bool = False

    @property
    def path(self) -> Path:
        """`location` as a path, made on demand: most contracts of most scans are only compared."""
        return Path(self.location)


_UNKNOWN = Fingerprint(0, 0, 0, 0, 0)


def find_contract_file(stack: str, path: str, *, is_linked: bool = False) -> ContractFile | None:
    """Given a stack's name and the path of its contract, look at what stands there, links followed.

    Return None only if the path itself leads to nothing (ENOENT, ENOTDIR). An entry that cannot be looked at
    is there, of kind `unreadable`: unreadable is never absent. Never raises OSError.
    """
    try:
        link = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ContractFile(stack, path, _UNKNOWN, "unreadable")
    if not stat.S_ISLNK(link.st_mode):
        return ContractFile(stack, path, _fingerprint(link), _kind(link.st_mode), is_linked)
    try:
        target = os.stat(path)
    except PermissionError:
        return ContractFile(stack, path, _fingerprint(link), "unreadable", is_linked=True)
    except OSError:
        return ContractFile(stack, path, _fingerprint(link), "dangling", is_linked=True)
    return ContractFile(stack, path, _fingerprint(target), _kind(target.st_mode), is_linked=True)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def _kind(mode: int) -> ContractKind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "socket" if stat.S_ISSOCK(mode) else "device"

"""Directories that no contract asks for, and those in the trash, as every client sees them.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Danger = Literal["purge", "prune"]
"""What is about to happen to a directory, or to the only object that leads there."""


@dataclass(frozen=True, slots=True)
class Secured:
    """What holds a directory's data before something dangerous: a snapshot's id, or why none is needed or taken."""

    snapshot: str = ""
    reason: str = ""


class SecureDirectory(Protocol):
    """Takes a snapshot of one directory before something dangerous."""

    def __call__(self, stack: str, path: str, danger: Danger, name: str = "") -> Secured:
        """Return what holds the data of the stack's directory at `path`, which its contract called `name`.

        `name` is empty where nobody knows it any more. Raises the `AgentError` that says why there is no snapshot.
        """


def secure_nothing(stack: str, path: str, danger: Danger, name: str = "") -> Secured:
    """Stand in where there are no snapshots. Implements `SecureDirectory`."""
    del stack, path, danger, name
    return Secured(reason="there are no snapshots here")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A directory in the volume that a contract of `stack` once had, and that none asks for now.

    `unwanted_since` is when that was first seen, `modified_at` the newest time of anything in it, both RFC 3339 in UTC.
    Size and entries are None where they could not be told, which `message` explains. `kept_because` says why it would
    not be purged now, empty when nothing speaks against it.
    """

    path: str
    stack: str
    unwanted_since: str
    modified_at: str
    size_bytes: int | None
    entries: int | None
    kept_because: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class TrashedDirectory:
    """A directory in the trash. `path` is where it came from; size and entries are of the time when it was purged."""

    id: str
    path: str
    stack: str
    purged_at: str
    size_bytes: int | None
    entries: int | None


@dataclass(frozen=True, slots=True)
class Purged:
    """A directory that was moved into the trash, and the snapshot of it that was taken before."""

    directory: TrashedDirectory
    secured: Secured


@dataclass(frozen=True, slots=True)
class PathHolder:
    """A workspace that holds paths of the volume; `heartbeat_at` is when its agent last said so.

    `is_silent` says that it has not been heard of for five minutes: then what it holds can be taken over.
    """

    workspace: str
    machine: str
    cluster: str
    heartbeat_at: str
    is_silent: bool
    paths: tuple[str, ...]

"""Directories that no contract asks for, and those in the trash, as every client sees them.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass


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

"""How well each directory is protected: what `status` shows of snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from hostk8s_agent.snapshot.documents import render_moment
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.status.model import DirectoryProtection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.status.model import DirectoryStatus, SizeSource

GRACE_FACTOR = 2
"""A directory is protected while its last verified snapshot is younger than so many times its schedule."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stack's schedule: the seconds between two snapshots, when the next is due, and why it is not taken then."""

    interval_seconds: float
    next_at: datetime
    delay: str = ""


class _Size(TypedDict, total=False):
    """Those fields of `DirectoryProtection`."""

    size_bytes: int
    size_from: SizeSource
    size_at: str
    size_snapshot: str


def describe_protection(
    stack: str,
    directories: Iterable[DirectoryStatus],
    snapshots: Sequence[SnapshotManifest],
    due: Due | None,
    now: datetime,
    *,
    engine: str = "",
) -> list[DirectoryProtection]:
    """Return what is true of each of the stack's directories; `snapshots` are the stack's, `due` None without schedule.

    `engine` is the Docker engine's ID, empty where none is known: a colleague's snapshot says nothing of the size here.

    Protected is what a good snapshot holds that was read back, and is younger than twice the schedule: a snapshot that
    nobody has read back, or that the schedule has left behind, protects nothing.
    """
    found = []
    for directory in directories:
        name = directory.name
        holding = [one for one in snapshots if any(part.name == name for part in one.directories)]
        # What was taken before a restore may be the wreck itself.
        good = [one for one in holding if one.state is SnapshotState.GOOD and not one.is_event]
        newest = max(good, key=lambda one: one.taken_at, default=None)
        last_good_at = render_moment(newest.taken_at) if newest else ""
        verified = max((one.verified_at for one in good if one.verified_at is not None), default=None)
        is_fresh = (
            newest is not None
            and due is not None
            and now - newest.taken_at < timedelta(seconds=GRACE_FACTOR * due.interval_seconds)
        )
        found.append(
            DirectoryProtection(
                stack,
                name,
                is_protected=is_fresh,
                snapshots=len(holding),
                last_good_at=last_good_at,
                last_verified_at=render_moment(verified) if verified else "",
                next_due_at=render_moment(due.next_at) if due else "",
                delay=due.delay if due else "",
                bytes_at_risk=_find_risk(directory, last_good_at),
                **_find_size(directory, holding, engine),
            )
        )
    return found


def index_last_good(snapshots: Iterable[SnapshotManifest]) -> dict[tuple[str, str], datetime]:
    """Return when the last good snapshot of each (stack, directory) was taken, of those that have one."""
    found: dict[tuple[str, str], datetime] = {}
    for one in snapshots:
        if one.state is SnapshotState.GOOD:
            for part in one.directories:
                found[one.stack, part.name] = max(one.taken_at, found.get((one.stack, part.name), one.taken_at))
    return found


def _find_size(directory: DirectoryStatus, holding: Sequence[SnapshotManifest], engine: str) -> _Size:
    if directory.used_bytes is not None:
        return _Size(size_bytes=directory.used_bytes, size_from="measurement", size_at=directory.used_at)
    held = [
        (one.taken_at, one.id, part.byte_count)
        for one in holding
        for part in one.directories
        # What was taken before something dangerous is as true of its moment as any other.
        if part.path == directory.path
        and one.state is not SnapshotState.DAMAGED
        and (not engine or one.docker_engine in ("", engine))
    ]
    if not held:
        return _Size()
    taken_at, snapshot, byte_count = max(held)
    return _Size(size_bytes=byte_count, size_from="snapshot", size_at=render_moment(taken_at), size_snapshot=snapshot)


def _find_risk(directory: DirectoryStatus, last_good_at: str) -> int | None:
    """Return how many bytes no good snapshot has, None where that was not counted since the last one."""
    if not last_good_at:
        return directory.used_bytes
    return directory.changed_bytes if directory.changed_since == last_good_at else None

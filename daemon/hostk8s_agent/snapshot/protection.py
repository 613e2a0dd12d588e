"""How well each directory is protected: what `status` shows of snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.documents import render_moment
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.status.model import DirectoryProtection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.status.model import DirectoryStatus

GRACE_FACTOR = 2
"""A directory is protected while its last verified snapshot is younger than so many times its schedule."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stack's schedule: the seconds between two snapshots, when the next is due, and why it is not taken then."""

    interval_seconds: float
    next_at: datetime
    delay: str = ""


def describe_protection(
    stack: str,
    directories: Iterable[DirectoryStatus],
    snapshots: Sequence[SnapshotManifest],
    due: Due | None,
    now: datetime,
) -> list[DirectoryProtection]:
    """Return what is true of each of the stack's directories; `snapshots` are the stack's, `due` None without schedule.

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


def _find_risk(directory: DirectoryStatus, last_good_at: str) -> int | None:
    """Return how many bytes no good snapshot has, None where that was not counted since the last one."""
    if not last_good_at:
        return directory.used_bytes
    return directory.changed_bytes if directory.changed_since == last_good_at else None

"""Which snapshot a person means: an id or its beginning, a name, `latest`, or a time in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import SnapshotAmbiguousError, SnapshotUnknownError
from hostk8s_agent.snapshot.model import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostk8s_agent.snapshot.model import SnapshotManifest

LATEST: Final = "latest"

_AGO = re.compile(r"(\d{1,6})\s*(minute|min|m|hour|h|day|d|week|w)s?(?:\s+ago)?", re.IGNORECASE)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SHOWN = 5


def split_reference(text: str) -> tuple[str, str]:
    """Given `STACK` or `STACK@WHICH`, return the two; `WHICH` is `latest` where it is not said."""
    stack, _, which = text.partition("@")
    return stack, which.strip() or LATEST


def select_snapshot(snapshots: Sequence[SnapshotManifest], which: str, now: datetime) -> SnapshotManifest:
    """Return the one of a stack's snapshots (or of all) that is meant.

    `latest` is the newest good one that was not taken before something dangerous; a time (`2 hours ago`, or RFC 3339)
    means the newest that was not taken after it. Raises `SnapshotUnknownError` or `SnapshotAmbiguousError`.
    """
    ordered = sorted(snapshots, key=attrgetter("taken_at", "id"))
    if which == LATEST:
        usable = [one for one in ordered if one.state is SnapshotState.GOOD and not one.is_event]
        if usable:
            return usable[-1]
        raise SnapshotUnknownError(
            "there is no good snapshot yet",
            hint="take one: hostk8s-agent snapshot create STACK; snapshot list shows those that are not good",
        )
    found = [one for one in ordered if one.id.startswith(which) or one.id.endswith(f"-{which}") or one.name == which]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(one.id for one in found[:_SHOWN])
        raise SnapshotAmbiguousError(
            f"{which!r} means {len(found)} snapshots: {shown}", hint="write more of the one that is meant"
        )
    moment = _parse_moment(which, now)
    if moment is None:
        raise SnapshotUnknownError(
            f"there is no snapshot {which!r}",
            hint='write an id or its beginning, a name, latest, "2 hours ago" or a time; snapshot list shows all',
        )
    before = [one for one in ordered if one.taken_at <= moment and one.state is not SnapshotState.DAMAGED]
    if before:
        return before[-1]
    raise SnapshotUnknownError(
        f"there is no snapshot from before {moment:%Y-%m-%d %H:%M} UTC", hint="snapshot list shows all that there are"
    )


def _parse_moment(text: str, now: datetime) -> datetime | None:
    if match := _AGO.fullmatch(text.strip()):
        return now - int(match[1]) * _UNITS[match[2][0].lower()]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without an offset it is what the clock on this machine's wall showed.
    return moment.astimezone(UTC)

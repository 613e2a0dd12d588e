"""Which snapshot a person means: an id or its beginning, a name, `latest`, or a time in words."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import SnapshotAmbiguousError, SnapshotPinnedError, SnapshotUnknownError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.moments import is_moment, parse_day, parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository

LATEST: Final = "latest"
MAX_NAME_LENGTH: Final = 100

_ID_BEGINNING = re.compile(r"\d{8}(-|$)")

_HINT: Final = 'write an id or its beginning, a name, latest, "2 hours ago" or a time; snapshot list shows all'
_SHOWN = 5


def split_reference(text: str) -> tuple[str, str]:
    """Given `STACK` or `STACK@WHICH`, return the two; `WHICH` is `latest` without an @, and empty after a mere one."""
    stack, at, which = text.partition("@")
    return stack, which.strip() if at else LATEST


def find_name_fault(name: str) -> str:
    """Return why a person's name for a snapshot could not be used to mean it, empty when it can."""
    if len(name) > MAX_NAME_LENGTH:
        return f"it has {len(name)} characters, and {MAX_NAME_LENGTH} are the most"
    if not name.isprintable() or name != name.strip():
        return "it has characters that do not print, or begins or ends with a space"
    if name == LATEST or is_moment(name) or _ID_BEGINNING.match(name):
        return "it means another snapshot: latest, a time or the beginning of an id"
    return ""


def select_snapshot(
    snapshots: Sequence[SnapshotManifest], which: str, now: datetime, stack: str | None = None
) -> SnapshotManifest:
    """Return the one of a stack's snapshots (None: of all) that is meant.

    `latest` is the newest good one that was not taken before something dangerous; a time (`2 hours ago`, or RFC 3339)
    means the newest that was not taken after it, whatever it was taken for, unless it is damaged; a date alone the only
    one of that day. Raises `SnapshotUnknownError` or `SnapshotAmbiguousError`.
    """
    of_stack = [one for one in snapshots if stack in (None, one.stack)]
    if not of_stack:
        raise SnapshotUnknownError(
            f"there is no snapshot of {stack}" if stack else "there is no snapshot yet",
            hint="take one: hostk8s-agent snapshot create STACK; snapshot list shows those of all stacks",
        )
    ordered = sorted(of_stack, key=attrgetter("taken_at", "id"))
    if which == LATEST:
        usable = [one for one in ordered if one.state is SnapshotState.GOOD and not one.is_event]
        if usable:
            return usable[-1]
        raise SnapshotUnknownError(
            "there is no good snapshot yet",
            hint="take one: hostk8s-agent snapshot create STACK; snapshot list shows those that are not good",
        )
    # An empty word is the beginning of every id: what a script says whose variable is not set.
    if not which.strip():
        raise SnapshotUnknownError("no snapshot is named", hint=_HINT)
    found = [one for one in ordered if one.id.startswith(which) or one.id.endswith(f"-{which}") or one.name == which]
    if found:
        return _require_one(found, f"{which!r}")
    return _select_by_time(ordered, which, now)


def _select_by_time(ordered: Sequence[SnapshotManifest], which: str, now: datetime) -> SnapshotManifest:
    text = which.strip()
    usable = [one for one in ordered if one.state is not SnapshotState.DAMAGED]
    if day := parse_day(text):
        found = [one for one in usable if day[0] <= one.taken_at < day[1]]
        if found:
            return _require_one(found, f"the day {text}")
        raise SnapshotUnknownError(f"no snapshot was taken on {text}", hint=f"write a time: {text}T18:00; {_HINT}")
    moment = parse_moment(text, now)
    if moment is None:
        raise SnapshotUnknownError(f"there is no snapshot {which!r}", hint=_HINT)
    before = [one for one in usable if one.taken_at <= moment]
    if before:
        return _require_one([one for one in before if one.taken_at == before[-1].taken_at], f"{text!r}")
    first = f"; the first is {usable[0].id}" if usable else ""
    raise SnapshotUnknownError(
        f"there is no snapshot from before {text!r}{first}", hint="snapshot list shows all that there are"
    )


def find_snapshot(repository: Repository, which: str, stack: str | None, now: datetime) -> SnapshotManifest:
    """Return the one snapshot of the repository (of a stack) that is meant. Raises as `select_snapshot` does.

    An id whose manifest cannot be trusted raises what is wrong with it.
    """
    repository.require_known()
    if which in repository.list_ids():
        snapshot = repository.load(which)
        if stack in (None, snapshot.stack):
            return snapshot
    return select_snapshot(repository.load_all()[0], which, now, stack)


def require_unpinned(snapshots: Iterable[SnapshotManifest], snapshot_id: str) -> None:
    """Raise `SnapshotPinnedError` when the one of that id is pinned: that takes a second thought."""
    if any(one.id == snapshot_id and one.is_pinned for one in snapshots):
        raise SnapshotPinnedError(
            f"{snapshot_id} is pinned", hint=f"hostk8s-agent snapshot pin {snapshot_id} --off, then forget it"
        )


def _require_one(found: Sequence[SnapshotManifest], words: str) -> SnapshotManifest:
    if len(found) == 1:
        return found[0]
    shown = ", ".join(one.id for one in found[:_SHOWN]) + ", ..." * (len(found) > _SHOWN)
    raise SnapshotAmbiguousError(
        f"{words} means {len(found)} snapshots: {shown}", hint="write more of the one that is meant"
    )

"""A time as a person writes it, as the one moment that is meant: or why it is none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from hostk8s_agent.snapshot.errors import SnapshotAmbiguousError, SnapshotUnknownError

_AGO = re.compile(r"(\d{1,6})\s*(minute|min|m|hour|h|day|d|week|w)s?(?:\s+ago)?", re.IGNORECASE)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
# Not all that ISO 8601 has: 20260131 and 20260131-080000 are the beginnings of ids, and never times.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(_DATE.pattern + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE)


def is_moment(text: str) -> bool:
    """Whether a text has the form of a time or a date, also of one that never was."""
    return any(form.fullmatch(text) for form in (_AGO, _DATE, _TIME))


def parse_moment(text: str, now: datetime) -> datetime | None:
    """Return the moment that `2 hours ago` or an RFC 3339 time means, in UTC; None when it is neither.

    Without an offset it is what the clock on this machine's wall showed. Raises `SnapshotAmbiguousError` for what that
    showed twice, `SnapshotUnknownError` for what it never showed and for what is still to come.
    """
    if match := _AGO.fullmatch(text):
        try:
            return now - int(match[1]) * _UNITS[match[2][0].lower()]
        except OverflowError:
            # Before everything that a calendar has.
            return datetime.min.replace(tzinfo=UTC)
    if not _TIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        found = moment.astimezone(UTC) if moment.tzinfo else _read_clock(moment)
    except (ValueError, OverflowError):
        return None
    if found > now:
        raise SnapshotUnknownError(
            f"{text} is still to come", hint="write a time that has passed, or latest for the newest good snapshot"
        )
    return found


def parse_day(text: str) -> tuple[datetime, datetime] | None:
    """Return when the day that a date means begins and ends on this machine's clock, in UTC; None for no date."""
    if not _DATE.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
        begin, end = (datetime.combine(one, time()).astimezone(UTC) for one in (day, day + timedelta(days=1)))
    except (ValueError, OverflowError):
        return None
    return begin, end


def _read_clock(moment: datetime) -> datetime:
    """Return when this machine's clock showed a time (PEP 495)."""
    first, second = (moment.replace(fold=fold).astimezone() for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if first.replace(tzinfo=None) != moment:
        raise SnapshotUnknownError(
            f"{moment:%Y-%m-%d %H:%M} never was on this machine's clock, which was put forward over it",
            hint=f"write one that was, or one with its offset: {_render(max(first, second))}",
        )
    raise SnapshotAmbiguousError(
        f"{moment:%Y-%m-%d %H:%M} was on this machine's clock twice, when it was put back",
        hint=f"write which of the two is meant: {_render(first)} or {_render(second)}",
    )


def _render(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes" if not moment.second else "seconds")

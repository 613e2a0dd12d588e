"""When a schedule's times are: a pure function of the schedule, the timezone and an instant.

Cron times are those of a clock on a wall, and twice a year that clock jumps. A time that does not exist (02:30 when
summer begins) is taken as much later as the clock jumped; one that comes twice (02:30 when summer ends) is taken once.
A schedule of every hour takes both: it means the hours that pass, not what they are called.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.schedules import CronSchedule, IntervalSchedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, tzinfo

    from hostk8s_agent.contract.schedules import Schedule

_HOURS_OF_A_DAY: Final = 24
# 29 February on a given weekday comes once in 28 years, and across a year such as 2100 once in 40.
_HORIZON_DAYS: Final = 366 * 41


def find_next(schedule: Schedule, zone: tzinfo, after: datetime) -> datetime | None:
    """Return the first time of the schedule later than `after`, in UTC; None when there is none in 40 years."""
    if isinstance(schedule, IntervalSchedule):
        return after.astimezone(UTC) + timedelta(seconds=schedule.seconds)
    # A day earlier: a time that does not exist on one day may be taken on the next.
    day = after.astimezone(zone).date() - timedelta(days=1)
    for _ in range(_HORIZON_DAYS):
        if _fits(schedule, day):
            later = [at for at in _times_of(schedule, day, zone) if at > after]
            if later:
                return min(later)
        day += timedelta(days=1)
    return None


def find_span_seconds(schedule: Schedule, zone: tzinfo, at: datetime) -> float:
    """Return how far the next two times after `at` are apart, in seconds: how often the schedule means."""
    first = find_next(schedule, zone, at)
    second = find_next(schedule, zone, first) if first else None
    return (second - first).total_seconds() if first and second else float(_HORIZON_DAYS * 86400)


def spread_seconds(name: str, limit_seconds: float) -> float:
    """Return how much later than its time a stack's work begins, below the limit: always the same for a name.

    So that stacks with one schedule do not all begin at once, and no restart moves anything.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * limit_seconds


def _fits(schedule: CronSchedule, day: date) -> bool:
    if day.month not in schedule.months:
        return False
    # Python counts weekdays from Monday, cron from Sunday.
    is_day, is_weekday = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
    return is_day or is_weekday if schedule.is_either_day else is_day and is_weekday


def _times_of(schedule: CronSchedule, day: date, zone: tzinfo) -> Iterator[datetime]:
    folds = (0, 1) if len(schedule.hours) == _HOURS_OF_A_DAY else (0,)
    for hour in schedule.hours:
        for minute in schedule.minutes:
            for fold in folds:
                # PEP 495: with fold 0, a time that does not exist has the offset from before the jump.
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
                if fold == 0 or _is_repeated(local):
                    yield local.astimezone(UTC)


def _is_repeated(local: datetime) -> bool:
    first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second

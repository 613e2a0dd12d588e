"""When snapshots are taken: `every 6h`, or five cron fields read as cron(8) reads them.

`CronSchedule` holds the fields worked out, so that whoever computes the next time needs no cron text and no
second opinion of what it means (APScheduler's own differs: its weekday 0 is Monday, and it always ANDs days).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import count_of, quote

OFF: Final = "off"
OFF_PATTERN: Final = "[oO][fF][fF]"
DURATION_PATTERN: Final = "[0-9]{1,6}[mhdw]"
INTERVAL_PATTERN: Final = f"every {DURATION_PATTERN}"
CRON_PATTERN: Final = r"\S+(?:\s+\S+){4}"

_DURATION: Final = re.compile("([0-9]{1,6})([mhdw])")
_INTERVAL: Final = re.compile(r"every\s+(\S+)", re.IGNORECASE)
_UNIT_SECONDS: Final = MappingProxyType({"m": 60, "h": 3600, "d": 86400, "w": 604800})
# More than all minutes, hours and days written one by one; a list of 100,000 numbers would take a second.
_MAX_CHARACTERS: Final = 512
_FORMS: Final = 'write "every 30m", "every 6h", "every 1d", five cron fields such as "0 */6 * * *", or off'
_MACROS: Final = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """A snapshot each time so many seconds have passed."""

    text: str
    seconds: int


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A snapshot whenever the clock shows one of these times.

    All numbers are in rising order and never empty; weekdays count from 0, Sunday, to 6. With
    `is_either_day` a date fits when its day *or* its weekday does (cron: neither field starts with `*`), else
    both must.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    is_either_day: bool


@dataclass(frozen=True, slots=True)
class NoSchedule:
    """`off`: only a person takes snapshots. Not the same as nothing said, which leaves it to the agent's settings."""

    text: str
    is_off: bool = True


Schedule: TypeAlias = IntervalSchedule | CronSchedule
"""When something happens; that nothing does is `NoSchedule`, or None."""


@dataclass(frozen=True, slots=True)
class _Field:
    noun: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


def parse_duration(text: str) -> int:
    """Given `30m`, `6h`, `1d` or `2w`, return the seconds, more than 0; raise `ValueError` for all else."""
    parts = _DURATION.fullmatch(text)
    if parts is None or int(parts[1]) == 0:
        raise ValueError(f"{quote(text)} is not a duration")
    return int(parts[1]) * _UNIT_SECONDS[parts[2]]


def parse_schedule_or_off(text: str) -> Schedule | NoSchedule:
    """Given a schedule as written, or `off`, return what it means. Raise as `parse_schedule` does."""
    return NoSchedule(text) if text.strip().lower() == OFF else parse_schedule(text)


def parse_schedule(text: str) -> Schedule:
    """Given a schedule as written, return it worked out; raise `RuleError` if it is none, or never fires."""
    if len(text) > _MAX_CHARACTERS:
        raise _invalid(text, f"it has more than {count_of(_MAX_CHARACTERS, 'character')}", _FORMS)
    if interval := _INTERVAL.fullmatch(text.strip()):
        try:
            return IntervalSchedule(text, parse_duration(interval[1]))
        except ValueError as error:
            raise _invalid(text, str(error), "write a whole number and m, h, d or w, for instance every 30m") from error
    fields = text.split()
    if len(fields) != len(_FIELDS):
        macro = _MACROS.get(text.strip().lower())
        raise _invalid(text, "it has not five fields", f'write "{macro}"' if macro else _FORMS)
    minutes, hours, days, months, weekdays = (
        _parse_field(text, written, field) for written, field in zip(fields, _FIELDS, strict=True)
    )
    is_either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not is_either_day and all(days[0] > _LONGEST_MONTHS[month - 1] for month in months):
        raise RuleError(
            Code.SCHEDULE_NEVER_FIRES,
            f"the schedule {quote(text)} never fires: no such month has a day {days[0]}",
            hint="choose a day that the month has, or another month",
        )
    weekdays = tuple(sorted({weekday % 7 for weekday in weekdays}))
    return CronSchedule(text, minutes, hours, days, months, weekdays, is_either_day)


def _parse_field(text: str, written: str, field: _Field) -> tuple[int, ...]:
    """Given one field of a schedule, return its numbers in rising order."""
    numbers: set[int] = set()
    for part in written.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if re.fullmatch("[0-9]{1,3}", step_text) else 0
        first, last, is_single = _parse_span(text, span, field)
        if not slash:
            step = 1
        elif is_single:
            raise _invalid(text, f"{quote(part)} has a step but no range", f"write {span}-{field.last}/{step or 1}")
        elif not 1 <= step <= max(1, last - first):
            raise _invalid(
                text,
                f"the step of {quote(part)} does not fit into the range of the {field.noun}",
                f"write a step from 1 to {max(1, last - first)}; for a longer time write, for instance, every 90m",
            )
        numbers.update(range(first, last + 1, step))
    return tuple(sorted(numbers))


def _parse_span(text: str, span: str, field: _Field) -> tuple[int, int, bool]:
    """Given `*`, `5` or `5-9`, return the first number, the last one, and whether it was a single one."""
    if span == "*":
        # Sunday is 0 and 7: a step over the whole week must not count it twice.
        return field.first, 6 if field.names == _WEEKDAYS else field.last, False
    first_text, dash, last_text = span.partition("-")
    first = _parse_number(text, first_text, field)
    if not dash:
        return first, first, True
    last = _parse_number(text, last_text, field)
    if field.names == _WEEKDAYS and last == 0:
        last = 7
    if first > last:
        raise _invalid(text, f"{quote(span)} runs backwards", f"write {last_text}-{first_text}, or two ranges")
    return first, last, False


def _parse_number(text: str, written: str, field: _Field) -> int:
    if written.lower() in field.names:
        return field.names.index(written.lower()) + field.first
    number = int(written) if re.fullmatch("[0-9]{1,3}", written) else -1
    if not field.first <= number <= field.last:
        names = f", or a name ({field.names[0]} to {field.names[-1]})" if field.names else ""
        raise _invalid(
            text,
            f"{quote(written)} is not a {field.noun}",
            f"write a number from {field.first} to {field.last}{names}",
        )
    return number


def _invalid(text: str, why: str, hint: str) -> RuleError:
    return RuleError(Code.SCHEDULE_INVALID, f"the schedule {quote(text)} cannot be read: {why}", hint=hint)

"""Schedules: cron fields worked out, intervals, and what never fires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.schedules import CronSchedule, IntervalSchedule, parse_duration, parse_schedule

EVERY_MINUTE = tuple(range(60))
EVERY_HOUR = tuple(range(24))
EVERY_DAY = tuple(range(1, 32))
EVERY_MONTH = tuple(range(1, 13))
EVERY_WEEKDAY = tuple(range(7))


def cron(text: str) -> CronSchedule:
    """Return a schedule that must be a cron schedule."""
    schedule = parse_schedule(text)
    assert isinstance(schedule, CronSchedule)
    return schedule


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("every 30m", 1800), ("every 6h", 21600), ("every 1d", 86400), ("Every  2w", 1209600), (" every 1m ", 60)],
)
def test_an_interval_is_seconds(text: str, seconds: int) -> None:
    """And keeps its words."""
    assert IntervalSchedule(text, seconds) == parse_schedule(text)


def test_the_example_of_the_design_is_every_six_hours() -> None:
    """A star with a step, and stars."""
    expected = CronSchedule(
        "0 */6 * * *", (0,), (0, 6, 12, 18), EVERY_DAY, EVERY_MONTH, EVERY_WEEKDAY, is_either_day=False
    )

    assert expected == parse_schedule("0 */6 * * *")


def test_lists_ranges_steps_and_names_are_worked_out() -> None:
    """Each in its field."""
    schedule = cron("1,5-9/2,7 0-23/12 1 jan,Mar-may mon-FRI")

    assert schedule.minutes == (1, 5, 7, 9)
    assert schedule.hours == (0, 12)
    assert schedule.months == (1, 3, 4, 5)
    assert schedule.weekdays == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("weekdays", "expected"),
    [
        ("0", (0,)),
        ("7", (0,)),
        ("sun", (0,)),
        ("5-7", (0, 5, 6)),
        ("fri-sun", (0, 5, 6)),
        ("*", EVERY_WEEKDAY),
        ("*/2", (0, 2, 4, 6)),
        ("0-7", EVERY_WEEKDAY),
        ("5-5/1", (5,)),
    ],
)
def test_sunday_is_zero_and_seven(weekdays: str, expected: tuple[int, ...]) -> None:
    """As in cron; not as in APScheduler."""
    assert expected == cron(f"0 0 * * {weekdays}").weekdays


@pytest.mark.parametrize(
    ("text", "expected"), [("0 0 13 * 5", True), ("0 0 13 * *", False), ("0 0 * * 5", False), ("0 0 */2 * 5", False)]
)
def test_day_and_weekday_are_alternatives_if_neither_is_a_star(text: str, *, expected: bool) -> None:
    """The rule of cron(8) that everyone forgets."""
    assert expected is cron(text).is_either_day


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "*/60 * * * *",
        "5/10 * * * *",
        "9-5 * * * *",
        "a * * * *",
        "1,, * * * *",
        "-1 * * * *",
        "\u0663 * * * *",
        "1/x * * * *",
        "@daily",
        "every",
        "every 0m",
        "every 5",
        "every 5s",
        "every 1h 30m",
        "every -1h",
        "1," * 300 + "1 * * * *",
    ],
)
def test_what_is_no_schedule_is_refused_with_a_hint(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(RuleError) as raised:
        parse_schedule(text)

    assert raised.value.code is Code.SCHEDULE_INVALID
    assert raised.value.hint


def test_a_macro_is_told_its_five_fields() -> None:
    """The hint can be pasted."""
    with pytest.raises(RuleError) as raised:
        parse_schedule("@Weekly")

    assert raised.value.hint == 'write "0 0 * * 0"'


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30,31 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 2 */2"])
def test_days_that_no_month_has_are_refused(text: str) -> None:
    """APScheduler takes such a schedule, and never fires."""
    with pytest.raises(RuleError) as raised:
        parse_schedule(text)

    assert raised.value.code is Code.SCHEDULE_NEVER_FIRES


@given(
    days=st.sets(st.integers(28, 31), min_size=1),
    months=st.sets(st.integers(1, 12), min_size=1),
    weekday=st.sampled_from(["*", "3"]),
)
def test_a_schedule_is_refused_exactly_if_no_date_of_28_years_fits(
    days: set[int], months: set[int], weekday: str
) -> None:
    """Compared with a calendar, day by day: 28 years hold every weekday of every date."""
    text = f"0 0 {','.join(map(str, sorted(days)))} {','.join(map(str, sorted(months)))} {weekday}"
    dates = (datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(28 * 366))
    fires = any(
        date.month in months and (date.day in days or (weekday == "3" and date.isoweekday() == 3)) for date in dates
    )

    if fires:
        parse_schedule(text)
    else:
        with pytest.raises(RuleError) as raised:
            parse_schedule(text)
        assert raised.value.code is Code.SCHEDULE_NEVER_FIRES


def test_a_duration_is_a_number_and_a_unit() -> None:
    """And nothing else."""
    assert parse_duration("14d") == 1209600
    for text in ("", "14", "d", "0d", "1.5h", "1h30m", "1000000m"):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(text)

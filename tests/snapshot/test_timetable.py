"""When schedules fire: cron's days, and the two nights in which a wall clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hostk8s_agent.contract.schedules import parse_schedule
from hostk8s_agent.snapshot.timetable import find_next, find_span_seconds, spread_seconds

BERLIN = ZoneInfo("Europe/Berlin")


def times(text: str, zone: ZoneInfo, after: datetime, count: int) -> list[str]:
    """The next times of a schedule, in UTC."""
    found = []
    for _ in range(count):
        following = find_next(parse_schedule(text), zone, after)
        assert following is not None
        found.append(f"{following:%Y-%m-%d %H:%M}")
        after = following
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 * * 0", ["2026-03-01 00:00", "2026-03-08 00:00"]),  # Sunday
        ("0 0 * * mon", ["2026-03-02 00:00", "2026-03-09 00:00"]),
        ("0 0 2 * 0", ["2026-03-01 00:00", "2026-03-02 00:00"]),  # either day
        ("0 0 */2 * 1", ["2026-03-09 00:00", "2026-03-23 00:00"]),  # both
        ("30 6 31 * *", ["2026-03-31 06:30", "2026-05-31 06:30"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("*/30 8-9 * 3 *", ["2026-03-01 08:00", "2026-03-01 08:30", "2026-03-01 09:00"]),
        ("every 90m", ["2026-02-28 14:00", "2026-02-28 15:30"]),
    ],
)
def test_times_are_those_of_cron(text: str, expected: list[str]) -> None:
    """From Saturday, 28 February 2026, 12:30 on."""
    after = datetime(2026, 2, 28, 12, 30, tzinfo=UTC)

    assert times(text, ZoneInfo("UTC"), after, len(expected)) == expected


def test_a_time_that_summer_skips_is_taken_an_hour_later() -> None:
    """On 29 March 2026 the clock in Berlin goes from 02:00 to 03:00."""
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)

    expected = ["2026-03-29 01:30", "2026-03-30 00:30", "2026-03-31 00:30"]
    assert times("30 2 * * *", BERLIN, after, 3) == expected


def test_a_time_that_winter_repeats_is_taken_once() -> None:
    """On 25 October 2026 the clock in Berlin goes from 03:00 to 02:00."""
    after = datetime(2026, 10, 24, 12, tzinfo=UTC)

    assert times("30 2 * * *", BERLIN, after, 2) == ["2026-10-25 00:30", "2026-10-26 01:30"]


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)])
def test_every_hour_means_every_hour_that_passes(night: datetime) -> None:
    """Whatever the clock on the wall does."""
    expected = [f"{night + timedelta(hours=hour):%Y-%m-%d %H:%M}" for hour in range(1, 10)]

    assert times("0 * * * *", BERLIN, night, 9) == expected


def test_no_work_is_moved_by_as_much_as_the_limit() -> None:
    """And each stack always by the same."""
    moved = {name: spread_seconds(name, 60) for name in ("a", "b", "foundation/airflow")}

    assert all(0 <= seconds < 60 for seconds in moved.values())
    assert len(set(moved.values())) == 3
    assert moved == {name: spread_seconds(name, 60) for name in moved}


def test_the_span_of_a_schedule_is_the_time_between_two() -> None:
    """In seconds."""
    at = datetime(2026, 2, 28, 12, 30, tzinfo=UTC)

    assert find_span_seconds(parse_schedule("every 30m"), UTC, at) == 1800
    assert find_span_seconds(parse_schedule("0 */6 * * *"), UTC, at) == 6 * 3600

"""The rows themselves: what counts as a failure, and what n trials without one are allowed to say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reliability import Fault, Length, Row
from reliability_page import render_bound, render_page

ROOT = Path(__file__).parents[2]
FAULT = Fault("X1", "a fault", "it holds", "0 of 4", short=2, full=4, soak=6)


def try_odd_numbers_in_vain(row: Row) -> None:
    """Trials of which every other one fails."""
    for trial in row.trials():
        with trial as number:
            if number % 2:
                raise AssertionError("an odd number")


@pytest.mark.parametrize(("length", "count"), [("short", 2), ("full", 4), ("soak", 6)])
def test_a_run_makes_as_many_trials_as_the_row_names(length: Length, count: int) -> None:
    """What `make test` tries twice, `make faults` tries at its full length."""
    row = Row(FAULT, length)
    for trial in row.trials():
        with trial:
            pass
    assert (row.tried, row.failures) == (count, [])


def test_a_thorough_run_counts_its_failures_and_fails_at_the_end() -> None:
    """One failure must not hide the rate of the others, and must not be lost either."""
    row = Row(FAULT, "full")
    with pytest.raises(AssertionError, match="2 of 4 failed: trial 1"):
        try_odd_numbers_in_vain(row)
    assert row.render_record("2025-01-31")["failures"] == 2


def test_a_short_run_ends_with_the_first_failure() -> None:
    """In `make test` the traceback of the failure itself is worth more than a count."""
    row = Row(FAULT, "short")
    with pytest.raises(AssertionError, match="an odd number"):
        try_odd_numbers_in_vain(row)
    assert row.failures == ["trial 1: AssertionError: an odd number"]


def test_a_figure_says_whether_it_keeps_its_limit_and_fails_nothing() -> None:
    """The machine may be slow: a table is for people to judge."""
    row = Row(FAULT, "full")
    for seconds in (1.0, 2.0, 9.0):
        row.measure("back after", seconds, "s", limit=5)
        row.measure("attempts", 2, limit=4, statistic="max")
    row.note("by a signal")
    row.note("by a signal")
    assert row.render_figures() == [
        "back after p95 9 s (p50 2 s, MISSES the limit 5 s)",
        "attempts max 2 (p50 2, limit 4)",
        "by a signal",
    ]


def test_no_failure_is_a_bound_and_never_a_promise() -> None:
    """Zero failures in n trials bound the rate at 3/n."""
    assert [render_bound(n, k) for n, k in ((0, 0), (1, 0), (200, 0), (1000, 0), (200, 2))] == [
        "nothing was tried",
        "< 100 %",
        "< 1.5 %",
        "< 0.3 %",
        "2 of 200",
    ]


def test_the_page_tells_failures_in_words() -> None:
    """A number of failures alone helps nobody to mend them."""
    record = {**Row(FAULT, "soak").render_record("2025-01-31"), "n": 6, "failures": 1, "failed": ["trial 3: a | b"]}
    page = render_page([record], [("cores", "2")])
    assert "| X1 | a fault | it holds | 6 | 1 | 1 of 6 |  | 0 of 4 | 2025-01-31, 0 s (soak) |" in page
    assert "- X1: trial 3: a | b" in page


def test_every_row_of_the_page_is_a_test() -> None:
    """A row that nobody can measure again is no figure."""
    page = ROOT / "docs/reliability.md"
    recorded = re.findall(r"^\| ([A-Z]+\d+\S*) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [one for one in recorded if not re.search(rf'fault\(\s*"{one}"', sources)] == []

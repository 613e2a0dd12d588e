"""Which snapshot a person means by a word or a time, on a clock that is put back and forward."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hostk8s_agent.snapshot.errors import SnapshotAmbiguousError, SnapshotUnknownError
from hostk8s_agent.snapshot.model import Marks, SnapshotManifest, SnapshotState
from hostk8s_agent.snapshot.selecting import select_snapshot, split_reference

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Berlin: its clock was put back at 01:00 UTC on 2026-10-25, and forward on 2026-03-29."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def taken(at: str, digits: str = "00000000", stack: str = "sample", **marks: object) -> SnapshotManifest:
    """A good snapshot that was taken at a time in UTC."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    kept = replace(Marks(SnapshotState.GOOD), **marks)  # type: ignore[arg-type]
    return SnapshotManifest(f"{moment:%Y%m%d-%H%M%S}-{digits}", stack, moment, (), "", "", marks=kept)


SUMMER = taken("2026-10-25T00:10")
WINTER = taken("2026-10-25T01:10")
NIGHT = [SUMMER, WINTER]


def select(snapshots: list[SnapshotManifest], which: str) -> str:
    """The id of the one that is meant."""
    return select_snapshot(snapshots, which, NOW).id


def test_a_time_that_was_on_the_clock_twice_is_refused_with_both_that_it_may_be() -> None:
    """02:30 in summer time, and an hour later in winter time; each of the two is taken as the hint writes it."""
    with pytest.raises(SnapshotAmbiguousError) as raised:
        select(NIGHT, "2026-10-25 02:30")
    assert raised.value.message == "2026-10-25 02:30 was on this machine's clock twice, when it was put back"
    assert raised.value.hint == "write which of the two is meant: 2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00"
    assert select(NIGHT, "2026-10-25T02:30+02:00") == SUMMER.id
    assert select(NIGHT, "2026-10-25T02:30+01:00") == WINTER.id


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        ("2026-10-25 03:00", WINTER),
        ("2026-10-25 03:00:00.5", WINTER),
        ("2026-10-25T02:10:00+02:00", SUMMER),
        ("2026-10-25t00:30z", SUMMER),
        (" 2026-10-25T00:30:00Z ", SUMMER),
        ("2026-10-25T01:10Z", WINTER),
        ("31d", WINTER),
        ("31 days ago", WINTER),
    ],
)
def test_a_time_means_the_newest_that_was_not_taken_after_it(which: str, meant: SnapshotManifest) -> None:
    """Without an offset it is the clock's on this machine's wall."""
    assert select(NIGHT, which) == meant.id


def test_a_time_that_never_was_on_the_clock_is_refused() -> None:
    """It was put forward over it; what a clock would have shown that was not is in the hint."""
    with pytest.raises(SnapshotUnknownError, match="never was on this machine's clock") as raised:
        select([taken("2026-03-28T12:00")], "2026-03-29 02:30")
    assert raised.value.hint == "write one that was, or one with its offset: 2026-03-29T03:30+02:00"
    assert select([taken("2026-03-28T12:00")], "2026-03-29 03:00") == "20260328-120000-00000000"


@pytest.mark.parametrize("which", ["2026-10-25T02:10+02:00", "2026-10-24T00:00", "3 months", "5w", "999999 weeks ago"])
def test_a_time_before_the_first_one_is_an_error_that_names_it(which: str) -> None:
    """Also one before all that a calendar has; what is no time is an unknown word."""
    first = replace(SUMMER, taken_at=SUMMER.taken_at.replace(microsecond=1000))
    words = "there is no snapshot '3 months'" if "months" in which else f"from before '.*; the first is {first.id}"
    with pytest.raises(SnapshotUnknownError, match=words.replace("+", "[+]")):
        select([first, WINTER], which)


@pytest.mark.parametrize("which", ["2026-11-25T12:00:01Z", "2030-01-01 00:00", "9999-12-31T23:59Z"])
def test_a_time_that_is_still_to_come_is_an_error(which: str) -> None:
    """It would mean the newest, and is a slip of the pen more likely than that."""
    with pytest.raises(SnapshotUnknownError, match="still to come"):
        select(NIGHT, which)


def test_a_date_alone_means_the_only_one_of_that_day_and_no_other() -> None:
    """The day of this machine: it began at 22:00 UTC the day before, and had 25 hours."""
    late, early = taken("2026-10-24T21:59"), taken("2026-10-24T22:00")
    last, next_day = taken("2026-10-25T22:59"), taken("2026-10-25T23:00")
    assert select([late, early, next_day], "2026-10-25") == early.id
    assert select([late, last, next_day], "2026-10-25") == last.id
    damaged = replace(early, marks=Marks(SnapshotState.DAMAGED))
    assert select([damaged, last], "2026-10-25") == last.id
    with pytest.raises(SnapshotAmbiguousError, match=f"2 snapshots: {early.id}, {last.id}"):
        select([late, early, last], "2026-10-25")
    with pytest.raises(SnapshotUnknownError, match="no snapshot was taken on 2026-10-25"):
        select([late, next_day], "2026-10-25")


def test_two_that_were_taken_at_the_same_moment_are_ambiguous() -> None:
    """A time cannot tell them apart; one that is damaged is none."""
    twins = [taken("2026-10-20T00:00", digits) for digits in ("aaaaaaaa", "bbbbbbbb")]
    with pytest.raises(SnapshotAmbiguousError, match="2 snapshots: 20261020-000000-aaaaaaaa, 20261020-000000-bbbbbbbb"):
        select(twins, "2026-10-21T00:00")
    assert select([twins[0], replace(twins[1], marks=Marks(SnapshotState.DAMAGED))], "4w") == twins[0].id
    assert select([*twins, SUMMER], "2026-10-26T00:00") == SUMMER.id


@pytest.mark.parametrize(
    "which",
    ["20261026", "20261025-031000", "20261025-011000-12", "2026-W44", "2026-10-26T25:00", "2026-13-01", "0000-00-00"],
)
def test_the_beginning_of_an_id_that_is_not_there_is_never_a_time(which: str) -> None:
    """ISO 8601 would take most of these for one, and another snapshot than was meant would be restored."""
    with pytest.raises(SnapshotUnknownError, match=f"there is no snapshot '{which}'"):
        select(NIGHT, which)


@pytest.mark.parametrize("which", ["", " ", "\t"])
def test_no_word_means_no_snapshot_also_where_there_is_only_one(which: str) -> None:
    """`forget "$ID" --yes` with a variable that is not set removes nothing."""
    with pytest.raises(SnapshotUnknownError, match="no snapshot is named"):
        select([SUMMER], which)
    assert split_reference(f"sample@{which}") == ("sample", "")
    assert split_reference("sample") == ("sample", "latest")


def test_a_stack_without_any_is_named() -> None:
    """Rather than that no good one is there."""
    with pytest.raises(SnapshotUnknownError, match="there is no snapshot of simple"):
        select_snapshot(NIGHT, "latest", NOW, "simple")
    with pytest.raises(SnapshotUnknownError, match="there is no snapshot yet"):
        select_snapshot([], "latest", NOW)

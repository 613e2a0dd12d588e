"""Which snapshots expire: golden files for people, a second and simpler program as the oracle, and random sequences."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hostk8s_agent.contract.model import KeepPolicy
from hostk8s_agent.snapshot.model import (
    EVENT_TAGS,
    TAG_BEFORE_RESTORE,
    ArchiveReference,
    DirectoryManifest,
    Marks,
    SnapshotManifest,
    SnapshotState,
)
from hostk8s_agent.snapshot.retention import EVENT_DAYS, Verdict, judge_snapshots, list_expired
from hostk8s_agent.snapshot.shrinking import find_shrinkage
from reliability import Row

GOLDEN = Path(__file__).parent / "retention"
NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
SLACK = timedelta(minutes=5)
BERLIN = ZoneInfo("Europe/Berlin")


def snapshot(
    taken_at: datetime,
    *,
    state: SnapshotState = SnapshotState.GOOD,
    tags: tuple[str, ...] = (),
    pinned: bool = False,
    verified_at: datetime | None = None,
    holds: tuple[tuple[str, int, int], ...] = (),
) -> SnapshotManifest:
    """A snapshot, verified at once when it is good; `holds` is name, bytes and files of each directory."""
    directories = tuple(
        DirectoryManifest(
            name=name,
            path=f"/mnt/pv/{name}",
            declared_owner="1:1",
            declared_mode=0o755,
            observed_owner="1:1",
            observed_mode=0o755,
            archive=ArchiveReference("0" * 64, "0" * 64, byte_count),
            entries=files + 1,
            files=files,
            byte_count=byte_count,
        )
        for name, byte_count, files in holds
    )
    is_verified = state in (SnapshotState.GOOD, SnapshotState.SUSPECT)
    return SnapshotManifest(
        id=f"{taken_at:%Y%m%d-%H%M%S}",
        stack="sample",
        taken_at=taken_at,
        directories=directories,
        contract_text="",
        contract_digest="",
        tags=tags,
        marks=Marks(state, pinned, verified_at or (taken_at if is_verified else None)),
    )


def every_hour(hours: int) -> list[SnapshotManifest]:
    """One good snapshot at each full hour before now."""
    return [snapshot(NOW - timedelta(hours=hour)) for hour in range(hours)]


def render(verdicts: tuple[Verdict, ...]) -> str:
    """What `snapshot expire --dry-run` says, one line a snapshot."""
    return "".join(
        f"{one.snapshot.id} {'keep: ' + ', '.join(one.reasons) if one.is_kept else 'expire'}\n" for one in verdicts
    )


SAMPLES = {
    "last": (every_hour(8), KeepPolicy(last=3)),
    "hourly-and-daily": (every_hour(50), KeepPolicy(hourly=4, daily=3)),
    "weekly-across-the-year": (
        [snapshot(datetime(2026, 1, 8, 12, tzinfo=UTC) - timedelta(days=day)) for day in range(30)],
        KeepPolicy(weekly=3, yearly=2),
    ),
    "monthly-with-numbers-left-keeps-the-oldest": (
        [snapshot(NOW - timedelta(days=day)) for day in range(0, 80, 5)],
        KeepPolicy(monthly=12),
    ),
    "within": (every_hour(10), KeepPolicy(within_seconds=3 * 3600)),
    "tags": (
        [snapshot(NOW - timedelta(hours=hour), tags=("v1", "b") if hour % 3 else ("v1",)) for hour in range(6)],
        KeepPolicy(tags=("b,v1", "other")),
    ),
    "what-is-not-good-does-not-count": (
        [
            snapshot(NOW, state=SnapshotState.UNVERIFIED),
            snapshot(NOW - timedelta(hours=1), state=SnapshotState.DAMAGED),
            *every_hour(6)[2:],
            snapshot(NOW + timedelta(days=300)),
            snapshot(NOW - timedelta(hours=9), pinned=True),
        ],
        KeepPolicy(last=2),
    ),
    "suspect-holds-everything": (
        [snapshot(NOW, state=SnapshotState.SUSPECT), *every_hour(5)[1:]],
        KeepPolicy(last=1),
    ),
    "before-a-restore": (
        [
            snapshot(NOW, tags=(TAG_BEFORE_RESTORE,)),
            *every_hour(5)[1:],
            snapshot(NOW - timedelta(days=EVENT_DAYS), tags=(TAG_BEFORE_RESTORE,)),
        ],
        KeepPolicy(last=1),
    ),
    "verified-last": (
        [*every_hour(4), snapshot(NOW - timedelta(hours=5), verified_at=NOW), snapshot(NOW - timedelta(hours=6))],
        KeepPolicy(last=1),
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_verdicts_are_those_of_the_golden_file(name: str) -> None:
    """Each line can be checked by a person: what stays says why."""
    snapshots, policy = SAMPLES[name]

    assert (GOLDEN / f"{name}.txt").read_text(encoding="utf-8") == render(judge_snapshots(snapshots, policy, NOW, UTC))


def test_a_day_begins_where_the_timezone_says() -> None:
    """23:30 in London is the next day in Berlin."""
    late, next_day = (snapshot(datetime(2026, 1, day, hour, 30, tzinfo=UTC)) for day, hour in ((1, 23), (2, 8)))
    policy = KeepPolicy(daily=1)

    assert list_expired(judge_snapshots([late, next_day], policy, NOW, BERLIN)) == (late,)
    two = KeepPolicy(daily=2)
    verdicts = judge_snapshots([late, next_day, snapshot(datetime(2025, 12, 1, tzinfo=UTC))], two, NOW, UTC)
    assert [one.is_kept for one in verdicts] == [True, True, False]


def test_an_agent_that_was_off_for_years_lets_nothing_within_expire() -> None:
    """`within` counts back from the newest snapshot."""
    policy = KeepPolicy(within_seconds=10 * 3600)

    assert not list_expired(judge_snapshots(every_hour(5), policy, NOW + timedelta(days=2000), UTC))


def test_the_oldest_expires_first() -> None:
    """A run that is cut short has removed what is missed least."""
    expired = list_expired(judge_snapshots(every_hour(6), KeepPolicy(last=2), NOW, UTC))

    assert [one.taken_at for one in expired] == sorted(one.taken_at for one in expired)
    assert len(expired) == 4


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((("a", 1000, 10),), (("a", 100, 10),), "a shrank, 1000 → 100 bytes"),
        ((("a", 1000, 10),), (("a", 1000, 1),), "a shrank, 10 → 1 files"),
        ((("a", 1000, 10),), (("a", 0, 0),), "a shrank, 1000 → 0 bytes, 10 → 0 files"),
        ((("a", 1000, 10),), (("a", 101, 2),), ""),
        ((("a", 0, 0),), (("a", 0, 0),), ""),
        ((("a", 10, 10), ("big", 10**9, 9)), (("a", 0, 0), ("big", 10**9, 9)), "a shrank, 10 → 0 bytes, 10 → 0 files"),
        ((("a", 1000, 10),), (("b", 0, 0),), ""),
    ],
)
def test_a_directory_that_lost_nearly_all_is_told(
    before: tuple[tuple[str, int, int], ...], after: tuple[tuple[str, int, int], ...], words: str
) -> None:
    """Each directory by itself: a large one hides nothing (fault row I9)."""
    former = snapshot(NOW - timedelta(hours=1), holds=before)
    # Neither a suspect one nor a later one is what it is compared with.
    others = [
        snapshot(NOW - timedelta(minutes=1), state=SnapshotState.SUSPECT, holds=after),
        snapshot(NOW + timedelta(minutes=1), holds=after),
    ]

    found = find_shrinkage(snapshot(NOW, holds=after), [former, *others])

    assert found == (f"since {former.id}: {words}" if words else "")


def is_good(one: SnapshotManifest) -> bool:
    """Whether it was read back whole, and is not dated in the future."""
    return one.state is SnapshotState.GOOD and one.taken_at <= NOW + SLACK


def brute_force(snapshots: list[SnapshotManifest], policy: KeepPolicy, now: datetime) -> set[str]:
    """The IDs that stay, worked out from the words of docs/snapshots.md with sets and no counting down."""
    good = [one for one in snapshots if one.state is SnapshotState.GOOD]
    events = {one.id for one in snapshots if EVENT_TAGS & set(one.tags)}
    suspect = {one.id for one in snapshots if one.state is SnapshotState.SUSPECT}
    kept = {one.id for one in snapshots if one.is_pinned or one.state is not SnapshotState.GOOD}
    kept -= {one.id for one in snapshots if one.id in suspect & events and not one.is_pinned}
    kept |= {one.id for one in snapshots if one.taken_at > now + SLACK}
    kept |= {one.id for one in snapshots if one.id in events and one.taken_at > now - timedelta(days=EVENT_DAYS)}
    if suspect - events:
        return {one.id for one in snapshots}
    good = [one for one in good if one.taken_at <= now + SLACK]
    newest_first = sorted(good, key=lambda one: (one.taken_at, one.id), reverse=True)
    kept |= {one.id for one in newest_first[:1]}
    kept |= {one.id for one in [each for each in newest_first if each.id not in events][:1]}
    kept |= {one.id for one in sorted(newest_first, key=lambda one: one.verified_at or NOW, reverse=True)[:1]}
    for one in newest_first:
        if any(all(tag in one.tags for tag in tags.split(",")) for tags in policy.tags):
            kept.add(one.id)
        if (newest_first[0].taken_at - one.taken_at).total_seconds() < policy.within_seconds:
            kept.add(one.id)
    counted = [one for one in newest_first if one.id not in events]
    formats = (
        (policy.hourly, "%Y-%m-%d %H"),
        (policy.daily, "%Y-%m-%d"),
        (policy.weekly, "%G-%V"),
        (policy.monthly, "%Y-%m"),
        (policy.yearly, "%Y"),
    )
    kept |= {one.id for one in counted[: policy.last]}
    if len(counted) < policy.last:
        kept |= {one.id for one in counted[-1:]}
    for number, form in formats:
        spans: dict[str, str] = {}
        for one in counted:
            spans.setdefault(one.taken_at.astimezone(BERLIN).strftime(form), one.id)
        kept |= set(list(spans.values())[:number])
        if number > len(spans):
            kept |= {one.id for one in counted[-1:]}
    return kept


def draw(source: random.Random) -> tuple[list[SnapshotManifest], KeepPolicy]:
    """A random history and policy: crowded and sparse ones, with clocks that jumped."""
    spread = source.choice([3600, 86400, 86400 * 30, 86400 * 900])
    times = {NOW - timedelta(seconds=source.randint(-spread // 20, spread)) for _ in range(source.randint(0, 40))}
    health = source.choice([[90, 5, 0, 5], [70, 15, 1, 14], [100, 0, 0, 0], [10, 40, 0, 50]])
    states = (SnapshotState.GOOD, SnapshotState.UNVERIFIED, SnapshotState.SUSPECT, SnapshotState.DAMAGED)
    snapshots = [
        snapshot(
            at,
            state=source.choices(states, health)[0],
            pinned=source.random() < 0.05,
            tags=tuple(tag for tag in ("a", "b", TAG_BEFORE_RESTORE) if source.random() < 0.15),
            verified_at=at + timedelta(seconds=source.randint(0, spread)),
        )
        for at in sorted(times)
    ]
    source.shuffle(snapshots)
    last, hourly, daily, weekly, monthly, yearly = (source.choice([0, 0, 1, 2, 5, 30]) for _ in range(6))
    tags = source.choice([(), ("a",), ("a,b", "c")])
    within_seconds = source.choice([0, 600, 86400])
    return snapshots, KeepPolicy(last, hourly, daily, weekly, monthly, yearly, within_seconds, tags)


@pytest.mark.fault(
    "I8",
    "random retention sequences against a brute-force model",
    holds="the newest good, the pinned, the only verified one never expire",
    target="0 of 10,000",
    short=300,
    full=10_000,
)
def test_retention_agrees_with_a_model_that_is_too_simple_to_be_wrong(row: Row) -> None:
    """And the newest good, the pinned and the only verified one are among what stays."""
    source = random.Random(8)
    for trial in row.trials():
        with trial:
            snapshots, policy = draw(source)
            verdicts = judge_snapshots(snapshots, policy, NOW, BERLIN)
            assert {one.snapshot.id for one in verdicts if one.is_kept} == brute_force(snapshots, policy, NOW)
            assert {one.snapshot.id for one in verdicts} == {one.id for one in snapshots}
            expired = {one.id for one in list_expired(verdicts)}
            good = [one for one in snapshots if is_good(one)]
            assert not expired & {one.id for one in snapshots if one.is_pinned}
            assert not good or max(good, key=lambda one: one.taken_at).id not in expired
            assert not good or expired != {one.id for one in good}

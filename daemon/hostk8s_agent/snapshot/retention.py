"""Which snapshots of a stack stay, and why: a pure function of the snapshots, the policy and the instant.

The numbers mean what they mean to restic (internal/data/snapshot_policy.go): snapshots are looked at from the newest to
the oldest, each kind keeps the newest one of each of its spans, and a kind that has numbers left keeps the oldest one
too, so that the history is as long as it can be. `within` counts back from the newest snapshot and not from now: an
agent that was off for a month must not wake up and let everything expire.

What is ours, because a snapshot that cannot be restored is worse than none:

- only a good snapshot, one that was read back whole, counts toward a number, and but for wrecks (below) only a good
  one ever expires;
- the newest good one, the one verified last and the pinned ones never expire;
- while one is suspect, none of its stack's expires: it may be the first of an emptied directory;
- one that was taken before something dangerous holds nothing when it is suspect: a wreck is what a restore replaces,
  and whoever restores has looked; it goes after `EVENT_DAYS` like the others of its kind;
- a snapshot that was taken before something dangerous counts toward no number, so that it pushes out no other; it stays
  for `EVENT_DAYS`;
- one that is dated in the future counts for nothing and stays, because a wrong clock made it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.model import SnapshotState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, tzinfo

    from hostk8s_agent.contract.model import KeepPolicy
    from hostk8s_agent.snapshot.model import SnapshotManifest

EVENT_DAYS: Final = 30
"""How long a snapshot stays that was taken before a restore, a purge or a prune."""

# Two clocks of one machine may differ by this much (a virtual machine that wakes up), and nobody is to blame.
_CLOCK_SLACK: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one snapshot: `reasons` says why it stays, in words, and is empty when it expires."""

    snapshot: SnapshotManifest
    reasons: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether it stays."""
        return bool(self.reasons)


@dataclass(slots=True)
class _Kind:
    """One number of the policy: `left` of it is left, `span_of` names the span that a local time lies in."""

    reason: str
    left: int
    span_of: Callable[[datetime, int], object]
    last: object = field(default=None, init=False)

    def keeps(self, taken_at: datetime, index: int, *, is_oldest: bool) -> bool:
        """Whether the next one in the order from the newest on is kept; counts it."""
        if not self.left:
            return False
        span = self.span_of(taken_at, index)
        if span == self.last and not is_oldest:
            return False
        self.last = span
        self.left -= 1
        return True


def judge_snapshots(
    snapshots: Iterable[SnapshotManifest], policy: KeepPolicy, now: datetime, zone: tzinfo
) -> tuple[Verdict, ...]:
    """Given all snapshots of one stack, return what becomes of each, the newest first.

    `zone` is where a day begins and ends. At least one snapshot is kept if there is a good one.
    """
    ordered = sorted(snapshots, key=attrgetter("taken_at", "id"), reverse=True)
    reasons: dict[str, list[str]] = {one.id: _reasons_by_itself(one, now) for one in ordered}
    good = [one for one in ordered if one.state is SnapshotState.GOOD and not _is_future(one, now)]
    for name, shielded in _find_shielded(good).items():
        reasons[shielded.id].append(name)
    _add_rules(good, policy, reasons)
    _add_numbers([one for one in good if not one.is_event], policy, zone, reasons)
    suspect = find_suspect(ordered)
    if suspect is not None:
        for one in ordered:
            if not reasons[one.id]:
                reasons[one.id].append(f"nothing expires while {suspect.id} is suspect")
    return tuple(Verdict(one, tuple(reasons[one.id])) for one in ordered)


def list_expired(verdicts: Iterable[Verdict]) -> tuple[SnapshotManifest, ...]:
    """Return those that expire, the oldest first: an interrupted run has removed what is missed least."""
    return tuple(one.snapshot for one in reversed(tuple(verdicts)) if not one.is_kept)


def find_suspect(ordered: Iterable[SnapshotManifest]) -> SnapshotManifest | None:
    """Return the first of a stack's snapshots that holds expiry until a person has looked, None when none does."""
    return next((one for one in ordered if one.state is SnapshotState.SUSPECT and not one.is_event), None)


def _is_future(snapshot: SnapshotManifest, now: datetime) -> bool:
    return snapshot.taken_at > now + _CLOCK_SLACK


def _reasons_by_itself(snapshot: SnapshotManifest, now: datetime) -> list[str]:
    """Return why it stays whatever the others and the policy are."""
    reasons = []
    if snapshot.is_pinned:
        reasons.append("pinned")
    if snapshot.state is SnapshotState.UNVERIFIED:
        reasons.append("not verified yet")
    elif snapshot.state is SnapshotState.SUSPECT and not snapshot.is_event:
        reasons.append("suspect: accept or forget it")
    elif snapshot.state is SnapshotState.DAMAGED:
        reasons.append("damaged: forget it when nothing of it is needed")
    if _is_future(snapshot, now):
        reasons.append("dated in the future")
    elif snapshot.is_event and now - snapshot.taken_at < timedelta(days=EVENT_DAYS):
        reasons.append(f"taken before something dangerous, less than {EVENT_DAYS} days ago")
    return reasons


def _find_shielded(good: Sequence[SnapshotManifest]) -> dict[str, SnapshotManifest]:
    """Return the snapshots that no policy lets expire, by the reason; `good` has the newest first."""
    shielded = {}
    if good:
        shielded["the newest good one"] = good[0]
    # What was taken before a restore may be the wreck itself.
    regular = next((one for one in good if not one.is_event), None)
    if regular is not None and regular is not good[0]:
        shielded["the newest good one of the schedule"] = regular
    verified = [(one.verified_at, one) for one in good if one.verified_at is not None]
    if verified:
        latest = max(at for at, _ in verified)
        shielded["the one verified last"] = next(one for at, one in verified if at == latest)
    return shielded


def _add_rules(good: Sequence[SnapshotManifest], policy: KeepPolicy, reasons: dict[str, list[str]]) -> None:
    """Add what tags and age keep; `good` has the newest first."""
    for one in good:
        mine = reasons[one.id]
        mine.extend(f"has the tag {tags}" for tags in policy.tags if set(tags.split(",")) <= set(one.tags))
        begin = good[0].taken_at - timedelta(seconds=policy.within_seconds)
        if policy.within_seconds and one.taken_at > begin:
            mine.append(f"within {describe_seconds(policy.within_seconds)} of the newest")


def _add_numbers(
    counted: Sequence[SnapshotManifest], policy: KeepPolicy, zone: tzinfo, reasons: dict[str, list[str]]
) -> None:
    """Add what the numbers keep; `counted` has the newest first."""
    kinds = _list_kinds(policy)
    for index, one in enumerate(counted):
        local = one.taken_at.astimezone(zone)
        is_oldest = index == len(counted) - 1
        # All kinds are asked, whatever keeps it already: each counts for itself.
        reasons[one.id].extend([kind.reason for kind in kinds if kind.keeps(local, index, is_oldest=is_oldest)])


def _list_kinds(policy: KeepPolicy) -> tuple[_Kind, ...]:
    return (
        _Kind("last", policy.last, lambda _at, index: index),
        _Kind("hourly", policy.hourly, lambda at, _: (at.year, at.month, at.day, at.hour)),
        _Kind("daily", policy.daily, lambda at, _: (at.year, at.month, at.day)),
        _Kind("weekly", policy.weekly, lambda at, _: at.isocalendar()[:2]),
        _Kind("monthly", policy.monthly, lambda at, _: (at.year, at.month)),
        _Kind("yearly", policy.yearly, lambda at, _: at.year),
    )


def describe_seconds(seconds: int) -> str:
    """Render a duration as a contract has it, in the largest unit that fits it: `14d`, `90m`."""
    for unit, length in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"

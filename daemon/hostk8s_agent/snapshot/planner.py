"""What is due now: a function of the policies, of when each work last succeeded, and of the clock.

Nothing is armed ahead. Whoever asks again at any time, after hours of sleep, after the clock was set or a schedule was
edited, gets what is due then: once, however many times have passed meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from hostk8s_agent.contract.schedules import IntervalSchedule
from hostk8s_agent.pacing import Backoff
from hostk8s_agent.snapshot.timetable import find_next, find_span_seconds, spread_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from hostk8s_agent.contract.schedules import Schedule
    from hostk8s_agent.snapshot.policies import PolicyInForce

WorkKind = Literal["snapshot", "drill", "verify"]

DRILL: Final = IntervalSchedule("every 7d", 7 * 86400)
"""How often the newest snapshot of each stack is restored into scratch and compared."""

VERIFY: Final = IntervalSchedule("every 1d", 86400)
"""How often a share of the repository is read back; all of it within a week."""

JITTER_SHARE: Final = 0.1
"""How much of a schedule's span the jitter may take, so that no work comes as late as the next one."""

_FACT_DONE: Final = "snapshot.done"
_FACT_SINCE: Final = "snapshot.since"
_FACTS: Final = (f"{_FACT_DONE}.", f"{_FACT_SINCE}.")
# Work that fails is tried again soon, then less often: a full disk does not empty itself.
_RETRY_FIRST_SECONDS: Final = 60.0
_RETRY_CAP_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, order=True)
class Work:
    """One thing that is done again and again. `stack` is empty for what is the whole repository's."""

    kind: WorkKind
    stack: str = ""

    @property
    def name(self) -> str:
        """What it is called in facts and logs: `snapshot:foundation/airflow`."""
        return f"{self.kind}:{self.stack}" if self.stack else self.kind


@dataclass(slots=True)
class _Failures:
    backoff: Backoff
    retry_at: datetime


class Planner:
    """Knows what was done when. Not thread-safe.

    `facts` are those that an earlier run recorded, `record` keeps one across restarts (name, value).
    """

    def __init__(self, facts: Mapping[str, str], record: Callable[[str, str], None], *, jitter_seconds: float) -> None:
        known = ((name, _parse_time(value)) for name, value in facts.items() if name.startswith(_FACTS))
        self._times = {name: at for name, at in known if at is not None}
        self._record = record
        self._jitter_seconds = jitter_seconds
        self._failures: dict[Work, _Failures] = {}
        # With a thousand stacks, working out all times anew would keep a processor busy at each look.
        self._next: dict[Work, tuple[object, datetime | None]] = {}

    def list_due(self, policies: Mapping[str, PolicyInForce], now: datetime) -> tuple[Work, ...]:
        """Return the work that is due, the one that has waited longest first."""
        waiting = []
        for work in _list_work(policies):
            at = self.find_next(work, policies, now)
            if at is not None and at <= now and not self._must_wait(work, now):
                waiting.append((at, work))
        return tuple(work for _, work in sorted(waiting))

    def find_next(self, work: Work, policies: Mapping[str, PolicyInForce], now: datetime) -> datetime | None:
        """Return when the work is due next, which may have passed; None when it has no schedule."""
        policy = policies.get(work.stack)
        zone = policy.zone if policy else UTC
        schedule = _schedule_of(work, policy)
        if schedule is None:
            return None
        begin = self._find_past(_FACT_DONE, work, now)
        if begin is None:
            if work.kind == "snapshot" and isinstance(schedule, IntervalSchedule):
                return now
            begin = self._begin(work, now)
        asked = (schedule, zone, begin)
        known = self._next.get(work)
        if known is None or known[0] != asked:
            known = self._next[work] = (asked, self._compute_next(work, schedule, zone, begin))
        return known[1]

    def _compute_next(self, work: Work, schedule: Schedule, zone: tzinfo, begin: datetime) -> datetime | None:
        at = find_next(schedule, zone, begin)
        if at is None:
            return None
        span = find_span_seconds(schedule, zone, begin)
        return at + timedelta(seconds=spread_seconds(work.name, min(self._jitter_seconds, span * JITTER_SHARE)))

    def find_last(self, work: Work) -> datetime | None:
        """Return when the work that last succeeded had begun, None when none has."""
        return self._find_time(_FACT_DONE, work)

    def record_success(self, work: Work, began_at: datetime) -> None:
        """Remember that the work succeeded."""
        self._failures.pop(work, None)
        self._keep(_FACT_DONE, work, began_at)

    def record_failure(self, work: Work, now: datetime) -> None:
        """Have the work tried again after a while, which grows."""
        known = self._failures.get(work)
        backoff = known.backoff if known else Backoff(_RETRY_FIRST_SECONDS, _RETRY_CAP_SECONDS, jitter=0.2)
        self._failures[work] = _Failures(backoff, now + timedelta(seconds=backoff.next_seconds()))

    def _must_wait(self, work: Work, now: datetime) -> bool:
        failures = self._failures.get(work)
        # Never longer than the longest wait: the clock may have been set back since.
        return failures is not None and now < failures.retry_at <= now + timedelta(seconds=2 * _RETRY_CAP_SECONDS)

    def _begin(self, work: Work, now: datetime) -> datetime:
        """Return since when the work is wanted: its first time is the next one after that."""
        since = self._find_past(_FACT_SINCE, work, now)
        if since is None:
            since = now
            self._keep(_FACT_SINCE, work, now)
        return since

    def _find_past(self, fact: str, work: Work, now: datetime) -> datetime | None:
        """Return a remembered time; one that lies ahead becomes now.

        A clock that was set back must not put the next time off by as much.
        """
        at = self._find_time(fact, work)
        if at is not None and at > now:
            self._keep(fact, work, now)
            return now
        return at

    def _find_time(self, fact: str, work: Work) -> datetime | None:
        return self._times.get(f"{fact}.{work.name}")

    def _keep(self, fact: str, work: Work, at: datetime) -> None:
        name = f"{fact}.{work.name}"
        self._times[name] = at.astimezone(UTC)
        self._record(name, self._times[name].isoformat())


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _list_work(policies: Mapping[str, PolicyInForce]) -> list[Work]:
    per_stack = [Work(kind, stack) for stack in policies for kind in ("snapshot", "drill")]
    return [*per_stack, Work("verify")]


def _schedule_of(work: Work, policy: PolicyInForce | None) -> Schedule | None:
    if work.kind == "verify":
        return VERIFY
    if policy is None:
        return None
    return policy.schedule if work.kind == "snapshot" else DRILL

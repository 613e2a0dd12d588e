"""What the agent does for snapshots by itself: takes them, lets them expire, reads them back, drills restores."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hostk8s_agent.errors import AgentError, Problem
from hostk8s_agent.snapshot.circumstances import find_obstacle
from hostk8s_agent.snapshot.documents import render_moment
from hostk8s_agent.snapshot.drilling import drill_snapshot
from hostk8s_agent.snapshot.errors import SnapshotStoppedError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.planner import Planner
from hostk8s_agent.snapshot.policies import find_policy
from hostk8s_agent.snapshot.protection import Due
from hostk8s_agent.snapshot.requests import CreateRequest
from hostk8s_agent.snapshot.schedule import SnapshotSchedule
from hostk8s_agent.snapshot.timetable import find_span_seconds
from hostk8s_agent.status.model import DrillStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from zoneinfo import ZoneInfo

    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.contract.schedules import Schedule
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.snapshot.expiring import Expiry
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.policies import PolicyInForce
    from hostk8s_agent.snapshot.service import SnapshotService

TAG_SCHEDULED: Final = "scheduled"
"""The tag of the snapshots that the schedule took."""

DAYS_OF_A_ROUND: Final = 7
"""Within how many days all of the repository is read back."""

_FACT_DRILL: Final = "snapshot.drill."


@dataclass(frozen=True, slots=True)
class KeptFacts:
    """What an earlier run recorded, and what keeps a fact (name, value) for the next one."""

    known: Mapping[str, str]
    record: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class CareSources:
    """What the caretaker looks at.

    `contracts` returns the contract in force of each stack; `reach_volume` raises the `AgentError` that says why the
    volume cannot be read now; `tell` is given an event's name, words and stack.
    """

    contracts: Callable[[], Mapping[str, Contract]]
    reach_volume: Callable[[], object]
    facts: KeptFacts
    tell: Callable[[str, str, str], None]


class Caretaker:
    """Does the scheduled work. `start` and `stop` once each; the rest from any thread."""

    def __init__(
        self,
        service: SnapshotService,
        expiry: Expiry,
        sources: CareSources,
        settings: Settings,
        default: PolicyInForce,
    ) -> None:
        self._service = service
        self._expiry = expiry
        self._sources = sources
        self._settings = settings
        self._default = default
        self._drill_lock = threading.Lock()
        self._drills = dict(_parse_drills(sources.facts.known))
        planner = Planner(sources.facts.known, sources.facts.record, jitter_seconds=settings.snapshot_jitter_seconds)
        self._schedule = SnapshotSchedule(self, planner, self.list_policies, self._find_obstacle)

    def start(self) -> None:
        """Begin to look what is due."""
        self._schedule.start()

    def stop(self) -> None:
        """Begin nothing any more, and wait for what is under way."""
        self._schedule.stop()

    def look_now(self) -> None:
        """Look at once what is due, or soon after the last look: a contract was saved."""
        self._schedule.look_now()

    @property
    def heartbeat(self) -> float | None:
        """When the thread that looks what is due last went on, in monotonic seconds; None before its start."""
        return self._schedule.heartbeat

    # What is asked

    def list_policies(self) -> Mapping[str, PolicyInForce]:
        """Return what is in force for each stack."""
        return {name: find_policy(one.snapshots, self._default) for name, one in self._sources.contracts().items()}

    def list_due(self) -> Mapping[str, Due]:
        """Return the schedule of each stack that has one."""
        policies = self.list_policies()
        spans: dict[tuple[Schedule, ZoneInfo], float] = {}
        found = {}
        for stack, at in self._schedule.list_next(policies).items():
            policy = policies[stack]
            if policy.schedule is not None:
                # Most stacks have one and the same: with a thousand of them, `status` must not work it out each time.
                key = (policy.schedule, policy.zone)
                if key not in spans:
                    spans[key] = find_span_seconds(policy.schedule, policy.zone, at)
                found[stack] = Due(spans[key], at, self._schedule.explain_delay(stack))
        return found

    def list_drills(self) -> tuple[DrillStatus, ...]:
        """Return each stack's last drill, sorted by stack."""
        return tuple(drill for _, drill in sorted(self._drills.items()))

    def list_problems(self, snapshots: Iterable[SnapshotManifest]) -> tuple[Problem, ...]:
        """Return what a person should know of these snapshots and of the last drills."""
        problems = [_build_drill_problem(drill) for drill in self.list_drills() if not drill.is_whole]
        for one in snapshots:
            if one.state is SnapshotState.SUSPECT and not one.is_event:
                message = f"the snapshot {one.id} of {one.stack} is suspect: {one.marks.reason}"
                hint = f"look whether the data is there; then hostk8s-agent snapshot accept {one.id}, or forget it"
                problems.append(Problem("SnapshotSuspect", message, hint))
            elif one.state is SnapshotState.DAMAGED:
                message = f"the snapshot {one.id} of {one.stack} is damaged: {one.marks.reason}"
                problems.append(Problem("SnapshotDamaged", message, "look at the repository's disk; then forget it"))
        return tuple(problems)

    # The work

    def take_snapshot(self, stack: str) -> None:
        """Take a snapshot of the stack, read it back, and let expire what its policy no longer keeps."""
        self._service.create(CreateRequest(stack, tags=(TAG_SCHEDULED,)))
        self._expiry.expire(stack)

    def verify_share(self) -> None:
        """Read back the snapshots that were verified longest ago: so many that a round takes a week. Then tidy up."""
        snapshots, _ = self._service.list()
        # Those that are known to be damaged keep their old time, and would take every share for themselves.
        whole = [one for one in snapshots if one.state is not SnapshotState.DAMAGED]
        oldest_first = sorted(whole, key=lambda one: one.verified_at or datetime.min.replace(tzinfo=UTC))
        share = [one.id for one in oldest_first[: math.ceil(len(whole) / DAYS_OF_A_ROUND)]]
        for verified in self._service.verify(share)[0]:
            one = verified.snapshot
            if not verified.is_whole:
                self._sources.tell("snapshot.damaged", f"{one.id}: {one.marks.reason}", one.stack)
        self._service.tidy()

    def drill(self, stack: str) -> None:
        """Restore the stack's newest good snapshot into scratch and compare; without one there is nothing to drill."""
        good = [one for one in self._service.list(stack)[0] if one.state is SnapshotState.GOOD]
        if not good:
            return
        snapshot = max(good, key=lambda one: one.taken_at)
        try:
            with self._drill_lock:
                drilled = drill_snapshot(self._service.repository, snapshot, self._service.build_meter())
        except SnapshotStoppedError:
            # It has found nothing, neither good nor bad.
            raise
        except AgentError as error:
            self._keep_drill(stack, snapshot.id, error.message)
            raise
        self._keep_drill(stack, snapshot.id, not_compared=drilled.not_compared)

    def _keep_drill(self, stack: str, snapshot: str, failure: str = "", *, not_compared: str = "") -> None:
        drill = DrillStatus(stack, snapshot, render_moment(datetime.now(UTC)), not failure, failure, not_compared)
        self._drills[drill.stack] = drill
        value = json.dumps([drill.snapshot, drill.at, drill.is_whole, drill.message, drill.not_compared])
        self._sources.facts.record(f"{_FACT_DRILL}{drill.stack}", value)
        if not drill.is_whole:
            self._sources.tell("snapshot.drill_failed", f"{drill.snapshot}: {drill.message}", drill.stack)

    def _find_obstacle(self) -> str:
        try:
            self._sources.reach_volume()
        except AgentError as error:
            return error.message
        return find_obstacle(
            self._service.repository.folder,
            min_battery_percent=self._settings.snapshot_min_battery_percent,
            min_free_percent=self._settings.snapshot_min_free_percent,
        )


def _build_drill_problem(drill: DrillStatus) -> Problem:
    message = f"the restore drill of {drill.stack} failed for {drill.snapshot}: {drill.message}"
    return Problem("DrillFailed", message, "look at the repository's disk; take a new snapshot: snapshot create")


def _parse_drills(facts: Mapping[str, str]) -> Iterable[tuple[str, DrillStatus]]:
    for name, value in facts.items():
        if name.startswith(_FACT_DRILL):
            stack = name.removeprefix(_FACT_DRILL)
            # An agent that compared less has recorded one value less.
            yield stack, DrillStatus(stack, *json.loads(value))

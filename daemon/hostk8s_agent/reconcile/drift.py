"""What somebody changed and a run put back: found, told, and, when it becomes a war, left alone for a while."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.errors import ContractError, Problem
from hostk8s_agent.plan.drifting import (
    EXISTENCE,
    FieldKey,
    FoundDrift,
    InPlace,
    find_drift,
    find_in_place,
    name_subject,
    render_directory,
    render_object,
)
from hostk8s_agent.plan.holding import hold_fields
from hostk8s_agent.plan.objects import render_desired_state
from hostk8s_agent.reconcile.field_wars import REPAIRS_ALLOWED, FieldWars, War
from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.model import DriftStatus, parse_stack_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.plan.actions import Plan
    from hostk8s_agent.status.board import StatusBoard
    from hostk8s_agent.status.describing import StackFacts
    from hostk8s_agent.status.records import StackRecord
    from hostk8s_agent.workspace import Workspace

DRIFT_SHOWN = 20
"""How many changes are shown of one stack, the newest; the history has more."""

SUBJECTS_NAMED = 5

Where = dict[str, str]
"""What tells this `volume` and this `cluster` from others of the same name; empty for a stand-in."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What an earlier agent left: what was in place of each stack, and where."""

    records: Mapping[str, StackRecord] = field(default_factory=dict)
    where: Where = field(default_factory=lambda: {"volume": "", "cluster": ""})


@dataclass(frozen=True, slots=True)
class Screening:
    """What a plan holds of drift: `found` is to be put right, `held` left alone until `until` at the earliest.

    `plan` is what is to be done, without what is left alone.
    """

    plan: Plan
    found: tuple[FoundDrift, ...] = ()
    held: Mapping[FieldKey, Problem] = field(default_factory=dict)
    until: float | None = None

    def hold(self, plan: Plan) -> Plan:
        """Return the plan without what is left alone."""
        return hold_fields(plan, self.held) if self.held else plan


class DriftLedger:
    """Knows of each stack what was last in place. Thread-safe; one run of a stack at a time.

    `find_where` says what the volume and the cluster are now.
    """

    def __init__(
        self,
        workspace: Workspace,
        board: StatusBoard,
        find_where: Callable[[], Where],
        memory: Memory | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._board = board
        self._find_where = find_where
        self._memory = memory or Memory()
        self._clock = clock
        self._lock = threading.Lock()
        self._in_place: dict[str, dict[str, InPlace]] = {}
        self._shown: dict[str, deque[DriftStatus]] = {}
        self._wars = FieldWars()

    def screen(self, stack: str, plan: Plan) -> Screening:
        """Return what of the plan puts right a change that somebody made, and what of that is to be left alone."""
        if not (plan.directories or plan.objects):
            return Screening(plan)
        found = find_drift(plan, self._recall(stack), self._find_where())
        held, begun = self._wars.judge(found, self._clock())
        for war in begun:
            self._tell_war(stack, war)
        problems = {key: explain_war(war) for key, war in held.items()}
        return Screening(
            hold_fields(plan, problems) if problems else plan,
            tuple(one for one in found if one.key not in held),
            problems,
            min((war.until for war in held.values()), default=None),
        )

    def settle(self, facts: StackFacts, screening: Screening) -> tuple[DriftStatus, ...]:
        """Remember what is in place after a run, tell what it put right, and return what is shown of the stack."""
        stack = facts.desired.stack
        in_place = find_in_place(facts.desired, facts.observed, facts.remaining, self._find_where())
        failed = {failure.subject for failure in facts.failures}
        repaired = [one for one in screening.found if one.key.subject in in_place and one.key.subject not in failed]
        with self._lock:
            before = self._in_place.get(stack, {})
            # What is not in place now was so before: once it is again, that is a repair still.
            wanted = {one.path for one in facts.desired.directories}
            wanted |= {f"{one.key.kind}/{one.key.name}" for one in facts.desired.objects}
            self._in_place[stack] = {name: one for name, one in before.items() if name in wanted} | in_place
        self._note_repairs(stack, repaired)
        self._tell_made(stack, screening, in_place)
        return self.shown(stack)

    def seconds_until(self, screening: Screening) -> float | None:
        """Return in how many seconds what is left alone is to be tried again, None where nothing is."""
        return None if screening.until is None else max(0.0, screening.until - self._clock())

    def shown(self, stack: str) -> tuple[DriftStatus, ...]:
        """Return the last changes of the stack that were put right, the newest last."""
        self._recall(stack)
        with self._lock:
            return tuple(self._shown.get(stack, ()))

    def forget(self, stack: str) -> None:
        """Know nothing of the stack any more: its contract is gone, and what comes next is new."""
        with self._lock:
            self._in_place[stack] = {}
            self._shown.pop(stack, None)

    def _note_repairs(self, stack: str, repaired: Iterable[FoundDrift]) -> None:
        now = self._clock()
        for subject, group in groupby(repaired, key=lambda one: one.key.subject):
            changes = list(group)
            is_news = [self._wars.note_repair(one, now) for one in changes]
            shown = [_render_drift(one, render_time(now)) for one in changes]
            with self._lock:
                self._shown.setdefault(stack, deque(maxlen=DRIFT_SHOWN)).extend(shown)
            if any(is_news):
                message = f"{subject}: {'; '.join(_describe_repair(one) for one in changes)}"
                self._board.record_event("drift", message, stack, subject=subject, reason="DriftRepaired")

    def _tell_made(self, stack: str, screening: Screening, in_place: Mapping[str, InPlace]) -> None:
        """Tell what a run made or changed because the contract asks for it."""
        mended = {one.key.subject for one in screening.found}
        actions = (*screening.plan.directories, *screening.plan.objects)
        made = [name for name in map(name_subject, actions) if name in in_place and name not in mended]
        if made:
            rest = f" and {len(made) - SUBJECTS_NAMED} more" if len(made) > SUBJECTS_NAMED else ""
            names = ", ".join(made[:SUBJECTS_NAMED])
            self._board.record_event("reconciled", f"made or changed: {names}{rest}", stack, reason="Reconciled")

    def _tell_war(self, stack: str, war: War) -> None:
        self._board.record_event(
            "drift.war",
            explain_war(war).message,
            stack,
            subject=war.drift.key.subject,
            reason="FieldWar",
            is_warning=True,
        )

    def _recall(self, stack: str) -> dict[str, InPlace]:
        """Return what was in place of a stack: seen by a run of ours, else left by an earlier agent."""
        with self._lock:
            known = self._in_place.get(stack)
            if known is None:
                record = self._memory.records.get(stack)
                known = self._in_place[stack] = {} if record is None else self._load_in_place(record)
                if record is not None:
                    self._shown[stack] = deque(parse_stack_status(record.status).drift, maxlen=DRIFT_SHOWN)
            return known

    def _load_in_place(self, record: StackRecord) -> dict[str, InPlace]:
        file = self._workspace.relative(self._workspace.contract_path(record.name))
        try:
            contract = parse_contract(record.contract, file=file, stack=record.name)
        except ContractError:
            return {}  # there never was one in force, or another version of the agent thought it good
        desired = render_desired_state(contract, str(self._workspace.root))
        parts = (*record.status.get("directories", ()), *record.status.get("volumes", ()))
        ready = {part["name"] for part in parts if part.get("state") == "Ready"}
        where = self._memory.where
        found = {
            one.path: InPlace(render_directory(one), "", where["volume"])
            for one in desired.directories
            if one.name in ready
        }
        is_whole = record.status.get("state") == "Ready"
        return found | {
            f"{one.key.kind}/{one.key.name}": InPlace(render_object(one), "", where["cluster"])
            for one in desired.objects
            if one.key.name in ready or (is_whole and one.key.kind == "StorageClass")
        }


def explain_war(war: War) -> Problem:
    """Return what a person is told of a field that is left alone."""
    subject, name = war.drift.key
    who = war.drift.drift.manager
    changed = "was removed again" if name == EXISTENCE else f"{name} was changed again{f' by {who}' if who else ''}"
    return Problem(
        "FieldWar",
        f"{subject}: {changed} after it had been put back {REPAIRS_ALLOWED} times within a minute; "
        f"it is left alone until {render_time(war.until)}",
        "end whatever goes on changing it, or give the contract the value that it wants; then the agent tries again",
    )


def _describe_repair(found: FoundDrift) -> str:
    drift = found.drift
    if drift.field == EXISTENCE:
        return "it was removed, and is made again"
    was = "was removed" if drift.observed is None else f"was changed to {drift.observed}"
    by = f" by {drift.manager}" if drift.manager else ""
    return f"{drift.field} {was}{by}, and is {drift.desired} again"


def _render_drift(found: FoundDrift, at: str) -> DriftStatus:
    drift = found.drift
    return DriftStatus(found.key.subject, drift.field, drift.desired, drift.observed, drift.manager, at)

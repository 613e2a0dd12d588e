"""One run for one stack: observe, plan, apply, look again, and say what is true."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import AgentError, ClusterError, Problem, VolumeError
from hostk8s_agent.plan.actions import DirectoryAction, Plan
from hostk8s_agent.plan.holding import directory_of
from hostk8s_agent.plan.mounting import MountFinding
from hostk8s_agent.plan.objects import render_desired_state
from hostk8s_agent.plan.observed import ObservedObject, ObservedState
from hostk8s_agent.plan.occupying import explain_occupiers
from hostk8s_agent.plan.ownership import find_other_workspaces, is_ours
from hostk8s_agent.plan.planning import Constraints, plan_stack
from hostk8s_agent.reconcile.controller import RunResult
from hostk8s_agent.reconcile.holdings import Holdings, explain_reservations
from hostk8s_agent.reconcile.inventory import find_held
from hostk8s_agent.status.board import StatusBoard, render_time
from hostk8s_agent.status.describing import Failure, StackFacts, describe_invalid, describe_stack
from hostk8s_agent.status.leftovers import add_leftovers, describe_gone
from hostk8s_agent.status.model import StackStatus
from hostk8s_agent.workspace import STACKS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.plan.desired import DesiredState, ObjectKey
    from hostk8s_agent.reconcile.contracts import ContractBook, LoadedContract
    from hostk8s_agent.reconcile.drift import DriftLedger
    from hostk8s_agent.reconcile.interest import InterestIndex
    from hostk8s_agent.reconcile.inventory import Applied
    from hostk8s_agent.reconcile.lifecycle import Lifecycle
    from hostk8s_agent.volume.access import DirectoryAccess
    from hostk8s_agent.workspace import Workspace

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Backends:
    """Where directories and objects are: what serves now, or raises why nothing does; `mount` never raises."""

    volume: Callable[[], DirectoryAccess]
    cluster: Callable[[], ClusterAccess]
    mount: Callable[[], MountFinding] = MountFinding


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom a run tells what.

    `interest` gets the objects that the stack has an interest in, so that their changes bring a run; `holdings` who
    holds its volumes; `drift` what a run is to put right, and has;
    `on_recorded` each status or contract text that changed, with the text of the contract in force;
    `on_forgotten` a stack of which nothing is left; `on_affected` the other stacks whose conflicts may have changed;
    `on_planned` what a run is about to do, `on_apply_failed` the code of each action's failure.
    """

    board: StatusBoard
    interest: InterestIndex
    holdings: Holdings
    drift: DriftLedger
    on_recorded: Callable[[StackStatus, bytes], None]
    on_forgotten: Callable[[str], None]
    on_affected: Callable[[Iterable[str]], None]
    on_planned: Callable[[Plan], None] = lambda _plan: None
    on_apply_failed: Callable[[str], None] = lambda _code: None


class StackReconciler:
    """Makes one stack's directories and objects what its contract asks for. Safe from several threads."""

    def __init__(
        self,
        workspace: Workspace,
        book: ContractBook,
        backends: Backends,
        reports: Reports,
        lifecycle: Lifecycle,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._book = book
        self._backends = backends
        self._reports = reports
        self._lifecycle = lifecycle
        self._clock = clock
        self._recorded_texts: dict[str, bytes] = {}

    def reconcile(self, stack: str) -> RunResult:
        """Run once for `stack`, reading everything anew. Never raises for what Docker or Kubernetes answer."""
        loaded, affected = self._book.load(stack)
        self._reports.on_affected(affected)
        if loaded.settle_seconds is not None:
            return RunResult(requeue_after_seconds=loaded.settle_seconds)
        if loaded.is_absent:
            return self._reconcile_absent(stack)
        if loaded.contract is None:
            if loaded.problems:
                self._show(describe_invalid(stack, self._file(stack), loaded.problems, self._now()), loaded.text)
            return RunResult()
        return self._reconcile_contract(stack, loaded)

    def plan(self, stack: str) -> Plan:
        """Return what a run would do now, without doing it."""
        loaded = self._book.read(stack)
        if loaded.problems:
            return Plan(stack, invalid=loaded.problems)
        preview = self._lifecycle.leftovers.preview
        if loaded.contract is None:
            return Plan(stack, prunes=preview(stack, None, self._backends.cluster))
        desired = render_desired_state(loaded.contract, str(self._workspace.root))
        observed = self._observe(desired)
        plan = plan_stack(desired, observed, self._constraints(desired, observed))
        return replace(plan, prunes=preview(stack, desired, self._backends.cluster))

    def _reconcile_contract(self, stack: str, loaded: LoadedContract) -> RunResult:
        assert loaded.contract is not None  # noqa: S101 - narrowed by the caller
        started = time.perf_counter()
        desired = render_desired_state(loaded.contract, str(self._workspace.root))
        left = self._lifecycle.leftovers.settle(stack, desired)
        self._reports.interest.record(stack, [*(one.key for one in desired.objects), *(one.key for one in left)])
        observed = self._observe(desired)
        constraints = self._constraints(desired, observed)
        screening = self._reports.drift.screen(stack, plan_stack(desired, observed, constraints))
        plan = screening.plan
        self._reports.on_planned(plan)
        failures: tuple[Failure, ...] = ()
        remaining = plan
        if plan.directories or plan.objects:
            failures = self._apply(plan)
            for failure in failures:
                self._reports.on_apply_failed(failure.problem.code)
            # Ready is said of what was seen, never of what was merely sent.
            observed = self._observe(desired)
            remaining = screening.hold(plan_stack(desired, observed, constraints))
            log.info(
                "reconcile.finished",
                directories=len(plan.directories),
                objects=len(plan.objects),
                blocked=len(remaining.blocked),
                failures=len(failures),
                duration_seconds=round(time.perf_counter() - started, 4),
            )
        facts = StackFacts(
            desired=desired,
            observed=observed,
            remaining=remaining,
            failures=failures,
            contract_problems=loaded.problems,
            file=self._file(stack),
            reconciled_at=self._now(),
        )
        changed_at = self._now() if len(failures) < len(plan.directories) + len(plan.objects) else ""
        drift = self._reports.drift.settle(facts, screening)
        status = replace(describe_stack(facts), drift=drift, last_changed_at=changed_at)
        self._take_stock(desired, observed, status)
        # Without a cluster nothing is said of them: what the contract asks for waits already.
        with suppress(ClusterError):
            status = add_leftovers(status, self._lifecycle.judge(stack, left, self._backends.cluster))
        self._show(status, loaded.text)
        is_unfinished = bool(remaining.directories or remaining.objects) and not failures
        is_failed = is_unfinished or any(one.is_retryable for one in failures)
        return RunResult(is_failed, requeue_after_seconds=self._reports.drift.seconds_until(screening))

    def _reconcile_absent(self, stack: str) -> RunResult:
        """Say what is left of a stack whose contract is gone: its objects and its data are kept."""
        left = self._lifecycle.leftovers.settle(stack, None)
        self._reports.drift.forget(stack)
        before = self._reports.board.stack(stack)
        if before is None and not left:
            return RunResult()
        before = before or StackStatus(stack, self._file(stack), "Removing", "")
        self._reports.interest.record(stack, (one.key for one in left))
        try:
            facts = self._lifecycle.judge(stack, left, self._backends.cluster)
        except ClusterError as error:
            unseen = before.as_unseen(error.message)
            self._show(replace(unseen, state="Removing", problems=(error.problem,)), b"")
            return RunResult()
        if not facts.verdicts:
            self._reports.board.remove_stack(stack, "its contract and its objects are gone; the data stays")
            self._reports.on_forgotten(stack)
            return RunResult()
        gone = describe_gone(before, facts, self._lifecycle.find_loss())
        self._show(replace(gone, last_reconciled_at=self._now()), b"")
        return RunResult()

    def _take_stock(self, desired: DesiredState, observed: ObservedState, status: StackStatus) -> None:
        """Remember what was seen in place for the stack, and that the stack holds it."""
        held = find_held(status)
        self._reports.on_affected(self._book.record_holder(status.name, held))
        paths = [directory.path for directory in desired.directories]
        seen: dict[Applied, str] = {("Directory", path): "" for path in paths if path in held}
        if not isinstance(observed.objects, Problem):
            self._reports.holdings.record(observed.objects, self._backends.cluster())
            seen |= {
                (key.kind, key.name): found.uid
                for key, found in observed.objects.items()
                if is_ours(found) and (key.kind == "StorageClass" or key.name in held)
            }
        self._lifecycle.leftovers.record(status.name, seen)

    def _constraints(self, desired: DesiredState, observed: ObservedState) -> Constraints:
        occupiers = self._lifecycle.leftovers.find_occupiers(desired, observed, self._backends.cluster)
        # The end of their use brings this stack its next run.
        self._reports.interest.add(desired.stack, (one.key for one in occupiers.values()))
        return Constraints(
            living_workspaces=frozenset(filter(_is_living_workspace, find_other_workspaces(desired, observed))),
            lost_conflicts=explain_occupiers(occupiers) | self._book.lost_claims(desired.stack),
            informed=(
                *(one.problem for one in self._book.conflicts_of(desired.stack) if not one.is_blocked),
                *explain_reservations(observed, self._backends.cluster),
            ),
            reservations=self._reports.holdings.find_reservations(desired, observed, self._backends.cluster),
            mount=self._backends.mount(),
            may_set_owner=self._may_set_owner(),
            may_release=self._lifecycle.may_release,
        )

    def _may_set_owner(self) -> bool:
        try:
            return self._backends.volume().may_set_owner
        except VolumeError:
            return True

    def _observe(self, desired: DesiredState) -> ObservedState:
        paths = [directory.path for directory in desired.directories]
        try:
            directories = {one.path: one for one in self._backends.volume().observe_directories(paths)}
        except VolumeError as error:
            return ObservedState(error.problem, self._observe_objects(desired))
        return ObservedState(directories, self._observe_objects(desired))

    def _observe_objects(self, desired: DesiredState) -> Mapping[ObjectKey, ObservedObject] | Problem:
        try:
            return self._backends.cluster().observe_objects(desired.stack, [one.key for one in desired.objects])
        except ClusterError as error:
            return error.problem

    def _apply(self, plan: Plan) -> tuple[Failure, ...]:
        """Carry the plan out: directories first, so that no pod ever finds a volume without its directory."""
        failures = self._apply_directories(plan.directories)
        failed_paths = {failure.subject for failure in failures}
        ready = [action for action in plan.objects if directory_of(action) not in failed_paths]
        if not ready:
            return failures
        try:
            outcomes = self._backends.cluster().apply_objects(plan.stack, ready)
        except ClusterError as error:
            return (*failures, *(_failure(f"{one.key.kind}/{one.key.name}", error) for one in ready))
        failed = (
            _failure(f"{action.key.kind}/{action.key.name}", outcome)
            for action, outcome in zip(ready, outcomes, strict=True)
            if isinstance(outcome, ClusterError)
        )
        return (*failures, *failed)

    def _apply_directories(self, actions: Sequence[DirectoryAction]) -> tuple[Failure, ...]:
        if not actions:
            return ()
        try:
            outcomes = self._backends.volume().apply_directories(actions)
        except VolumeError as error:
            return tuple(_failure(action.path, error) for action in actions)
        return tuple(
            _failure(action.path, outcome)
            for action, outcome in zip(actions, outcomes, strict=True)
            if outcome is not None
        )

    def _show(self, status: StackStatus, contract_text: bytes) -> None:
        before = self._reports.board.stack(status.name)
        is_changed = self._reports.board.update_stack(status)
        if before is None or before.state != status.state:
            log.info("stack.state", state=status.state, message=status.message)
        # The text can change where the status does not (access modes), and it is what a restart falls back on.
        if is_changed or self._recorded_texts.get(status.name) != contract_text:
            self._recorded_texts[status.name] = contract_text
            self._reports.on_recorded(status, contract_text)

    def _file(self, stack: str) -> str:
        return self._workspace.relative(self._workspace.contract_path(stack))

    def _now(self) -> str:
        return render_time(self._clock())


def _failure(subject: str, error: AgentError) -> Failure:
    log.warning("apply.failed", subject=subject, code=error.code, reason=error.message, retryable=error.retryable)
    return Failure(subject, error.problem, error.retryable)


def _is_living_workspace(path: str) -> bool:
    return (Path(path) / STACKS_FOLDER).is_dir()

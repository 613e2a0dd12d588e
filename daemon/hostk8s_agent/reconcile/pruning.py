"""When pruning is done: one pass over the leftovers of all stacks, after their grace period, in a thread of its own.

The rules are in `plan/pruning.py`. A pass looks at everything anew; what it finds told is only that it should look.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import ClusterError
from hostk8s_agent.pacing import Backoff
from hostk8s_agent.plan.pruning import PrunePlan, Verdict, explain_users, find_pods_using, plan_pruning
from hostk8s_agent.plan.wording import subject_of
from hostk8s_agent.reconcile.holding import GIT_AT_WORK, find_doubt, folder_identity
from hostk8s_agent.reconcile.pruning_terms import PRUNE_OFF, PrunePreview, PruneState
from hostk8s_agent.reconcile.securing import Securing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.actions import DeleteObject
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject
    from hostk8s_agent.reconcile.leftovers import Leftovers
    from hostk8s_agent.reconcile.pruning_terms import Grounds, PruneOptions, PruneReports
    from hostk8s_agent.watch.scan import ScanResult
    from hostk8s_agent.workspace import Workspace

log = structlog.get_logger()

PRUNED = "pruned"
FACT_FOLDER = "stacks.folder"
"""The record of which folder held the contracts: another one, and empty, is an unmounted disk."""

# Neither the end of git's work, nor a contract that can be read again, nor the end of a pod brings an event.
_GIT_SECONDS = 1.0
_CONTRACTS_SECONDS = 15.0
_PODS_SECONDS = 15.0


class Pruning:
    """`start` once the contracts are known, `stop` once; the rest from any thread, at any time."""

    def __init__(
        self,
        workspace: Workspace,
        grounds: Grounds,
        leftovers: Leftovers,
        reports: PruneReports,
        options: PruneOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._grounds = grounds
        self._leftovers = leftovers
        self._reports = reports
        self._options = options
        self._folder_seen_before = grounds.folder_seen_before
        self._clock = clock
        self._state = PruneState()
        self._confirmed: frozenset[ObjectKey] = frozenset()
        # Deleted, by UID, and perhaps still there for whoever has not heard of it yet: the mirror.
        self._deleted: dict[ObjectKey, str | None] = {}
        self._securing = Securing(grounds.secure, grounds.book)
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._wake = threading.Condition()
        self._is_wanted = False
        self._is_busy = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="pruning", daemon=True)

    def start(self) -> None:
        """Begin to prune."""
        self._thread.start()

    def stop(self) -> None:
        """End; a deletion under way is waited for."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def consider(self) -> None:
        """Say that a stack has leftovers, or that something about them has changed."""
        with self._wake:
            self._is_wanted = True
            self._wake.notify_all()

    def is_idle(self) -> bool:
        """Whether no pass is wanted or under way."""
        with self._wake:
            return not (self._is_wanted or self._is_busy)

    def find_hold(self, key: ObjectKey) -> Problem | None:
        """Return what keeps an object that nobody uses from being pruned, as far as it is known; None for nothing."""
        state = self._state
        return state.held.get(key) or state.problem or (None if self._options.is_on else PRUNE_OFF)

    @property
    def grace_seconds(self) -> float:
        """How long an object must have been unwanted."""
        return self._options.grace_seconds

    def problems(self) -> tuple[Problem, ...]:
        """What holds all pruning back now."""
        problem = self._state.problem
        return () if problem is None else (problem,)

    def preview(self) -> PrunePreview:
        """Look at the leftovers now, and change nothing. Raises a `ClusterError`."""
        now = self._clock()
        judged = self._judge()
        free = [verdict for verdict, _ in judged if verdict.state == "free"]
        plan = self._plan(free, {verdict.leftover.key for verdict in free})
        doubt, _ = self._find_doubt() if judged else (None, None)
        general = doubt or plan.brake
        objects = tuple(
            (
                verdict,
                verdict.problem or self._state.held.get(verdict.leftover.key) or self._off_problem(),
                max(0.0, since + self._options.grace_seconds - now),
            )
            for verdict, since in judged
            if verdict.state != "gone"
        )
        return PrunePreview(objects, general)

    def confirm(self) -> PrunePreview:
        """Let everything that is a leftover now be pruned, however much it is; return what that is."""
        found = self.preview()
        with self._lock:
            self._confirmed = frozenset(verdict.leftover.key for verdict, _, _ in found.objects)
            self._see_folder()
        self.consider()
        return replace(found, problem=None if found.problem and found.problem.code == "PruneBrake" else found.problem)

    # The thread

    def _run(self) -> None:
        next_at: float | None = None
        while True:
            with self._wake:
                timeout = None if next_at is None else max(0.0, next_at - self._clock())
                self._wake.wait_for(lambda: self._is_stopping or self._is_wanted, timeout)
                if self._is_stopping:
                    return
                self._is_wanted, self._is_busy = False, True
            try:
                next_at = self.run_pass()
            except Exception:
                # A mistake in a pass must not end pruning for good; nothing was deleted that should not have been.
                log.exception("pruning.crashed")
                next_at = self._clock() + self._backoff.next_seconds()
            finally:
                with self._wake:
                    self._is_busy = False

    def run_pass(self) -> float | None:
        """Prune what is due; return when to look again (seconds since the epoch), None when an event will tell."""
        next_at = self._run_pass()
        # Not under the lock: a snapshot takes as long as the directory is large, and all is judged anew afterwards.
        return self._run_pass() if self._securing.work() else next_at

    def _run_pass(self) -> float | None:
        with self._lock:
            try:
                judged = self._judge()
            except ClusterError:
                return None  # its return brings all stacks a run, and they bring us
            now = self._clock()
            ends: dict[ObjectKey, float] = {}
            for verdict, since in judged:
                end = since + self._options.grace_seconds
                ends[verdict.leftover.key] = max(end, ends.get(verdict.leftover.key, end))
            free = [verdict for verdict, _ in judged if verdict.state == "free"]
            due = {verdict.leftover.key for verdict in free if ends[verdict.leftover.key] <= now}
            later = [ends[verdict.leftover.key] for verdict in free if verdict.leftover.key not in due]
            if not due or not self._options.is_on:
                self._publish(PruneState(), judged)
                return min(later, default=None)
            state, again_seconds = self._prune(free, due)
            self._publish(state, judged)
            if again_seconds is not None:
                later.append(now + again_seconds)
            return min(later, default=None)

    def _judge(self) -> list[tuple[Verdict, float]]:
        """Return what becomes of each leftover, with since when it is one. Raises a `ClusterError`."""
        found = self._leftovers.find_all()
        if not found:
            return []
        access = self._grounds.cluster()
        observed: dict[ObjectKey, ObservedObject] = {}
        for stack in {leftover.stack for leftover, _ in found}:
            observed |= access.observe_objects(stack, [one.key for one, _ in found if one.stack == stack])
        verdicts = self._leftovers.judge([leftover for leftover, _ in found], observed, access)
        return [(verdict, since) for verdict, (_, since) in zip(verdicts, found, strict=True)]

    def _plan(self, free: Sequence[Verdict], due: set[ObjectKey]) -> PrunePlan:
        return plan_pruning(free, due, self._confirmed, self._grounds.inventory.count_objects())

    def _prune(self, free: Sequence[Verdict], due: set[ObjectKey]) -> tuple[PruneState, float | None]:
        """Delete what may be deleted; return what was found, and in how many seconds to look again by ourselves."""
        doubt, scan = self._find_doubt()
        if doubt is not None:
            return PruneState(doubt), _GIT_SECONDS if doubt.code == GIT_AT_WORK else _CONTRACTS_SECONDS
        if scan.files:
            self._see_folder()
        # A contract that is there and was never good may ask for anything that its stack had.
        known = [
            one
            for one in free
            if one.leftover.stack not in scan.files or self._grounds.book.has_contract(one.leftover.stack)
        ]
        plan = self._plan(known, due)
        held = self._delete(plan.deletions, {one.leftover.key: one for one in known})
        deleted = {action.key for action in plan.deletions} - held.keys()
        self._reports.on_affected({one.leftover.stack for one in known if one.leftover.key in deleted})
        state = PruneState(plan.brake, held)
        if not held:
            self._backoff.reset()
            return state, None
        return state, max(_PODS_SECONDS, self._backoff.next_seconds())

    def _delete(
        self, deletions: Sequence[DeleteObject], verdicts: Mapping[ObjectKey, Verdict]
    ) -> dict[ObjectKey, Problem]:
        """Delete the volumes, then the classes that nobody names any more; return what was held, and why."""
        held: dict[ObjectKey, Problem] = {}
        access = self._grounds.cluster()
        leaving: set[ObjectKey] = set()
        # Asked once in a pass, and not at all where no volume goes.
        list_pods = cache(access.observe_pods)
        for action in deletions:
            if action.key in self._deleted and self._deleted[action.key] == action.uid:
                leaving.add(action.key)
                continue
            verdict = verdicts[action.key]
            if action.key.kind == "PersistentVolume" and verdict.found is not None:
                hold = self._securing.find_hold(action.stack, verdict.found)
                if hold is not None:
                    held[action.key] = hold
                    continue
            try:
                if action.key.kind == "PersistentVolume" and verdict.found is not None:
                    users = find_pods_using(verdict.found, list_pods())
                else:
                    users = self._leftovers.find_users(verdict.leftover, access, leaving)
                if users:
                    held[action.key] = explain_users(action.key, users)
                    continue
                [error] = access.delete_objects(action.stack, [action])
            except ClusterError as failure:
                error = failure
            if error is not None:
                held[action.key] = error.problem
                continue
            leaving.add(action.key)
            # What stands in a file is gone at once, and its successor has the same UID.
            if verdict.found is not None and not verdict.found.is_in_file:
                self._deleted[action.key] = action.uid
            log.info(PRUNED, stack=action.stack, object=subject_of(action.key), reason=action.reason)
            self._reports.on_event(PRUNED, f"{subject_of(action.key)} was pruned: {action.reason}", action.stack)
        return held

    def _publish(self, state: PruneState, judged: Sequence[tuple[Verdict, float]]) -> None:
        before, self._state = self._state, state
        there = {verdict.leftover.key for verdict, _ in judged if verdict.state != "gone"}
        self._confirmed &= there
        self._securing.forget_all_but(there)
        self._deleted = {key: uid for key, uid in self._deleted.items() if key in there}
        if before == state:
            return
        code = state.problem.code if state.problem is not None else ""
        if code != (before.problem.code if before.problem is not None else ""):
            log.info("pruning.held" if code else "pruning.goes_on", code=code)
        self._reports.on_affected({verdict.leftover.stack for verdict, _ in judged})

    def _see_folder(self) -> None:
        identity = folder_identity(self._workspace)
        if identity and identity != self._folder_seen_before:
            self._folder_seen_before = identity
            self._reports.on_fact(FACT_FOLDER, identity)

    def _find_doubt(self) -> tuple[Problem | None, ScanResult]:
        doubt, scan = find_doubt(self._workspace, self._folder_seen_before)
        return self._grounds.find_loss() or doubt, scan

    def _off_problem(self) -> Problem | None:
        return None if self._options.is_on else PRUNE_OFF

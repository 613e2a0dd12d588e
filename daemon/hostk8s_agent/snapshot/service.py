"""Everything that can be asked about snapshots, for the agent and for a command without one."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.snapshot.durable import make_folder
from hostk8s_agent.snapshot.errors import DirectoryMissingError, SnapshotDamagedError, TargetInUseError
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.progress import Meter, ignore
from hostk8s_agent.snapshot.recovering import Recovery, recover_manifests
from hostk8s_agent.snapshot.requests import CreateRequest, RestoreOutcome
from hostk8s_agent.snapshot.restore_journal import RestoreJournals
from hostk8s_agent.snapshot.restore_planning import (
    build_safety_request,
    load_target,
    plan_restore,
    require_replaceable,
    select_for_restore,
)
from hostk8s_agent.snapshot.restoring import Restorer
from hostk8s_agent.snapshot.selecting import find_snapshot, require_unpinned
from hostk8s_agent.snapshot.sending import expect_work, send_manifests
from hostk8s_agent.snapshot.shrinking import find_shrinkage
from hostk8s_agent.snapshot.space import require_space
from hostk8s_agent.snapshot.taking import find_equal, take_snapshot
from hostk8s_agent.snapshot.verifying import Verification, Verifier, find_verified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.snapshot.model import Marks, SnapshotManifest
    from hostk8s_agent.snapshot.ports import Reached
    from hostk8s_agent.snapshot.progress import Progress
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.snapshot.requests import RestorePlan, RestoreRequest, Surroundings

log = structlog.get_logger()

# Event names.
CREATED = "snapshot.created"
RESTORED = "snapshot.restored"
RECOVERED = "snapshot.recovered"


class SnapshotService:
    """Every call may come from any thread. What changes something takes the repository's lock, and waits for it.

    `on_created` is called with each new snapshot, under the lock: retention and whoever tells people hang there.
    """

    def __init__(
        self,
        repository: Repository,
        surroundings: Surroundings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.repository = repository
        self.on_created: list[Callable[[SnapshotManifest], None]] = []
        self._surroundings = surroundings
        self._clock = clock
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have all work that is under way undone, in whatever thread: it raises `SnapshotStoppedError` from now on."""
        self._stopping.set()
        self.repository.engine.stop()

    def wait_until_idle(self, wait_seconds: float) -> bool:
        """Wait for the end of what changes something; return whether it has come."""
        return self.repository.lock.wait_until_free(wait_seconds)

    def build_meter(self, on_progress: Callable[[Progress], None] = ignore) -> Meter:
        """Return a meter that ends the work when the service stops."""
        return Meter(on_progress, is_stopping=self._stopping.is_set)

    # Looking

    def list(self, stack: str | None = None) -> tuple[tuple[SnapshotManifest, ...], tuple[Problem, ...]]:
        """Return the snapshots (of a stack), the oldest first, and what is wrong with manifests."""
        self.repository.require_known()
        manifests, problems = self.repository.load_all()
        return tuple(one for one in manifests if stack in (None, one.stack)), problems

    def select(self, which: str, stack: str | None = None) -> SnapshotManifest:
        """Return the one snapshot that is meant. Raises `SnapshotUnknownError` or `SnapshotAmbiguousError`.

        An id whose manifest cannot be trusted raises what is wrong with it.
        """
        return find_snapshot(self.repository, which, stack, self._clock())

    def require_contract(self, stack: str) -> None:
        """Raise what says why no snapshot of the stack can be taken, as far as its contract tells."""
        self._surroundings.load_contract(stack)

    # Changing

    def create(self, request: CreateRequest, *, on_progress: Callable[[Progress], None] = ignore) -> SnapshotManifest:
        """Take a snapshot, read it back, and return it with what is known of it then."""
        meter = self.build_meter(on_progress)
        meter.begin("waiting")
        with self._held(f"create a snapshot of {request.stack}"):
            self.repository.prepare()
            expect_work(self.repository)
            self.repository.sweep()
            former, _ = self.repository.load_all()
            snapshot = take_snapshot(self._surroundings, self.repository, request, former, self._clock(), meter)
            if request.orphan is not None and (equal := find_equal(snapshot, former)) is not None:
                return equal
            self.repository.add(snapshot)
            verifier = Verifier(self.repository, self._clock, verified=find_verified(former), meter=meter)
            verifier.expect([snapshot])
            snapshot = verifier.verify(snapshot).snapshot
            snapshot = self._suspect_shrinkage(snapshot, former)
            log.info(CREATED, stack=snapshot.stack, snapshot=snapshot.id, state=snapshot.state.value)
            for listener in self.on_created:
                listener(snapshot)
            if request.reached is None:
                # Else somebody holds the stack at rest meanwhile, and sees to it afterwards.
                send_manifests(self.repository)
        if snapshot.state is SnapshotState.DAMAGED:
            raise SnapshotDamagedError(
                f"the snapshot {snapshot.id} could not be read back: {snapshot.marks.reason}",
                hint="look at the disk that the repository lies on, then take another one",
            )
        return snapshot

    def verify(
        self, ids: Sequence[str] | None = None, *, on_progress: Callable[[Progress], None] = ignore
    ) -> tuple[tuple[Verification, ...], tuple[Problem, ...]]:
        """Read snapshots (None: all) back; return what came of each, and what is wrong with manifests."""
        meter = self.build_meter(on_progress)
        meter.begin("waiting")
        with self._held("verify snapshots"):
            manifests, problems = self.list()
            chosen = manifests if ids is None else tuple(self.select(one) for one in ids)
            verifier = Verifier(self.repository, self._clock, meter=meter)
            verifier.expect(chosen)
            verified = tuple(verifier.verify(one) for one in chosen)
            send_manifests(self.repository)
            return verified, problems if ids is None else ()

    def forget(self, snapshot_id: str) -> str:
        """Remove a snapshot, and the archives that no other one has; return its id. Raises `SnapshotPinnedError`."""
        with self._held(f"forget {snapshot_id}"):
            # One whose manifest cannot be trusted, or is gone, is forgotten by its whole id.
            if snapshot_id not in self.repository.known_ids():
                snapshot_id = self.select(snapshot_id).id
            require_unpinned(self.list()[0], snapshot_id)
            self.repository.remove(snapshot_id)
            self.repository.sweep()
            send_manifests(self.repository, is_asked=True)
            return snapshot_id

    def expire(
        self,
        stack: str,
        choose: Callable[[Sequence[SnapshotManifest], Sequence[Problem]], Sequence[SnapshotManifest]],
    ) -> Sequence[SnapshotManifest]:
        """Remove those of a stack's snapshots that `choose` returns, given all and what is wrong; return them."""
        with self._held(f"let snapshots of {stack} expire"):
            chosen = choose(*self.list(stack))
            for one in chosen:
                self.repository.remove(one.id)
            if chosen:
                self.repository.sweep()
            return chosen

    def tidy(self) -> None:
        """Do what was left to do, if it is time: what may take long, and is asked for daily."""
        with self._held("tidy the repository up"):
            self.repository.tidy()
        left = 1
        while left:
            # So many at a time: whoever waits for the lock comes in between.
            with self._held("send manifests"):
                left = send_manifests(self.repository, is_asked=True)

    def recover_manifests(self, origin: str = "", *, on_progress: Callable[[Progress], None] = ignore) -> Recovery:
        """Bring back the manifests that this place (or `origin`) has sent elsewhere and that are not here."""
        meter = self.build_meter(on_progress)
        meter.begin("waiting")
        with self._held("recover manifests"):
            self.repository.prepare()
            meter.begin("recovering")
            return recover_manifests(self.repository, meter, origin=origin)

    def pin(self, which: str, *, is_pinned: bool) -> SnapshotManifest:
        """Let a snapshot never expire, or expire again."""
        with self._held(f"pin {which}"):
            return self._mark(self.select(which), lambda marks: replace(marks, is_pinned=is_pinned))

    def accept(self, which: str) -> SnapshotManifest:
        """Take a suspect snapshot for good: a person has looked, and it is meant to be that small."""
        with self._held(f"accept {which}"):
            snapshot = self.select(which)
            if snapshot.state is not SnapshotState.SUSPECT:
                return snapshot
            return self._mark(snapshot, lambda marks: replace(marks, state=SnapshotState.GOOD, reason=""))

    # Restoring

    def plan_restore(self, request: RestoreRequest) -> RestorePlan:
        """Return what a restore would do. Raises what would stop it before anything was changed."""
        snapshot = select_for_restore(self.repository, request, self._clock())
        self._surroundings.volume()
        contract = load_target(self._surroundings, request.target or snapshot.stack)
        users = self._surroundings.find_users(contract)
        plan = plan_restore(self.repository, snapshot, request, contract, users)
        if not users or not request.stop:
            return plan
        return replace(plan, stops=self._surroundings.stopper.explain(contract, request.stop, is_part=plan.is_part))

    def restore(self, request: RestoreRequest, *, on_progress: Callable[[Progress], None] = ignore) -> RestoreOutcome:
        """Replace the stack's directories by the snapshot's, after a snapshot of what is there now."""
        meter = self.build_meter(on_progress)
        meter.begin("waiting")
        with self._held(f"restore {request.stack}"):
            self.recover()
            plan = self.plan_restore(request)
            if plan.users and not request.stop:
                raise TargetInUseError(
                    f"{plan.target} is in use by {', '.join(plan.users)}",
                    hint="restore with --scale-down, which stops these pods meanwhile, or with --in-use, which has "
                    "their containers started anew",
                )
            access = self._surroundings.volume()
            require_replaceable(access, plan.replacements)
            require_space(access, plan.replacements)
            restorer = Restorer(access, self.repository, on_progress=meter.advance)
            meter.begin("restoring", sum(one.taken.byte_count for one in plan.replacements))
            staged = restorer.stage(plan.target, plan.replacements)
            stop = request.stop if plan.users else ""
            try:
                with self._surroundings.stopper.stopped(plan.contract, stop, is_part=plan.is_part) as stopped:
                    # As late as can be, so that it has all that was written until then.
                    safety = self._take_safety_snapshot(plan, stopped.require if stop else None, on_progress)
                    # The last moment at which a stop, or Ctrl-C, leaves everything as it is.
                    meter.begin("swapping")
                    stopped.hold()
                    restorer.swap(staged, plan.replacements)
                    stopped.release()
            finally:
                # What was swapped has gone with the swap; what failed in it is finished from its journal.
                restorer.discard_unless_swapping(staged)
                if not RestoreJournals(self.repository).has_any():
                    self._let_go_on()
            send_manifests(self.repository)
            log.info(RESTORED, stack=plan.target, snapshot=plan.snapshot.id, safety=safety.id if safety else "")
            return RestoreOutcome(plan, safety, tuple(stopped.notes))

    def recover(self, *, lock_wait_seconds: float | None = None) -> None:
        """Finish what was interrupted: at each start, when the volume can be reached again, and before each restore."""
        is_left = RestoreJournals(self.repository).has_any() or self._surroundings.stopper.has_left()
        if not self.repository.require_known() or not is_left:
            return
        with self._held("finish an interrupted restore", lock_wait_seconds):
            if RestoreJournals(self.repository).has_any():
                for words in Restorer(self._surroundings.volume(), self.repository).recover():
                    log.warning(RECOVERED, outcome=words)
            self._let_go_on()

    # Parts

    def _let_go_on(self) -> None:
        """Only when no swap is under way: pods that start earlier would have the old trees."""
        for words in self._surroundings.stopper.recover():
            log.warning(RECOVERED, outcome=words)

    def _held(self, purpose: str, wait_seconds: float | None = None) -> AbstractContextManager[None]:
        make_folder(self.repository.folder)
        seconds = self._surroundings.lock_wait_seconds if wait_seconds is None else wait_seconds
        return self.repository.lock.held(purpose, wait_seconds=seconds, is_stopping=self._stopping.is_set)

    def _suspect_shrinkage(self, snapshot: SnapshotManifest, former: Sequence[SnapshotManifest]) -> SnapshotManifest:
        """Hold a snapshot for suspect that is far smaller than the good one before it."""
        reason = find_shrinkage(snapshot, [one for one in former if one.stack == snapshot.stack])
        if not reason or snapshot.state is not SnapshotState.GOOD:
            return snapshot
        return self._mark(snapshot, lambda marks: replace(marks, state=SnapshotState.SUSPECT, reason=reason))

    def _mark(self, snapshot: SnapshotManifest, change: Callable[[Marks], Marks]) -> SnapshotManifest:
        marks = change(snapshot.marks)
        self.repository.mark(snapshot.id, marks)
        return replace(snapshot, marks=marks)

    def _take_safety_snapshot(
        self, plan: RestorePlan, reached: Callable[[], Reached] | None, on_progress: Callable[[Progress], None]
    ) -> SnapshotManifest | None:
        try:
            return self.create(build_safety_request(plan, reached), on_progress=on_progress)
        except DirectoryMissingError:
            return None

"""The composition root: the module that puts the rooms together to one workspace's agent.

`running` starts and stops one.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent import __version__
from hostk8s_agent.connections import ConnectionReports, Connections, find_past_where
from hostk8s_agent.control.errors import UnknownStackError
from hostk8s_agent.metrics.collecting import Sources
from hostk8s_agent.metrics.exposition import AgentMetrics
from hostk8s_agent.notification.channels import build_channels
from hostk8s_agent.notification.service import Notifications
from hostk8s_agent.reconcile.care import CareSources, VolumeCare
from hostk8s_agent.reconcile.contracts import ContractBook
from hostk8s_agent.reconcile.controller import Controller
from hostk8s_agent.reconcile.drift import DriftLedger, Memory
from hostk8s_agent.reconcile.holdings import Holdings
from hostk8s_agent.reconcile.interest import InterestIndex
from hostk8s_agent.reconcile.inventory import Inventory
from hostk8s_agent.reconcile.lifecycle import build_lifecycle
from hostk8s_agent.reconcile.measuring import UsageMeter
from hostk8s_agent.reconcile.pruning import FACT_FOLDER
from hostk8s_agent.reconcile.pruning_terms import Grounds, PruneReports
from hostk8s_agent.reconcile.recording import Recorder
from hostk8s_agent.reconcile.stack import Backends, Reports, StackReconciler
from hostk8s_agent.service.heartbeats import VitalSigns
from hostk8s_agent.snapshot.caretaking import KeptFacts
from hostk8s_agent.snapshots import AgentSnapshots
from hostk8s_agent.status.board import StatusBoard, render_time
from hostk8s_agent.status.model import AgentInfo, AgentPhase, AgentStatus, StackStatus
from hostk8s_agent.status.records import Records, find_holders
from hostk8s_agent.status.unseen import describe_unseen
from hostk8s_agent.watch.scan import ScanResult, scan_contract_files
from hostk8s_agent.watch.watcher import ContractWatcher
from hostk8s_agent.workspace import Workspace, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.actions import Plan
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.status.orphans import Danger, Secured

log = structlog.get_logger()

POLL_SECONDS = 0.02


class Agent:
    """The parts of one workspace's agent. `start` and `stop` once each; the rest from any thread."""

    def __init__(self, workspace: Workspace, settings: Settings, *, only_plans: bool = False) -> None:
        self._workspace = workspace
        self._started_at = render_time(time.time())
        self._phase: AgentPhase = "Starting"
        self._stopping = threading.Event()
        self._scanned = threading.Event()
        records = Records(state_folder(workspace), is_kept=not only_plans)
        if records.damage:
            log.warning("records.damaged", reason=records.damage)
        self._remembered, facts = records.load_stacks(), records.load_facts()
        self._recorder = Recorder(records)
        self._interest = InterestIndex()
        self.inventory = Inventory(records.load_inventory(), self._recorder.record_inventory)
        self._connections = Connections(
            workspace,
            settings,
            facts,
            ConnectionReports(self._on_connection, self._on_object, self._recorder.record_fact, self._wake_all),
            may_create_volume=not only_plans,
        )
        history = records.load_history()
        told = (self._recorder.record_event, self._connections.tell_event)
        self._board = StatusBoard(past=history.events, last_sequence=history.last_sequence, listeners=told)
        self.stack_status, self.history = self._board.stack, self._board.history
        self.events_after, self.wait_for_change = self._board.events_after, self._board.wait_for_change
        asked = self._connections.request_counts, self._connections.watch_restarts
        self._metrics = AgentMetrics(Sources(self.status, lambda: self._controller.queue_depth, *asked))
        self.metrics = self._metrics.render
        self._book = ContractBook(
            workspace,
            last_good={name: record.contract for name, record in self._remembered.items() if record.contract},
            is_expected=lambda stack: self._watcher.is_expected(stack),  # noqa: PLW0108 - the watcher is made last
            holders=find_holders({name: record.status for name, record in self._remembered.items()}),
            claim=self._connections.ledger.claim,
        )
        self.lifecycle = build_lifecycle(
            workspace,
            settings,
            Grounds(
                self.inventory,
                self._book,
                self._connections.cluster,
                facts.get(FACT_FOLDER, ""),
                self._secure,
                self._connections.find_loss,
            ),
            PruneReports(self._enqueue, self._board.record_event, self._recorder.record_fact),
        )
        memory = Memory(self._remembered, find_past_where(facts))
        care = CareSources(self.inventory, self._book, self._connections, self._secure)
        self.care = VolumeCare(workspace, care, self._board.record_event, self._enqueue)
        self._reconciler = StackReconciler(
            workspace,
            self._book,
            Backends(self._connections.volume, self._connections.cluster, self._connections.mount),
            Reports(
                board=self._board,
                interest=self._interest,
                holdings=Holdings(facts, self._recorder.record_fact),
                drift=DriftLedger(workspace, self._board, self._connections.find_where, memory),
                on_recorded=self._recorder.record,
                on_forgotten=self._forget,
                on_affected=self._enqueue,
                on_planned=self._metrics.reconciles.planned,
                on_apply_failed=self._metrics.reconciles.apply_failed,
            ),
            self.lifecycle,
        )
        self._controller = Controller(
            self._reconciler.reconcile, workers=settings.workers, on_run=self._metrics.reconciles.run_ended
        )
        kept = KeptFacts(facts, self._recorder.record_fact)
        self.snapshots = AgentSnapshots(workspace, settings, self._book, self._connections, self._board, kept)
        self.snapshots.service.on_created.append(self._metrics.snapshots.created)
        channels, record = build_channels(settings), self._recorder.record_fact
        self.notifications = Notifications(settings, channels, workspace.root.name, self._board, facts, record)
        self._usage = UsageMeter(self._board, self._connections.volume, self.snapshots.find_last_good)
        self._watcher = ContractWatcher(
            workspace.stacks_root,
            on_stack=lambda stack: self._enqueue((stack,)),
            on_scan=self._on_scan,
            scan_interval_seconds=settings.scan_interval_seconds,
            backend=settings.watch_backend,
        )
        self.vital_signs = VitalSigns(
            self._scanned.is_set, self._watcher, self._connections, self._controller, self.snapshots.caretaker
        )
        self.settings_problems: Callable[[], tuple[Problem, ...]] = tuple
        self._resync = threading.Thread(None, self._repeat, "resync", (settings.resync_interval_seconds,), daemon=True)

    # Life

    def start(self) -> None:
        """Start everything. Docker, the cluster and the stacks folder may come before, after or never."""
        for part in (self._recorder, self._connections, self._watcher, self._resync, self._usage, self.snapshots):
            part.start()

    def stop(self) -> None:
        """Take no more work, finish what is under way, and let go of everything."""
        self._phase = "Stopping"
        self._stopping.set()
        for part in (self._watcher, self._usage, self.snapshots, self._controller, self.lifecycle.pruning):
            part.stop()
        self._connections.stop()
        if self._resync.is_alive():
            self._resync.join()
        self._recorder.release_sequences(self._board.last_sequence)
        self._recorder.stop()

    def wait_until_settled(self, timeout_seconds: float) -> bool:
        """Wait until everything was tried and nothing is about to change; return whether that came about."""
        deadline = time.monotonic() + timeout_seconds
        while not self._stopping.is_set():
            if self._is_settled():
                return True
            if time.monotonic() > deadline:
                return False
            self._stopping.wait(POLL_SECONDS)
        return False

    def plan_without_running(self, stack: str | None, timeout_seconds: float) -> tuple[Plan, ...]:
        """Connect, observe and plan; in place of `start`. Nothing is applied, because no worker ever runs."""
        self._connections.start()
        self._take_in(scan_contract_files(self._workspace.stacks_root))
        deadline = time.monotonic() + timeout_seconds
        while self._connections.is_connecting() and time.monotonic() < deadline:
            self._stopping.wait(POLL_SECONDS)
        return self.plan(stack)

    def _is_settled(self) -> bool:
        if (
            not self._scanned.is_set()
            or self._connections.is_connecting()
            or not (self.lifecycle.pruning.is_idle() and self._controller.is_idle())
        ):
            return False
        # What waits for Docker or the cluster gets no further now; what waits for one of its controllers does.
        return self._connections.is_away() or all(stack.state != "Pending" for stack in self._board.stacks())

    # What the control room asks

    def status(self) -> AgentStatus:
        """What is true now."""
        watch, stacks = self._watcher.state(), self._board.stacks()
        return AgentStatus(
            agent=AgentInfo(self._phase, __version__, os.getpid(), str(self._workspace.root), self._started_at),
            docker=self._connections.docker_status(),
            cluster=self._connections.cluster_status(),
            watch=watch.describe(),
            stacks=stacks,
            problems=(
                *self.settings_problems(),
                *self._connections.problems(),
                *map(self._workspace.shorten, (*watch.problems, *self.lifecycle.pruning.problems())),
                *self.snapshots.problems(),
                *self.notifications.problems(),
            ),
            snapshots=self.snapshots.status(),
            notifications=self.notifications.status(),
            left_behind=self.lifecycle.leftovers.find_left_behind({stack.name for stack in stacks}),
        )

    def request_reconcile(self, stacks: Sequence[str] | None, *, wait_seconds: float | None) -> tuple[StackStatus, ...]:
        """Run the stacks (None: all) now, and return their statuses, after the runs when told to wait for them."""
        known = {stack.name for stack in self._board.stacks()}
        wanted = sorted(known) if stacks is None else list(stacks)
        for name in wanted:
            if name not in known and not self._workspace.contract_path(name).exists():
                raise UnknownStackError(name, known)
        if wait_seconds is None:
            self._enqueue(wanted)
        else:
            self._controller.run_and_wait(wanted, wait_seconds)
        return tuple(filter(None, (self._board.stack(name) for name in wanted)))

    def plan(self, stack: str | None) -> tuple[Plan, ...]:
        """What a run of the stack (None: of each) would do now."""
        known = [one.name for one in self._board.stacks()]
        if stack is not None and stack not in known:
            raise UnknownStackError(stack, known)
        return tuple(self._reconciler.plan(name) for name in (known if stack is None else [stack]))

    @property
    def last_event_sequence(self) -> int:
        """The number of the newest event."""
        return self._board.last_sequence

    # What the rooms tell

    def _on_scan(self, scan: ScanResult) -> None:
        if self._scanned.is_set():
            self._enqueue(self._find_overlooked(scan))
            return
        self._take_in(scan)
        self._scanned.set()
        self._controller.start()
        self.lifecycle.pruning.start()
        self._controller.enqueue((stack.name for stack in self._board.stacks()), is_urgent=False)
        self._phase = "Running"
        log.info("agent.started", stacks=len(scan.files))

    def _find_overlooked(self, scan: ScanResult) -> list[str]:
        """Return the stacks that the board does not have, or has as going: what no event told is told here."""
        unknown = [name for name in scan.files if self._board.stack(name) is None]
        return unknown + [stack.name for stack in self._board.stacks() if stack.state == "Removing"]

    def _take_in(self, scan: ScanResult) -> None:
        """Know all contracts before the first is applied.

        Which of two stacks has a path must not depend on which worker was faster.
        """
        for stack in scan.files:
            self._book.load(stack)
        for stack in {*scan.files, *self._remembered, *self.inventory.stacks_with_objects()}:
            file = self._workspace.relative(self._workspace.contract_path(stack))
            self._board.update_stack(describe_unseen(stack, file, self._remembered.get(stack)))

    def _on_object(self, key: ObjectKey) -> None:
        # Behind what a person waits for: a cold start of a thousand stacks brings a change of phase for each volume.
        self._controller.enqueue(self._interest.stacks_of(key), is_urgent=False)

    def _on_connection(self, name: str, state: str) -> None:
        if (name, state) == ("docker", "Connected"):
            self.care.begin_recovery()
        self._board.record_event(f"{name}.state", state)
        self._wake_all()

    def _wake_all(self) -> None:
        self._controller.wake(stack.name for stack in self._board.stacks())

    def _secure(self, stack: str, path: str, danger: Danger, name: str = "") -> Secured:
        return self.snapshots.secure(stack, path, danger, name)

    def _enqueue(self, stacks: Iterable[str]) -> None:
        self._controller.enqueue(stacks)

    def _forget(self, stack: str) -> None:
        self._interest.forget(stack)
        self._recorder.forget(stack)

    def _repeat(self, interval_seconds: float) -> None:
        while not self._stopping.wait(interval_seconds):
            self._controller.enqueue((stack.name for stack in self._board.stacks()), is_urgent=False)

"""The snapshots of one workspace: the service with the real volume, the contracts and the repository's place."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.control.errors import RequestInvalidError, UnknownStackError
from hostk8s_agent.control.snapshot_answers import SnapshotAnswers
from hostk8s_agent.errors import AgentError, ContractError
from hostk8s_agent.snapshot.caretaking import CareSources, Caretaker, KeptFacts
from hostk8s_agent.snapshot.errors import SnapshotError
from hostk8s_agent.snapshot.expiring import Expiry
from hostk8s_agent.snapshot.memory import share_heaps
from hostk8s_agent.snapshot.model import SnapshotState
from hostk8s_agent.snapshot.opening import open_repository
from hostk8s_agent.snapshot.policies import find_stack_policy, load_default_policy
from hostk8s_agent.snapshot.protection import describe_protection, index_last_good
from hostk8s_agent.snapshot.quiescing import ClusterQuiescer
from hostk8s_agent.snapshot.requests import Surroundings, VolumeIdentity
from hostk8s_agent.snapshot.scaling import Scaler
from hostk8s_agent.snapshot.securing import Securing
from hostk8s_agent.snapshot.service import SnapshotService
from hostk8s_agent.snapshot.stopping import ClusterStopper
from hostk8s_agent.snapshot.users import find_users
from hostk8s_agent.status.model import SnapshotsStatus
from hostk8s_agent.watch.scan import scan_contract_files
from hostk8s_agent.workspace import data_folder, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.connections import Connections
    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.reconcile.contracts import ContractBook
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.policies import PolicyInForce
    from hostk8s_agent.status.board import StatusBoard
    from hostk8s_agent.status.model import DockerStatus
    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.nodes import ClusterNodes
    from hostk8s_agent.workspace import Workspace

LOOK_SECONDS = 5.0
SELDOM_SECONDS = 600.0
RECOVERY_SECONDS = 5.0
# Less than what the service managers leave for a stop (TimeoutStopSec=60, ExitTimeOut 60).
STOP_SECONDS = 40.0

# The agent's own requests wait for each other.
_AGENT_WAIT_SECONDS = 3600.0


class _Way(Protocol):
    """What leads to the volume: the agent's connections, or a command's."""

    def volume(self) -> VolumeAccess:
        """Return the way into the volume. Raises the `VolumeError` that says why there is none."""

    def docker_status(self) -> DockerStatus:
        """How Docker is."""

    def find_cluster(self) -> ClusterAccess | None:
        """Return the real cluster, None where there is none."""

    def nodes(self) -> ClusterNodes:
        """Return the cluster's nodes. Raises the `VolumeError` that says why there are none."""


def find_repository(workspace: Workspace, settings: Settings) -> Path:
    """Return where the workspace's snapshots are kept."""
    return settings.snapshot_repository or data_folder(workspace) / "snapshots"


def build_quiescer(workspace: Workspace, settings: Settings, connections: _Way) -> ClusterQuiescer:
    """Return what brings the workspace's pods to rest: one for all, because its lock keeps two rests apart."""
    return ClusterQuiescer(
        connections.find_cluster,
        connections.nodes,
        state_folder(workspace),
        deadline_seconds=settings.snapshot_freeze_seconds,
    )


def build_service(
    workspace: Workspace,
    settings: Settings,
    book: ContractBook,
    connections: _Way,
    quiescer: ClusterQuiescer,
    *,
    lock_wait_seconds: float = _AGENT_WAIT_SECONDS,
) -> SnapshotService:
    """Return the service of a workspace."""
    share_heaps()

    def load_contract(stack: str) -> tuple[Contract, bytes]:
        loaded = book.read(stack)
        if loaded.contract is not None:
            return loaded.contract, loaded.text
        if loaded.problems:
            raise ContractError(loaded.problems)
        raise UnknownStackError(stack, scan_contract_files(workspace.stacks_root).files)

    def identify_volume() -> VolumeIdentity:
        docker = connections.docker_status()
        return VolumeIdentity(docker.volume, docker.engine_id)

    def find_pods(contract: Contract) -> Sequence[str]:
        cluster = connections.find_cluster()
        try:
            users = find_users(cluster, contract.stack, contract.directories) if cluster else ()
        except AgentError as error:
            # Unreadable is never absent: a person has to say that no pod is there.
            return (f"pods that cannot be looked up now ({error.message})",)
        return tuple(one.name for one in users)

    stopper = ClusterStopper(
        connections.find_cluster, quiescer, Scaler(connections.find_cluster, state_folder(workspace))
    )
    surroundings = Surroundings(
        load_contract,
        connections.volume,
        identify_volume,
        quiescer=quiescer,
        stopper=stopper,
        find_users=find_pods,
        default_quiesce=Quiesce(settings.snapshot_quiesce),
        lock_wait_seconds=lock_wait_seconds,
    )
    return SnapshotService(open_repository(find_repository(workspace, settings), settings), surroundings)


class AgentSnapshots(SnapshotAnswers):
    """The snapshots of a running agent. `start` and `stop` once each; the rest from any thread."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        book: ContractBook,
        connections: Connections,
        board: StatusBoard,
        kept: KeptFacts,
    ) -> None:
        self._quiescer = build_quiescer(workspace, settings, connections)
        self.service = build_service(workspace, settings, book, connections, self._quiescer)
        default = load_default_policy(settings)
        expiry = Expiry(self.service, lambda stack: find_stack_policy(book.read(stack).contract, default))
        super().__init__(self.service, expiry)
        sources = CareSources(book.list_in_force, connections.volume, kept, board.record_event)
        self.caretaker = Caretaker(self.service, expiry, sources, settings, default)

        def find(stack: str) -> PolicyInForce:
            return find_stack_policy(book.read(stack).contract, default) or default

        self.secure = Securing(self.service, connections.volume, find)
        book.listeners.append(lambda _stack: self.caretaker.look_now())
        self._board = board
        self._connections = connections
        self._stopping = threading.Event()
        self._recovery = threading.Thread(target=self._recover, name="snapshot-recovery", daemon=True)
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._seen: tuple[tuple[SnapshotManifest, ...], int] = ((), 0)
        self._last_good: dict[tuple[str, str], datetime] = {}
        self.service.on_created.append(self._tell)

    def start(self) -> None:
        """Finish what a crash has interrupted, once the volume can be reached."""
        self._recovery.start()
        self.caretaker.start()

    def stop(self) -> None:
        """Take up nothing more, and have what is under way undone: it is due again at the next start."""
        self._stopping.set()
        self.service.stop()
        self.caretaker.stop()
        if self._recovery.is_alive():
            self._recovery.join()
        # What a person has asked for runs in a thread that nobody else waits for.
        self.service.wait_until_idle(STOP_SECONDS)

    def answer(
        self, verb: str, fields: Mapping[str, Any], on_progress: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Do what a verb asks for, and write down what came of it: whoever asked may be gone by then."""
        stack = str(fields.get("stack", ""))
        try:
            answer = super().answer(verb, fields, on_progress)
        except AgentError as error:
            # A slip in a request is told to whoever made it: nothing has happened to the workspace.
            if verb in ("create", "restore") and not isinstance(error, (UnknownStackError, RequestInvalidError)):
                self._board.record_event(f"snapshot.{verb}_failed", error.message, stack, is_warning=True)
            raise
        if verb == "restore":
            plan = answer["plan"]
            self._board.record_event(
                "snapshot.restored", f"it is what it was in {plan['snapshot']['id']}", plan["target"]
            )
        return answer

    def problems(self) -> tuple[Problem, ...]:
        """What a person should know: suspect and damaged snapshots, and drills that failed."""
        return self.caretaker.list_problems(self._look()[0])

    def status(self) -> SnapshotsStatus:
        """What is true of the snapshots, as of some seconds ago at most."""
        snapshots, size_bytes = self._look()
        now, due = datetime.now(UTC), self.caretaker.list_due()
        engine = self._connections.docker_status().engine_id
        of_stack: dict[str, list[SnapshotManifest]] = {}
        for one in snapshots:
            of_stack.setdefault(one.stack, []).append(one)
        protections = [
            protection
            for stack in self._board.stacks()
            for protection in describe_protection(
                stack.name,
                stack.directories,
                of_stack.get(stack.name, ()),
                due.get(stack.name),
                now,
                engine=engine,
            )
        ]
        drills = self.caretaker.list_drills()
        repository = self.service.repository
        return SnapshotsStatus(
            str(repository.folder), size_bytes, tuple(protections), drills, repository.engine.address
        )

    def find_last_good(self, stack: str, directory: str) -> datetime | None:
        """When the last good snapshot of a directory was taken, for whoever looks all the time: minutes old at most."""
        self._look(SELDOM_SECONDS)
        return self._last_good.get((stack, directory))

    def _look(self, max_age_seconds: float = LOOK_SECONDS) -> tuple[tuple[SnapshotManifest, ...], int]:
        with self._lock:
            if time.monotonic() - self._looked_at > max_age_seconds or not self._looked_at:
                with suppress(SnapshotError):
                    self._seen = self.service.list()[0], self.service.repository.measure()
                    self._last_good = index_last_good(self._seen[0])
                self._looked_at = time.monotonic()
            return self._seen

    def _tell(self, snapshot: SnapshotManifest) -> None:
        self._looked_at = 0.0
        words = f"{snapshot.id}: {snapshot.state.value}, {snapshot.files} files, {snapshot.byte_count} bytes"
        self._board.record_event("snapshot.created", words, snapshot.stack)
        if snapshot.state is SnapshotState.SUSPECT:
            words = f"{snapshot.id}: {snapshot.marks.reason}"
            self._board.record_event("snapshot.suspect", words, snapshot.stack, is_warning=True)

    def _recover(self) -> None:
        """Wake what was left at rest and end restores that were interrupted: by a crash, or by an engine that went."""
        while True:
            with suppress(AgentError):
                self._quiescer.wake_leftovers()
                # Not behind a restore that is under way: its journal is there as well.
                self.service.recover(lock_wait_seconds=0)
            # For good: what could not be done now is done when the node, or the volume, can be reached again.
            if self._stopping.wait(RECOVERY_SECONDS):
                return

"""What the control room's tests share: a workspace of their own, and an agent that holds real status values."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.control.app import UnknownStackError
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import ApplyObject, BlockedAction, ChangeDirectory, CreateDirectory, Drift, Plan
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.pruning import Leftover, Verdict
from hostk8s_agent.reconcile.pruning_terms import PrunePreview
from hostk8s_agent.reconcile.refusals import NotAnOrphanError
from hostk8s_agent.status.board import Event, StatusBoard
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryStatus,
    DockerStatus,
    StackStatus,
    VolumeStatus,
    WatchStatus,
)
from hostk8s_agent.status.orphans import Orphan, PathHolder, Purged, Secured, TrashedDirectory
from hostk8s_agent.volume.errors import NotInTrashError
from hostk8s_agent.workspace import Workspace, runtime_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READY = StackStatus(
    name="foundation/airflow",
    file="software/stacks/foundation/airflow/hostk8s.storage.yaml",
    state="Ready",
    message="1 directory, 1 volume, 1 bound",
    last_reconciled_at="2025-01-31T08:00:00.000Z",
    directories=(DirectoryStatus("logs", "/mnt/pv/airflow/logs", "50000:0", "775", "Ready"),),
    volumes=(
        VolumeStatus(
            "hostk8s-foundation-airflow-logs-pv",
            "logs",
            "Bound",
            "airflow-storage",
            "5Gi",
            "airflow/airflow-logs",
            "Ready",
        ),
    ),
)
BLOCKED = StackStatus(
    name="sample",
    file="software/stacks/sample/hostk8s.storage.yaml",
    state="Blocked",
    message="the path /mnt/pv/airflow/logs is foundation/airflow's",
    last_reconciled_at="2025-01-31T08:00:01.000Z",
    directories=(DirectoryStatus("logs", "/mnt/pv/airflow/logs", "1000:1000", "755", "Blocked"),),
    volumes=(VolumeStatus("hostk8s-sample-logs-pv", "logs", "", "manual", "1Gi", "", "Pending"),),
    problems=(
        Problem(
            "PathConflict",
            "the path /mnt/pv/airflow/logs is foundation/airflow's",
            "choose another path",
            "software/stacks/sample/hostk8s.storage.yaml",
            9,
            13,
        ),
    ),
)
PLAN = Plan(
    "sample",
    directories=(
        CreateDirectory("/mnt/pv/sample", 1000, 1000, 0o755, "it does not exist"),
        ChangeDirectory(
            "/mnt/pv/old",
            1,
            2,
            0o700,
            changes_owner=True,
            changes_mode=False,
            reason="its owner differs",
            drift=(Drift("owner", "1:2", "0:0"),),
        ),
    ),
    objects=(
        ApplyObject(
            ObjectKey("PersistentVolume", "hostk8s-sample-logs-pv"),
            {},
            "its size differs",
            (Drift("spec.capacity.storage", "2Gi", "1Gi", "kubectl"),),
        ),
    ),
    blocked=(BlockedAction("/mnt/pv/file", Problem("DirectoryObstructed", "a file is there", "move it away")),),
)


ORPHAN = Orphan("/mnt/pv/old/data", "old", "2025-01-31T08:00:00.000Z", "2025-01-30T08:00:00.000Z", 1536, 3)
TRASHED = TrashedDirectory("20250131-080000-abc123", "/mnt/pv/old/data", "old", "2025-01-31T09:00:00.000Z", 1536, 3)


@dataclass
class FakeCare:
    """A volume with one orphan, which moves between its place and the trash."""

    orphaned: tuple[Orphan, ...] = (ORPHAN,)
    trashed: tuple[TrashedDirectory, ...] = ()
    is_lost: bool = False

    def orphans(self) -> tuple[Orphan, ...]:
        return self.orphaned

    def trash(self) -> tuple[TrashedDirectory, ...]:
        return self.trashed

    def purge(self, path: str, *, without_snapshot: bool = False) -> Purged:
        if path != ORPHAN.path or not self.orphaned:
            raise NotAnOrphanError(f"{path} is left", hint="see which ones there are: hostk8s-agent orphans")
        self.orphaned, self.trashed = (), (TRASHED,)
        return Purged(TRASHED, Secured(reason="none was asked for") if without_snapshot else Secured("a-snapshot"))

    def undo(self, path: str) -> TrashedDirectory:
        if path != TRASHED.path or not self.trashed:
            raise NotInTrashError(f"nothing in the trash came from {path}", hint="see what is there")
        self.orphaned, self.trashed = (ORPHAN,), ()
        return TRASHED

    def empty_trash(self) -> tuple[TrashedDirectory, ...]:
        deleted, self.trashed = self.trashed, ()
        return deleted

    def holders(self) -> tuple[PathHolder, ...]:
        return (PathHolder("/home/ada/hostk8s", "pc", "hostk8s", "", is_silent=False, paths=("/mnt/pv/a",)),)

    def take_over(self, path: str) -> tuple[str, ...]:
        return ("/home/ada/other",) if path == "/mnt/pv/held" else ()

    def accept_volume_loss(self) -> bool:
        was_lost, self.is_lost = self.is_lost, False
        return was_lost


LEFT = Verdict(
    Leftover("old", ObjectKey("PersistentVolume", "hostk8s-old-one-pv"), "1"),
    "held",
    Problem("VolumeInUse", "the claim old/one holds it", "delete the claim"),
)


@dataclass
class FakeLifecycle:
    """What outlives the contracts: one volume that is held, and a volume that is released as it is asked."""

    confirmed: int = 0
    released: list[tuple[str, str]] = field(default_factory=list)

    def preview_pruning(self) -> PrunePreview:
        brake = Problem("PruneBrake", "more than half", "hostk8s-agent prune --confirm")
        return PrunePreview(((LEFT, LEFT.problem, 0.0),), None if self.confirmed else brake)

    def confirm_pruning(self) -> PrunePreview:
        self.confirmed += 1
        return self.preview_pruning()

    def release_volume(self, volume: str, claim: str) -> str:
        self.released.append((volume, claim))
        return f"{volume} is reserved for {claim}"


@dataclass
class FakeAgent:
    """The agent's place, taken by a real board and plain answers. `gate` holds up a reconcile that is waited for."""

    workspace: Workspace
    board: StatusBoard = field(default_factory=StatusBoard)
    phase: str = "Running"
    plans: tuple[Plan, ...] = (PLAN,)
    lifecycle: FakeLifecycle = field(default_factory=FakeLifecycle)
    gate: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[tuple[str, ...] | None, float | None]] = field(default_factory=list)
    problems: tuple[Problem, ...] = ()
    failure: Exception | None = None
    care: FakeCare = field(default_factory=FakeCare)
    snapshots: Any = None
    notifications: Any = None

    def status(self) -> AgentStatus:
        if self.failure is not None:
            raise self.failure
        return AgentStatus(
            AgentInfo(self.phase, "0.1.0", 4711, str(self.workspace.root), "2025-01-31T07:59:00.000Z"),  # type: ignore[arg-type]
            DockerStatus("Connected", "unix:///var/run/docker.sock", "hostk8s-pv-data", "helper-container"),
            ClusterStatus("Connected", "kind-hostk8s", "https://127.0.0.1:6443", "0f6f4c6e"),
            WatchStatus("inotify", (str(self.workspace.stacks_root),), "2025-01-31T08:00:00.000Z"),
            self.board.stacks(),
            self.problems,
        )

    def stack_status(self, name: str) -> StackStatus | None:
        return self.board.stack(name)

    def request_reconcile(self, stacks: Sequence[str] | None, *, wait_seconds: float | None) -> tuple[StackStatus, ...]:
        names = [stack.name for stack in self.board.stacks()]
        for name in stacks or ():
            if name not in names:
                raise UnknownStackError(name, names)
        self.requests.append((None if stacks is None else tuple(stacks), wait_seconds))
        if wait_seconds is not None:
            self.gate.wait(wait_seconds)
        return tuple(stack for stack in self.board.stacks() if stacks is None or stack.name in stacks)

    def plan(self, stack: str | None) -> tuple[Plan, ...]:
        names = [stack.name for stack in self.board.stacks()]
        if stack is not None and stack not in names:
            raise UnknownStackError(stack, names)
        return tuple(plan for plan in self.plans if stack is None or plan.stack == stack)

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        return self.board.events_after(sequence, timeout_seconds)

    def wait_for_change(self, revision: int, timeout_seconds: float) -> int:
        return self.board.wait_for_change(revision, timeout_seconds)

    def metrics(self) -> bytes:
        return b"hostk8s_stacks 2\n"

    def history(self) -> tuple[Event, ...]:
        return self.board.history()

    @property
    def last_event_sequence(self) -> int:
        return self.board.last_sequence

    def show_many(self, number: int) -> None:
        """Show that many stacks, each like the ready one."""
        for index in range(number):
            self.board.update_stack(replace(READY, name=f"stack-{index:04}"))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder of our own (a socket's path holds 107 bytes), with the XDG folders of the environment in it."""
    folder = Path(tempfile.mkdtemp(prefix="hk-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    (folder / "run").mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def workspace(place: Path) -> Workspace:
    """An empty workspace."""
    root = place / "ws"
    (root / "software/stacks").mkdir(parents=True)
    return Workspace(root.resolve())


@pytest.fixture
def agent(workspace: Workspace) -> FakeAgent:
    """An agent that shows one ready and one blocked stack."""
    fake = FakeAgent(workspace)
    fake.board.update_stack(READY)
    fake.board.update_stack(BLOCKED)
    return fake


@pytest.fixture
def socket_path(workspace: Workspace) -> Path:
    """Where the agent of the workspace listens."""
    return runtime_folders(workspace)[0] / "agent.sock"


@pytest.fixture
def server(agent: FakeAgent, socket_path: Path) -> Iterator[ControlServer]:
    """The agent's control server, running."""
    running = ControlServer(agent, socket_path)
    running.start()
    yield running
    agent.gate.set()
    running.stop()


@pytest.fixture
def client(server: ControlServer, workspace: Workspace) -> ControlClient:
    """A client of the running server."""
    assert server.place.exists()
    return ControlClient(workspace)

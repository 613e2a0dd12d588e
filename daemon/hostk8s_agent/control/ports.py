"""What the control room asks of the agent: the only thing that it knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hostk8s_agent.plan.actions import Plan
    from hostk8s_agent.reconcile.pruning_terms import PrunePreview
    from hostk8s_agent.status.board import Event
    from hostk8s_agent.status.model import AgentStatus, NotificationChannelStatus, StackStatus
    from hostk8s_agent.status.orphans import Orphan, PathHolder, Purged, TrashedDirectory


class LifecycleControl(Protocol):
    """What a person may ask about what outlives a contract. Every call may come from any thread."""

    def preview_pruning(self) -> PrunePreview:
        """Return what pruning has before it, and change nothing. Raises a `ClusterError`."""

    def confirm_pruning(self) -> PrunePreview:
        """Let everything that no contract asks for now be pruned, however much it is; return what that is."""

    def release_volume(self, volume: str, claim: str) -> str:
        """Make a volume bindable for the claim `namespace/name`; return what was done, in a sentence.

        Raises the `AgentError` that says why not.
        """


class Telling(Protocol):
    """Whoever tells somebody of what goes wrong."""

    def test(self) -> tuple[NotificationChannelStatus, ...]:
        """Tell by every channel that this is a test, and return how that went. Takes up to 40 s."""


class ControlledAgent(Protocol):
    """The agent, as its control socket sees it. Every call may come from any thread."""

    @property
    def lifecycle(self) -> LifecycleControl:
        """Return what outlives the contracts."""

    def status(self) -> AgentStatus:
        """Return what is true now. Quick: takes no lock for long and asks nobody."""

    def stack_status(self, name: str) -> StackStatus | None:
        """Return one stack's status, None when there is no such stack."""

    def request_reconcile(self, stacks: Sequence[str] | None, *, wait_seconds: float | None) -> tuple[StackStatus, ...]:
        """Reconcile the stacks (None: all) now; wait for the runs that long, or not at all when None.

        Return the stacks' statuses as they are then. Raises `UnknownStackError`.
        """

    def plan(self, stack: str | None) -> tuple[Plan, ...]:
        """Return what a run of the stack (None: of each) would do. Raises `UnknownStackError`."""

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        """Return the events after `sequence`, waiting for at least one up to the timeout; empty when none came."""

    def history(self) -> tuple[Event, ...]:
        """Return the events that are kept, of earlier agents too, oldest first."""

    @property
    def last_event_sequence(self) -> int:
        """The number of the newest event, 0 when there is none."""

    def wait_for_change(self, revision: int, timeout_seconds: float) -> int:
        """Return the number of the newest change of a stack or event, waiting up to the timeout for one after it."""

    @property
    def care(self) -> StorageCare:
        """What a person can have done with the volume."""

    @property
    def notifications(self) -> Telling:
        """What tells somebody."""

    @property
    def snapshots(self) -> Snapshots:
        """What answers for snapshots."""

    def metrics(self) -> bytes:
        """Return the figures in Prometheus' text format."""


class Snapshots(Protocol):
    """What is asked of snapshots, as documents. `is_agents`: a process of its own does it, which a command outlives."""

    is_agents: bool

    def list(self, stack: str | None) -> dict[str, Any]:
        """Return the snapshots (None: of all stacks), the oldest first."""

    def answer(
        self, verb: str, fields: Mapping[str, Any], on_progress: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Do what a verb asks for, however long it takes; `on_progress` is told how far it is now and then."""


class DashboardLinks(Protocol):
    """Whoever opens the dashboard to people."""

    def create_link(self) -> str:
        """Return a link that opens the dashboard once, within minutes. Raises the `AgentError` that says why not."""


class StorageCare(Protocol):
    """What a person can have done with the volume. A call may take seconds, and raises the `AgentError` of why not."""

    def orphans(self) -> tuple[Orphan, ...]:
        """Return the directories that no contract asks for any more."""

    def trash(self) -> tuple[TrashedDirectory, ...]:
        """Return what is in the trash, the oldest first."""

    def purge(self, path: str, *, without_snapshot: bool = False) -> Purged:
        """Move an orphaned directory into the trash, after a snapshot of it."""

    def undo(self, path: str) -> TrashedDirectory:
        """Bring back what was purged from a path."""

    def empty_trash(self) -> tuple[TrashedDirectory, ...]:
        """Delete what is in the trash for good, and return it."""

    def holders(self) -> tuple[PathHolder, ...]:
        """Return the workspaces that hold paths of the volume, this one first."""

    def take_over(self, path: str) -> tuple[str, ...]:
        """Take a path from the workspaces that hold it, all of them silent; return where they are."""

    def accept_volume_loss(self) -> bool:
        """Begin anew in place of a lost volume; return whether there was a loss."""

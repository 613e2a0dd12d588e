"""What outlives a contract: the part of a stack's run that is about what its contract does not ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.reconcile.leftovers import Leftovers
from hostk8s_agent.reconcile.pruning import Pruning
from hostk8s_agent.reconcile.pruning_terms import PruneOptions
from hostk8s_agent.reconcile.releasing import Releasing
from hostk8s_agent.status.leftovers import LeftoverFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.pruning import Leftover, Verdict
    from hostk8s_agent.reconcile.pruning_terms import Grounds, PrunePreview, PruneReports
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The leftovers of all stacks and their pruning; whether and how a Released volume is made bindable again.

    `find_loss` returns the problem of a lost volume, None while it is there.
    """

    leftovers: Leftovers
    pruning: Pruning
    releasing: Releasing
    may_release: bool = True
    find_loss: Callable[[], Problem | None] = lambda: None

    def preview_pruning(self) -> PrunePreview:
        """Return what pruning has before it, and change nothing. Raises a `ClusterError`."""
        return self.pruning.preview()

    def confirm_pruning(self) -> PrunePreview:
        """Let everything that no contract asks for now be pruned, however much it is; return what that is."""
        return self.pruning.confirm()

    def release_volume(self, volume: str, claim: str) -> str:
        """Make a volume bindable for the claim `namespace/name`; return what was done, in a sentence."""
        return self.releasing.release(volume, claim)

    def judge(self, stack: str, left: Sequence[Leftover], find_access: Callable[[], ClusterAccess]) -> LeftoverFacts:
        """Find out what is left of what the stack has beyond its contract, and have it pruned in its time.

        Raises a `ClusterError` when there is something and nothing can be observed.
        """
        verdicts: tuple[Verdict, ...] = ()
        if left:
            access = find_access()
            observed = access.observe_objects(stack, [one.key for one in left])
            verdicts = self.leftovers.judge(left, observed, access)
        staying = tuple(one for one in verdicts if one.state != "gone")
        if staying:
            self.pruning.consider()
        else:
            self.leftovers.release_paths(stack)
        free = [one.leftover.key for one in staying if one.state == "free"]
        holds = {key: hold for key in free if (hold := self.pruning.find_hold(key)) is not None}
        return LeftoverFacts(staying, holds, self.pruning.grace_seconds)


def build_lifecycle(workspace: Workspace, settings: Settings, grounds: Grounds, reports: PruneReports) -> Lifecycle:
    """Put the leftovers and their pruning together, as the settings say.

    What the contracts in force at the last stop asked for is taken for applied.
    """
    for stack, keys in grounds.book.objects_asked_for().items():
        grounds.inventory.assume(stack, {(key.kind, key.name) for key in keys})
    leftovers = Leftovers(workspace, grounds.inventory, grounds.book, reports.on_affected)
    options = PruneOptions(settings.prune, settings.prune_grace_seconds)
    pruning = Pruning(workspace, grounds, leftovers, reports, options)
    return Lifecycle(leftovers, pruning, Releasing(grounds, reports), settings.rebind_released, grounds.find_loss)

"""The values that pruning is told with: what it may, whom it tells, what it goes by, what it has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.errors import Problem
from hostk8s_agent.status.orphans import secure_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.pruning import Verdict
    from hostk8s_agent.reconcile.contracts import ContractBook
    from hostk8s_agent.reconcile.inventory import Inventory
    from hostk8s_agent.status.orphans import SecureDirectory


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """Whether to prune at all, and how long an object must have been unwanted, in seconds."""

    is_on: bool = True
    grace_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class PruneReports:
    """Whom a pass tells what.

    `on_affected` gets the stacks to look at again; `on_event` the type of what happened, a sentence and the stack;
    `on_fact` a fact that is worth remembering.
    """

    on_affected: Callable[[Iterable[str]], None]
    on_event: Callable[[str, str, str], None]
    on_fact: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Grounds:
    """What pruning goes by: what was applied, the contracts in force, the cluster, and what was known before.

    `folder_seen_before` is the identity of the stacks folder when it last held a contract, empty where that is not
    known. `secure` takes a snapshot of a directory before the PersistentVolume that leads there is pruned. `find_loss`
    returns the problem of a lost volume, None while it is there: with it nothing is pruned.
    """

    inventory: Inventory
    book: ContractBook
    cluster: Callable[[], ClusterAccess]
    folder_seen_before: str = ""
    secure: SecureDirectory = secure_nothing
    find_loss: Callable[[], Problem | None] = lambda: None


@dataclass(frozen=True, slots=True)
class PruneState:
    """What the last pass found.

    `problem` holds everything back (git is at work, a contract cannot be read, the brake); `held` maps single objects
    to what was found out about them by asking (pods, an answer of the API server).
    """

    problem: Problem | None = None
    held: Mapping[ObjectKey, Problem] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrunePreview:
    """What pruning has before it: each leftover with what holds it (None: nothing), and what holds everything."""

    objects: tuple[tuple[Verdict, Problem | None, float], ...]
    problem: Problem | None


PRUNE_OFF = Problem(
    "PruneOff",
    "pruning is off: what no contract asks for is kept",
    "set prune to true (HOSTK8S_AGENT_PRUNE), or delete the objects with kubectl; the data stays in any case",
)

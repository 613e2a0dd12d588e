"""What happens to the pods that use a stack's directories while these are replaced.

A container keeps the directory that it was started with: once another tree has its name, a pod that runs goes on in the
old one, which is removed (measured on a node, tests/snapshot/test_stopping.py). So there are two ways, and none that
leaves a pod running:

- `scale-down`: the owners of the pods are scaled to zero, and back when the new trees are there;
- `freeze`: the containers are paused, and instead of being woken they are killed, so that their node starts them anew,
  on the new tree. Not one of their instructions runs in between. Of one file or folder inside a directory they are
  woken: they look it up anew.

Either way the safety snapshot is taken meanwhile, so that it has all that they ever wrote.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.errors import TargetInUseError
from hostk8s_agent.snapshot.freezing import Freeze
from hostk8s_agent.snapshot.model import Consistency
from hostk8s_agent.snapshot.ports import Reached, Stopped
from hostk8s_agent.snapshot.scaling import ScaledDown, find_workloads
from hostk8s_agent.snapshot.users import find_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.snapshot.ports import Rest, StopWay
    from hostk8s_agent.snapshot.quiescing import ClusterQuiescer
    from hostk8s_agent.snapshot.scaling import Scaler
    from hostk8s_agent.snapshot.users import PodUse


@dataclass(slots=True)
class _Running:
    """Nobody was stopped: nobody uses it, or nobody can tell."""

    note: str = ""
    notes: list[str] = field(default_factory=list)

    def require(self) -> Reached:
        return Reached(Consistency.LIVE, self.note)

    def hold(self) -> None:
        return

    def release(self) -> None:
        return


@dataclass(slots=True)
class _Frozen:
    rest: Rest
    is_part: bool
    notes: list[str] = field(default_factory=list)

    def require(self) -> Reached:
        reached = self.rest.reached()
        if reached.consistency not in (Consistency.FROZEN, Consistency.UNUSED):
            raise TargetInUseError(
                f"its containers could not be held still: {reached.note}; nothing was replaced",
                hint="restore with --scale-down, or raise the setting snapshot_freeze_seconds",
            )
        return reached

    def hold(self) -> None:
        if isinstance(self.rest, Freeze) and not self.rest.hold(restarts=not self.is_part):
            self.require()

    def release(self) -> None:
        return


@dataclass(slots=True)
class _Scaled:
    find_users: Callable[[], tuple[PodUse, ...]]
    state: ScaledDown = field(default_factory=ScaledDown)

    @property
    def notes(self) -> Sequence[str]:
        return self.state.notes

    def require(self) -> Reached:
        if users := self.find_users():
            raise TargetInUseError(
                f"{users[0].name} was started meanwhile; nothing was replaced",
                hint="look who starts it (an autoscaler, an operator), and stop that first",
            )
        return Reached(Consistency.UNUSED)

    def hold(self) -> None:
        self.require()
        self.state.is_swapping = True

    def release(self) -> None:
        self.state.is_swapping = False


class ClusterStopper:
    """Stops the pods of a cluster. Implements `Stopper`; used under the repository's lock."""

    def __init__(self, cluster: Callable[[], ClusterAccess | None], quiescer: ClusterQuiescer, scaler: Scaler) -> None:
        self._cluster = cluster
        self._quiescer = quiescer
        self._scaler = scaler

    def explain(self, contract: Contract, way: StopWay, *, is_part: bool) -> tuple[str, ...]:
        """Return what would be done to whom. Raises `TargetInUseError` where that way cannot be gone."""
        try:
            cluster = self._cluster()
            users = find_users(cluster, contract.stack, contract.directories) if cluster is not None else ()
        except AgentError:
            return ("which pods use it is not known: each that runs sees the old tree until it is restarted",)
        if cluster is not None and way == "scale-down":
            return tuple(
                f"{one.name} is scaled from {one.replicas} to 0, and back" for one in find_workloads(cluster, users)
            )
        return tuple(_explain_freeze(one, is_part=is_part) for one in users)

    @contextmanager
    def stopped(self, contract: Contract, way: StopWay, *, is_part: bool) -> Iterator[Stopped]:
        """Have nobody use the directories but those whom `way` leaves; let all go on afterwards, in every case."""
        if way == "scale-down":
            scaled = _Scaled(lambda: self._find_users(contract))
            with self._scaler.scaled_down(contract, scaled.state):
                yield scaled
            return
        try:
            users = self._find_users(contract)
        except AgentError as error:
            yield _Running(f"which pods use it is not known: {error.message}")
            return
        if not way or not users:
            yield _Running()
            return
        with self._quiescer.at_rest(contract.stack, contract.directories, Quiesce.FREEZE) as rest:
            yield _Frozen(rest, is_part)

    def has_left(self) -> bool:
        """Whether a crash, or a cluster that was away, left something at zero."""
        return self._scaler.has_left()

    def recover(self) -> list[str]:
        """Scale back what was left at zero; return what a person should know."""
        return self._scaler.recover()

    def _find_users(self, contract: Contract) -> tuple[PodUse, ...]:
        cluster = self._cluster()
        return () if cluster is None else find_users(cluster, contract.stack, contract.directories)


def _explain_freeze(use: PodUse, *, is_part: bool) -> str:
    if is_part:
        return f"{use.name} is paused for a moment; what it holds open, or mounts by subPath, stays the old one"
    if not use.pod.restarts:
        return f"{use.name}: its containers are killed, and not started anew (restartPolicy: Never)"
    return f"{use.name}: its containers are killed, and started anew by their node, on the new tree"

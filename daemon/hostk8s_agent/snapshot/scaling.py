"""Scaling the owners of pods to zero while a stack's directories are replaced, and back to what they were.

Before the first of them is scaled, a journal in the state folder says how many replicas each had. The same write that
scales one down puts an annotation on it, with the journal's name; it is scaled back, and the annotation taken away, by
one write too, and only while it stands there and the replicas are still zero. So a workload is never scaled to a wrong
number: not after a crash at any point, and not over somebody who has scaled it meanwhile.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from hostk8s_agent.cluster.errors import ObjectChangedError, ObjectMissingError
from hostk8s_agent.errors import AgentError
from hostk8s_agent.plan.observed import OwnerReference
from hostk8s_agent.snapshot.errors import TargetInUseError
from hostk8s_agent.snapshot.rest_journal import new_journal_path, remove_whole, write_whole
from hostk8s_agent.snapshot.users import find_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.plan.observed import ObservedWorkload
    from hostk8s_agent.snapshot.users import PodUse

log = structlog.get_logger()

SCALED_DOWN: Final = "restore.scaled_down"
SCALED_BACK: Final = "restore.scaled_back"
SCALED_BY_OTHERS: Final = "restore.scaled_by_others"

ANNOTATION: Final = "hostk8s.io/scaled-down"
"""On a workload at zero: `JOURNAL:REPLICAS`, what it had before a restore."""

GONE_SECONDS: Final = 180.0
"""How long pods may take to end: the grace period of most is 30 s."""

JOURNAL_FOLDER: Final = "scaled"
_POLL_SECONDS: Final = 0.1
_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class ScaledWorkload:
    """One workload of a journal, as it was before: `cluster` is the UID of its cluster."""

    cluster: str
    namespace: str
    kind: str
    name: str
    uid: str
    replicas: int

    @property
    def title(self) -> str:
        """As people are told it."""
        return f"{self.kind}/{self.name} in {self.namespace}"

    @property
    def reference(self) -> OwnerReference:
        """What finds it."""
        return OwnerReference(self.kind, self.name, self.uid)


def find_workloads(cluster: ClusterAccess, users: Iterable[PodUse]) -> tuple[ObservedWorkload, ...]:
    """Return what has to be scaled so that these pods go, each once.

    Raises `TargetInUseError` for a pod that nothing scales, and the `ClusterError` of a failure.
    """
    found: dict[str, ObservedWorkload] = {}
    for use in users:
        owner, workload = use.pod.owner, None
        # A ReplicaSet is scaled by its Deployment, which would scale it back.
        while owner is not None and (above := cluster.find_workload(use.pod.namespace, owner)) is not None:
            owner, workload = above.owner, above
        if workload is None or owner is not None:
            made_by = f"is made by {owner.kind}/{owner.name}" if owner is not None else "stands by itself"
            raise TargetInUseError(
                f"the pod {use.name} {made_by}, which cannot be scaled to zero",
                hint="stop it by hand, or restore with --in-use, which has its containers started anew",
            )
        found[workload.reference.uid] = workload
    return tuple(found.values())


@dataclass(slots=True)
class ScaledDown:
    """One time that a stack is scaled down. `notes` is what a person should know of the scaling back.

    While it `is_swapping`, nothing is scaled back on the way out: pods would start on trees that are not all swapped.
    """

    notes: list[str] = field(default_factory=list)
    is_swapping: bool = False


class Scaler:
    """Scales down and back. Used under the repository's lock, by one caller at a time.

    `cluster` returns the cluster, None where there is none, or raises the `AgentError` that says why.
    """

    def __init__(
        self,
        cluster: Callable[[], ClusterAccess | None],
        state_folder: Path,
        *,
        gone_seconds: float = GONE_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._folder = state_folder / JOURNAL_FOLDER
        self._gone_seconds = gone_seconds
        self._under_way: set[Path] = set()

    @contextmanager
    def scaled_down(self, contract: Contract, state: ScaledDown) -> Iterator[None]:
        """Scale the owners of the stack's pods to zero and wait until the pods are gone; scale back on leaving.

        Raises, with everything scaled back, an `AgentError` or an `OSError` of the journal.
        """
        cluster = self._require_cluster()
        path = new_journal_path(self._folder)
        entries = [
            ScaledWorkload(
                cluster.cluster_uid,
                one.namespace,
                one.reference.kind,
                one.reference.name,
                one.reference.uid,
                one.replicas,
            )
            for one in find_workloads(cluster, find_users(cluster, contract.stack, contract.directories))
        ]
        self._under_way.add(path)
        try:
            for entry in entries:
                self._scale_down(cluster, path, entries, entry)
            self._wait_until_gone(cluster, contract)
            yield
        finally:
            self._under_way.discard(path)
            if not state.is_swapping:
                state.notes += self._scale_all_back(path)

    def has_left(self) -> bool:
        """Whether something is to be scaled back that nobody is at work with."""
        return bool(self._list_left())

    def recover(self) -> list[str]:
        """Scale back what a crash, or a cluster that was away, left at zero; return what a person should know."""
        return [note for path in self._list_left() for note in self._scale_all_back(path)]

    def _list_left(self) -> list[Path]:
        return sorted(set(self._folder.glob("*.json")) - self._under_way)

    def _require_cluster(self) -> ClusterAccess:
        cluster = self._cluster()
        if cluster is None:
            raise TargetInUseError("there is no cluster in which pods could be scaled", hint="leave --scale-down out")
        return cluster

    def _scale_down(
        self, cluster: ClusterAccess, path: Path, entries: list[ScaledWorkload], entry: ScaledWorkload
    ) -> None:
        for _ in range(_ATTEMPTS):
            workload = cluster.find_workload(entry.namespace, entry.reference)
            if workload is None:
                return
            # As it is at the very write: what others did since the plan is what it is scaled back to.
            now = ScaledWorkload(**{**asdict(entry), "replicas": workload.replicas})
            entries[entries.index(entry)] = entry = now
            write_whole(path, json.dumps([asdict(one) for one in entries]).encode())
            if not workload.replicas:
                return
            mark = f"{path.stem}:{workload.replicas}"
            with suppress(ObjectChangedError):
                cluster.scale_workload(workload, 0, (ANNOTATION, mark))
                log.info(SCALED_DOWN, workload=entry.title, replicas=workload.replicas)
                return
        raise TargetInUseError(f"{entry.title} changes too fast to be scaled", hint="try again; nothing was replaced")

    def _wait_until_gone(self, cluster: ClusterAccess, contract: Contract) -> None:
        deadline = time.monotonic() + self._gone_seconds
        while users := find_users(cluster, contract.stack, contract.directories):
            if time.monotonic() > deadline:
                raise TargetInUseError(
                    f"{', '.join(one.name for one in users)} did not go within {self._gone_seconds:g} s",
                    hint="look why with kubectl describe; nothing was replaced, and all is scaled back",
                )
            time.sleep(_POLL_SECONDS)

    def _scale_all_back(self, path: Path) -> list[str]:
        entries = _load(path)
        notes: list[str] = []
        left = []
        for entry in entries:
            try:
                notes += self._scale_back(path.stem, entry)
            except AgentError as error:
                left.append(entry)
                notes.append(f"{entry.title} is not back at {entry.replicas} yet: {error.message}; it is tried again")
        try:
            if not left:
                remove_whole(path)
            elif left != entries:
                write_whole(path, json.dumps([asdict(one) for one in left]).encode())
        except OSError as error:
            notes.append(f"the journal of what was scaled cannot be written: {error.strerror}")
        return notes

    def _scale_back(self, token: str, entry: ScaledWorkload) -> list[str]:
        cluster = self._require_cluster()
        for _ in range(_ATTEMPTS):
            # Asked first: of a cluster that is away the UID is not known either, and nothing is to be given up then.
            workload = cluster.find_workload(entry.namespace, entry.reference)
            if cluster.cluster_uid != entry.cluster:
                return []
            if workload is None or workload.annotations.get(ANNOTATION) != f"{token}:{entry.replicas}":
                # Gone, never scaled down, or scaled back already.
                return []
            is_ours = workload.replicas == 0
            replicas = entry.replicas if is_ours else workload.replicas
            try:
                cluster.scale_workload(workload, replicas, (ANNOTATION, ""))
            except ObjectMissingError:
                return []
            except ObjectChangedError:
                continue
            log.info(SCALED_BACK if is_ours else SCALED_BY_OTHERS, workload=entry.title, replicas=replicas)
            return [] if is_ours else [f"{entry.title} was scaled to {replicas} by somebody else, and stays so"]
        raise ObjectChangedError(f"{entry.title} changes too fast to be scaled", hint="it is tried again")


def _load(path: Path) -> list[ScaledWorkload]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_bytes())
        return [ScaledWorkload(**one) for one in found]
    except (OSError, ValueError, TypeError):
        # Written whole or not at all.
        return []

"""Who uses a stack's directories: PersistentVolume → claim → pods → the containers that mount it and run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.naming import persistent_volume_name
from hostk8s_agent.errors import AgentError
from hostk8s_agent.plan.desired import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.plan.observed import ObservedContainer, ObservedPod

# `<runtime>://<id>` (Kubernetes, ContainerStatus.containerID), with the ids that containerd's CRI plugin makes.
_CONTAINER_ID: Final = re.compile("containerd://([0-9a-f]{64})")


class RestError(AgentError):
    """A stack could not be brought to rest, or not be woken. What it says becomes the snapshot's note."""

    code = "RestFailed"


@dataclass(frozen=True, slots=True)
class PodUse:
    """One pod that uses a directory: `containers` are those that mount it and run.

    `is_starting` says that there are others, of which nobody can tell yet whether they run.
    """

    pod: ObservedPod
    containers: tuple[ObservedContainer, ...]
    is_starting: bool = False

    @property
    def name(self) -> str:
        """The pod as people are told it."""
        return f"{self.pod.namespace}/{self.pod.name}"


def find_users(cluster: ClusterAccess, stack: str, directories: Sequence[Directory]) -> tuple[PodUse, ...]:
    """Return the pods that use one of the directories now, sorted by name. Raises the `ClusterError` of a failure.

    Those too that mount a directory itself (`hostPath`), past any PersistentVolume.
    """
    keys = [ObjectKey("PersistentVolume", persistent_volume_name(stack, one.name)) for one in directories]
    claims: dict[str, set[str]] = {}
    for claim in cluster.observe_claims(keys):
        claims.setdefault(claim.namespace, set()).add(claim.name)
    found = []
    for pod in cluster.observe_pods():
        names = claims.get(pod.namespace, set())
        mounting = [
            one
            for one in pod.containers
            if not names.isdisjoint(one.claims) or any(one.mounts(directory.path) for directory in directories)
        ]
        using = tuple(one for one in mounting if one.is_running)
        may_run = bool(pod.node) and not pod.is_over
        is_starting = may_run and any(not (one.is_running or one.is_over) for one in mounting)
        if using or is_starting:
            found.append(PodUse(pod, using, is_starting))
    return tuple(found)


def require_started(uses: Iterable[PodUse]) -> None:
    """Raise `RestError` when a pod is starting: whether it writes already is known to its node alone."""
    for use in uses:
        if use.is_starting:
            raise RestError(
                f"the pod {use.name} is starting, so that nobody can tell whether it writes already",
                hint="take the snapshot again once the pod runs",
            )


def get_runtime_id(pod: ObservedPod, container: ObservedContainer) -> str:
    """Return the id under which containerd knows the container. Raises `RestError` where another runtime has it."""
    parts = _CONTAINER_ID.fullmatch(container.container_id)
    if parts is None:
        name = f"{pod.namespace}/{pod.name}"
        raise RestError(
            f"the container {container.name} of the pod {name} is not containerd's", hint="use quiesce: none"
        )
    return parts[1]

"""The one protocol for StorageClasses and PersistentVolumes, whether a cluster or files hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hostk8s_agent.errors import ClusterError
    from hostk8s_agent.plan.actions import DeleteObject, ObjectAction
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedClaim, ObservedObject, ObservedPod, ObservedWorkload, OwnerReference


class ClusterAccess(Protocol):
    """Observe objects and apply them. All calls are safe from several threads."""

    def observe_objects(self, stack: str, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        """Return those of the objects that exist. Raises `ClusterError` when nothing fresh is known."""

    def observe_claims(self, keys: Iterable[ObjectKey]) -> tuple[ObservedClaim, ...]:
        """Return the claims that are bound to, or ask by name for, one of these PersistentVolumes."""

    @property
    def cluster_uid(self) -> str:
        """What tells this cluster from its successor, empty where there is none."""

    def find_claim(self, namespace: str, name: str) -> ObservedClaim | None:
        """Return a claim by its name, None when there is none. Raises `ClusterError` as `observe_objects`."""

    def observe_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        """Return the claims that name a StorageClass, sorted. Raises `ClusterError` as `observe_objects`."""

    def observe_pods(self, namespace: str = "") -> tuple[ObservedPod, ...]:
        """Ask for the pods of a namespace (empty: of all), sorted. One request; raises the `ClusterError` of it."""

    def observe_volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that lead to a path, into it or around it, sorted. Raises as above."""

    def find_workload(self, namespace: str, owner: OwnerReference) -> ObservedWorkload | None:
        """Ask for what made a pod; None when it is gone, or of no kind that can be scaled. Raises a `ClusterError`."""

    def scale_workload(
        self, workload: ObservedWorkload, replicas: int, annotation: tuple[str, str]
    ) -> ObservedWorkload:
        """Set its replicas and an annotation (name and value, empty: none) if it is as it was observed.

        Raises `ObjectChangedError` when it is not, and the `ClusterError` of a failure.
        """

    def observe_volumes_of_class(self, stack: str, storage_class: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that name the StorageClass, sorted, whoever made them. Raises as above."""

    def apply_objects(self, stack: str, actions: Sequence[ObjectAction]) -> tuple[ObservedObject | ClusterError, ...]:
        """Carry the actions out concurrently; return for each the object as the server has it now, or why not.

        Of one that is replaced that may be the old object, on its way out.
        """

    def delete_objects(self, stack: str, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        """Delete the objects of a stack; return for each why not, None when it is gone or on its way."""

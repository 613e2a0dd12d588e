"""What the mirror knows of claims, as the reconciler asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.cluster.mirror import Mirror
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedClaim


class ClaimsInMirror(ABC):
    """The part of `ClusterAccess` that is about claims. Nothing here asks the server."""

    _mirror: Mirror

    @abstractmethod
    def _require_session(self) -> object:
        """Raise a `ClusterError` unless what the mirror knows is fresh."""

    def observe_claims(self, keys: Iterable[ObjectKey]) -> tuple[ObservedClaim, ...]:
        """Return the claims that are bound to, or ask by name for, one of these PersistentVolumes."""
        self._require_session()
        volumes = sorted(key.name for key in set(keys) if key.kind == "PersistentVolume")
        return tuple(claim for name in volumes for claim in self._mirror.find_claims_of_volume(name))

    def find_claim(self, namespace: str, name: str) -> ObservedClaim | None:
        """Return a claim by its name, None when there is none."""
        self._require_session()
        return self._mirror.find_claim(namespace, name)

    def observe_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        """Return the claims that name a StorageClass, sorted."""
        self._require_session()
        return self._mirror.find_claims_of_class(storage_class)

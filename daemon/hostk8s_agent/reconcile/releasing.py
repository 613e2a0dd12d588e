"""Giving a PersistentVolume to a claim that a person names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.errors import AgentError, ClusterError
from hostk8s_agent.plan.actions import ReleaseVolume
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.ownership import is_ours
from hostk8s_agent.plan.pruning import is_held_by_claim

if TYPE_CHECKING:
    from hostk8s_agent.plan.observed import ObservedObject
    from hostk8s_agent.reconcile.pruning_terms import Grounds, PruneReports

RELEASED = "released"


class ReleaseRefusedError(AgentError):
    """The volume is not one that can be given to a claim."""

    code = "ReleaseRefused"


class Releasing:
    """Safe from several threads: what is done is decided by the server, with the volume as it was seen."""

    def __init__(self, grounds: Grounds, reports: PruneReports) -> None:
        self._grounds = grounds
        self._reports = reports

    def release(self, volume: str, claim: str) -> str:
        """Make the volume bindable for the claim `namespace/name`, and no other; return in words what was done.

        Raises `ReleaseRefusedError` when a claim holds it, when it is not ours, or when there is none; a `ClusterError`
        when the server cannot be asked, or the volume changed at that moment.
        """
        key = ObjectKey("PersistentVolume", volume)
        asking = sorted(self._grounds.book.stacks_asking_for(key))
        if not asking:
            raise ReleaseRefusedError(
                f"no contract asks for a PersistentVolume {volume}",
                hint="hostk8s-agent status STACK names the volumes of a stack",
            )
        access = self._grounds.cluster()
        found = access.observe_objects(asking[0], [key]).get(key)
        self._require_free(volume, found)
        if found is None or (found.claim == claim and not found.claim_uid):
            return f"PersistentVolume/{volume} is reserved for the claim {claim} already"
        action = ReleaseVolume(key, found.uid, claim, found.claim_uid, "a person asked for it")
        [outcome] = access.apply_objects(asking[0], [action])
        if isinstance(outcome, ClusterError):
            raise outcome
        done = f"PersistentVolume/{volume} is reserved for the claim {claim}"
        self._reports.on_event(RELEASED, done, asking[0])
        self._reports.on_affected(asking)
        return done

    def _require_free(self, volume: str, found: ObservedObject | None) -> None:
        if found is None or found.is_in_file:
            raise ReleaseRefusedError(
                f"there is no PersistentVolume {volume} in a cluster",
                hint="hostk8s-agent status says whether there is a cluster, and what its stack waits for",
            )
        if not is_ours(found) or found.is_terminating:
            what = "is being deleted" if found.is_terminating else "is not the agent's"
            raise ReleaseRefusedError(
                f"PersistentVolume/{volume} {what}", hint=f"kubectl describe pv {volume} says more"
            )
        if is_held_by_claim(found):
            namespace, _, name = found.claim.partition("/")
            raise ReleaseRefusedError(
                f"PersistentVolume/{volume} is held by the claim {found.claim}",
                hint=f"if nobody needs that claim: kubectl -n {namespace} delete pvc {name}, and then this again",
            )

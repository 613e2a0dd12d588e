"""Before a PersistentVolume is pruned, what lies where it leads is in a snapshot, or there is nothing to take.

The deletion takes no data. But what leads to the data goes, and with it what people look at: from then on a purge is
one command away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.naming import LABEL_DIRECTORY
from hostk8s_agent.errors import AgentError, Problem
from hostk8s_agent.plan.wording import subject_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject
    from hostk8s_agent.reconcile.contracts import ContractBook
    from hostk8s_agent.status.orphans import SecureDirectory

_PENDING: Final = Problem(
    "PruneWaitsForSnapshot",
    "a snapshot of its directory is taken first",
    "nothing is to be done; it is pruned when the snapshot was read back",
)


class Securing:
    """Which volumes are secured. Used by one thread; `find_hold` notes what `work` then does."""

    def __init__(self, secure: SecureDirectory, book: ContractBook) -> None:
        self._secure = secure
        self._book = book
        self._secured: dict[ObjectKey, str] = {}
        self._wanted: dict[ObjectKey, tuple[str, ObservedObject]] = {}
        self._failed: dict[ObjectKey, Problem] = {}

    def find_hold(self, stack: str, found: ObservedObject) -> Problem | None:
        """Return why a PersistentVolume of the stack cannot be deleted yet; None when its data is secured."""
        key = found.key
        if self._secured.get(key) == found.uid or self._book.find_claims(found.path.rstrip("/")):
            return None
        self._wanted[key] = (stack, found)
        return self._failed.get(key, _PENDING)

    def work(self) -> bool:
        """Take the snapshots that are wanted, however long that takes; return whether there were any."""
        wanted, self._wanted = self._wanted, {}
        for key, (stack, found) in wanted.items():
            try:
                self._secure(stack, found.path.rstrip("/"), "prune", _name_of(found))
            except AgentError as error:
                words = f"the snapshot of its directory failed ({error.message}); nothing is lost"
                hint = f"{error.hint}; it is tried again by itself"
                self._failed[key] = Problem("PruneUnsecured", f"{subject_of(key)} is kept: {words}", hint)
            else:
                self._secured[key] = found.uid
                self._failed.pop(key, None)
        return bool(wanted)

    def forget_all_but(self, there: Collection[ObjectKey]) -> None:
        """Forget what is no leftover any more: its data may have changed when it is one again."""
        self._secured = {key: uid for key, uid in self._secured.items() if key in there}
        self._failed = {key: problem for key, problem in self._failed.items() if key in there}


def _name_of(found: ObservedObject) -> str:
    metadata = found.manifest.get("metadata") or {}
    return str((metadata.get("labels") or {}).get(LABEL_DIRECTORY) or "")

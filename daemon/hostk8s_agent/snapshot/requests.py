"""What is asked of snapshots, what it is asked of, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.snapshot.ports import NoQuiescer, NoStopper
from hostk8s_agent.snapshot.scanning import SETTLED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.contract.model import Contract, Directory
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.ports import Quiescer, Reached, Stopper, StopWay
    from hostk8s_agent.snapshot.restoring import Replacement
    from hostk8s_agent.volume.access import VolumeAccess


@dataclass(frozen=True, slots=True)
class VolumeIdentity:
    """Which volume is read, for manifests and for recognising directories. `engine` is Docker's ID, empty without."""

    name: str
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the service needs of the rest of the agent.

    `load_contract` gives a stack's contract in force and its text, and raises `UnknownStackError` or `ContractError`;
    `find_users` names the pods that use a stack's directories now.
    """

    load_contract: Callable[[str], tuple[Contract, bytes]]
    volume: Callable[[], VolumeAccess]
    identify_volume: Callable[[], VolumeIdentity]
    quiescer: Quiescer = field(default_factory=NoQuiescer)
    stopper: Stopper = field(default_factory=NoStopper)
    find_users: Callable[[Contract], Sequence[str]] = lambda _contract: ()
    default_quiesce: Quiesce = Quiesce.NONE
    lock_wait_seconds: float = 10.0
    settled_seconds: float = SETTLED_SECONDS


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A snapshot that is asked for. With `skips_missing`, directories that do not exist yet are left out.

    `orphan` is a directory that the contract may not have any more: it alone is taken, and where a snapshot that was
    read back whole has the same content of it already, that one is returned and none is added. `reached` says, asked
    after the last byte was read, how far the stack is at rest, where somebody else sees to that.
    """

    stack: str
    name: str = ""
    tags: tuple[str, ...] = ()
    is_pinned: bool = False
    skips_missing: bool = False
    orphan: Directory | None = None
    reached: Callable[[], Reached] | None = None


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A restore that is asked for: of `which` (see `select_snapshot`), or of what the last restore replaced.

    `target` is the stack whose directories are replaced, the snapshot's own when empty; `path` (`DIRECTORY` or
    `DIRECTORY/PATH`) is what is restored alone, empty for everything; `stop` is how the pods that use
    them are stopped meanwhile: without it there may be none.
    """

    stack: str
    which: str
    target: str = ""
    path: str = ""
    is_undo: bool = False
    stop: StopWay = ""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would replace. `left_alone` are directories of the contract that the snapshot does not have.

    `stops` says what is done to the pods that use what is replaced.
    """

    snapshot: SnapshotManifest
    contract: Contract
    replacements: tuple[Replacement, ...]
    left_alone: tuple[str, ...]
    users: tuple[str, ...]
    stops: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The stack whose directories are replaced."""
        return self.contract.stack

    @property
    def is_part(self) -> bool:
        """Whether not the directories are replaced but something in them."""
        return any(one.inner for one in self.replacements)


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What was done. `safety` is the snapshot of what was there before, None when nothing was there.

    `notes` is what a person should know of the pods that were stopped.
    """

    plan: RestorePlan
    safety: SnapshotManifest | None
    notes: tuple[str, ...] = ()

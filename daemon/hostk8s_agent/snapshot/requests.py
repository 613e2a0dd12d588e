"""What is asked of snapshots, what it is asked of, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.snapshot.ports import NoQuiescer
from hostk8s_agent.snapshot.scanning import SETTLED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.contract.model import Contract, Directory
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.ports import Quiescer
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
    find_users: Callable[[Contract], Sequence[str]] = lambda _contract: ()
    default_quiesce: Quiesce = Quiesce.NONE
    lock_wait_seconds: float = 10.0
    settled_seconds: float = SETTLED_SECONDS


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A snapshot that is asked for. With `skips_missing`, directories that do not exist yet are left out.

    `orphan` is a directory that the contract may not have any more: it alone is taken, and where a snapshot that was
    read back whole has the same content of it already, that one is returned and none is added.
    """

    stack: str
    name: str = ""
    tags: tuple[str, ...] = ()
    is_pinned: bool = False
    skips_missing: bool = False
    orphan: Directory | None = None


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A restore that is asked for: of `which` (see `select_snapshot`), or of what the last restore replaced.

    `target` is the stack whose directories are replaced, the snapshot's own when empty; `path` (`DIRECTORY` or
    `DIRECTORY/PATH`) is what is restored alone, empty for everything; `may_be_in_use` replaces them
    under running pods, which see the old tree until they are restarted.
    """

    stack: str
    which: str
    target: str = ""
    path: str = ""
    is_undo: bool = False
    may_be_in_use: bool = False


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would replace. `left_alone` are directories of the contract that the snapshot does not have."""

    snapshot: SnapshotManifest
    target: str
    replacements: tuple[Replacement, ...]
    left_alone: tuple[str, ...]
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What was done. `safety` is the snapshot of what was there before, None when nothing was there."""

    plan: RestorePlan
    safety: SnapshotManifest | None

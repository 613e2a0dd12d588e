"""A plan is data: what will be done, in order, why, and what is held back and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.desired import Manifest, ObjectKey


@dataclass(frozen=True, slots=True)
class Drift:
    """One field whose desired and observed values differ.

    `field` is a dotted path (`spec.capacity.storage`, `owner`, `permissions`); values are as a person reads
    them; `observed` is None where the field is absent; `manager` is the field manager that holds it, else empty.
    """

    field: str
    desired: str
    observed: str | None
    manager: str = ""


@dataclass(frozen=True, slots=True)
class CreateDirectory:
    """Make a directory with owner and mode. Missing parents become root:root 755; what exists is not touched."""

    path: str
    uid: int
    gid: int
    mode: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChangeDirectory:
    """Give an existing directory its owner (`fchown`), its mode (`fchmod`), or both; never recursively.

    `changes_owner` and `changes_mode` say which of the two drifts; at least one does. A change of owner clears
    setuid and setgid bits, so the mode is set after it (chown(2)).
    """

    path: str
    uid: int
    gid: int
    mode: int
    changes_owner: bool
    changes_mode: bool
    reason: str
    drift: tuple[Drift, ...]


DirectoryAction: TypeAlias = CreateDirectory | ChangeDirectory


@dataclass(frozen=True, slots=True)
class ApplyObject:
    """Server-side apply of one object, of just the fields in `manifest`.

    `uid` and `resource_version` are of the object as it was observed, None when it did not exist: then the apply
    must not take fields from anyone (no force). `adopts` says that `kubectl apply` made it and that its fields
    are taken over from the manager named in `adopts_from`.
    """

    key: ObjectKey
    manifest: Manifest
    reason: str
    drift: tuple[Drift, ...] = ()
    uid: str | None = None
    resource_version: str | None = None
    adopts_from: str | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceObject:
    """Delete one object of ours, and apply it anew under its name: a field differs that Kubernetes lets nobody change.

    The deletion holds for the object as it was observed (`uid`, `resource_version`): a claim that is bound to a
    PersistentVolume in between changes its resource version, and the volume is left as it is.
    """

    key: ObjectKey
    manifest: Manifest
    reason: str
    uid: str
    resource_version: str
    drift: tuple[Drift, ...] = ()
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseVolume:
    """Make a PersistentVolume bindable for the claim `claim` (`namespace/name`), and for no other.

    It holds for the volume with this `uid` whose claimRef has just this `claim_uid` (empty: none). Of a claimRef that
    names the claim already, only the uid and the resource version go.
    """

    key: ObjectKey
    uid: str
    claim: str
    claim_uid: str
    reason: str
    drift: tuple[Drift, ...] = ()
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete one object that we applied for `stack` and that no contract asks for, as it was observed."""

    key: ObjectKey
    stack: str
    reason: str
    uid: str
    resource_version: str
    drift: tuple[Drift, ...] = ()


ObjectAction: TypeAlias = ApplyObject | ReplaceObject | ReleaseVolume
Action: TypeAlias = DirectoryAction | ObjectAction | DeleteObject


@dataclass(frozen=True, slots=True)
class BlockedAction:
    """An action that is held back. `subject` is a directory's path or `Kind/name`; `directory` the contract's.

    `is_waiting` is True where nobody has to do anything (Docker or the cluster is away, a deletion is under way),
    False where a person must decide.
    """

    subject: str
    problem: Problem
    drift: tuple[Drift, ...] = ()
    directory: str | None = None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What one stack needs: directories first, then StorageClasses, then PersistentVolumes, then what is blocked.

    `prunes` are objects that its contract does not ask for any more: not a run deletes them, but the pruning of the
    whole workspace, in its time.
    `informed` holds problems that a person is told although nothing is held back (the holder's side of a conflict);
    `invalid` those of a contract file that is not valid: then nothing can be planned.
    """

    stack: str
    directories: tuple[DirectoryAction, ...] = ()
    objects: tuple[ObjectAction, ...] = ()
    blocked: tuple[BlockedAction, ...] = ()
    informed: tuple[Problem, ...] = ()
    invalid: tuple[Problem, ...] = ()
    prunes: tuple[DeleteObject, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do and nothing held back."""
        return not (self.directories or self.objects or self.blocked or self.prunes)

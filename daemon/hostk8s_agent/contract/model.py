"""The contract as a value: valid by construction when it comes from `parsing.parse_contract`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING

from hostk8s_agent.contract.naming import persistent_volume_name
from hostk8s_agent.contract.quantities import parse_quantity

if TYPE_CHECKING:
    from hostk8s_agent.contract.reporting import Position
    from hostk8s_agent.contract.schedules import NoSchedule, Schedule
    from hostk8s_agent.contract.values import Owner


@dataclass(frozen=True, slots=True)
class Directory:
    """One entry of `spec.directories`.

    `path` is clean and lies below `/mnt/pv/`; `size` is the quantity as written and `size_bytes` its bytes,
    rounded up; `access_modes` is never empty and in the order of the file; `permissions` is the mode
    (`0o755`). The two places are where the entry and its path stand in the file.
    """

    name: str
    path: str
    size: str
    size_bytes: int
    access_modes: tuple[str, ...]
    storage_class: str
    owner: Owner
    permissions: int
    position: Position
    path_position: Position

    @property
    def line(self) -> int:
        """The line of the file in which the entry starts, counting from 1."""
        return self.position.line

    @property
    def path_line(self) -> int:
        """The line of the file in which the path stands, counting from 1."""
        return self.path_position.line


class Quiesce(StrEnum):
    """How a stack is brought to rest while its snapshot is taken."""

    NONE = "none"
    FREEZE = "freeze"
    HOOKS = "hooks"


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """Which snapshots are kept: so many of each kind, all of the last `within_seconds`, and all with certain tags.

    Each of `tags` is one tag, or several joined by commas, all of which a snapshot must have. At least one of the
    fields is greater than 0 or not empty, so that a policy can never let every snapshot expire.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_seconds: int = 0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """What `spec.snapshots` says. None means that it says nothing, and the agent's settings decide."""

    schedule: Schedule | NoSchedule | None = None
    timezone: str | None = None
    keep: KeepPolicy | None = None
    quiesce: Quiesce | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """One `hostk8s.storage.yaml`, parsed and valid.

    `directories` is never empty, in the order of the file; names and paths are unique, and no path lies in
    another. `snapshots` is None when the contract says nothing of them. `file` is what problems call the
    file. `digest` is that of `compute_digest`.
    """

    stack: str
    namespace: str | None
    directories: tuple[Directory, ...]
    snapshots: SnapshotPolicy | None
    file: str
    digest: str

    def persistent_volume_name_of(self, directory: Directory) -> str:
        """Return the name of the PersistentVolume that one of the directories gets."""
        return persistent_volume_name(self.stack, directory.name)


def compute_digest(
    stack: str, namespace: str | None, directories: tuple[Directory, ...], snapshots: SnapshotPolicy | None
) -> str:
    """Return `sha256:<64 hex digits>` of what a contract means.

    Comments, formatting, the order of directories and access modes, and the way a value is written (`1Gi` or
    `1024Mi`, `755` or `"0755"`, a default written out or left out) do not change it.
    """
    meaning = {
        "format": 1,
        "stack": stack,
        "namespace": namespace,
        "directories": [_meaning_of(directory) for directory in sorted(directories, key=attrgetter("name"))],
        "snapshots": None if snapshots is None else _meaning_of_policy(snapshots),
    }
    text = json.dumps(meaning, separators=(",", ":"), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _meaning_of(directory: Directory) -> list[object]:
    return [
        directory.name,
        directory.path,
        str(parse_quantity(directory.size)),
        sorted(directory.access_modes),
        directory.storage_class,
        str(directory.owner),
        directory.permissions,
    ]


def _meaning_of_policy(policy: SnapshotPolicy) -> list[object]:
    schedule = {} if policy.schedule is None else asdict(policy.schedule)
    # What the schedule means is in its other fields.
    schedule.pop("text", None)
    keep = None if policy.keep is None else asdict(policy.keep)
    if keep is not None and not keep["tags"]:
        # They came later: a contract without them keeps the digest that it had.
        del keep["tags"]
    return [schedule, policy.timezone, keep, policy.quiesce]

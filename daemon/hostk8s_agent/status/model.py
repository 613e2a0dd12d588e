"""What is true of the workspace, as the socket, the page, the CLI and the metrics all show it.

Frozen values with JSON names in camelCase (`render_json`). Times are RFC 3339 in UTC, empty when it has not
happened yet. Only the standard library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar

from hostk8s_agent.errors import Problem

API_VERSION = "agent.hostk8s.io/v1"

StackState = Literal["Ready", "Pending", "Blocked", "Invalid", "Removing"]
AgentPhase = Literal["Starting", "Running", "Stopping", "NotRunning"]
PartState = Literal["Ready", "Pending", "Blocked", "Removing"]
"""`Removing` is a volume that no contract asks for any more."""
SizeSource = Literal["", "measurement", "snapshot"]
STACK_STATES: tuple[StackState, ...] = ("Blocked", "Invalid", "Pending", "Removing", "Ready")
"""Worst first: the order in which stacks are shown."""


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """One declared directory: `owner` is `uid:gid` and `permissions` octal, both as declared.

    `declared_bytes` is the size that the contract asks for, 0 where that is not known. `used_bytes` is what its
    files held at `used_at`, None while nobody has looked, or cannot; `changed_bytes` is what of it had changed since
    `changed_since`, the stack's last good snapshot of then, None where there was none.
    """

    name: str
    path: str
    owner: str
    permissions: str
    state: PartState
    message: str = ""
    declared_bytes: int = 0
    used_bytes: int | None = None
    used_at: str = ""
    changed_bytes: int | None = None
    changed_since: str = ""


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """One PersistentVolume: `phase` is Kubernetes' (or `Manifest` without a cluster), `claim` `namespace/name`.

    `phase` is empty while the object does not exist; `claim` is empty while nobody holds the volume. `reserved_for` is
    the claim that it is kept for, and that has not come, because it held the volume before.
    """

    name: str
    directory: str
    phase: str
    storage_class: str
    capacity: str
    claim: str
    state: PartState
    message: str = ""
    reserved_for: str = ""


@dataclass(frozen=True, slots=True)
class DriftStatus:
    """One change that somebody made and that was put back at `at`.

    `object` is `Kind/name` or a directory's path; `field` a dotted path, or `existence` where it was removed;
    `observed` is None where the field was absent; `manager` is the field manager that the API server names, else empty.
    """

    object: str
    field: str
    desired: str
    observed: str | None
    manager: str
    at: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """One stack. `file` is its contract, relative to the workspace; `problems` worst first; `drift` newest last.

    `last_changed_at` is when something of it was last made, changed or put back, in the volume or in the cluster.
    """

    name: str
    file: str
    state: StackState
    message: str
    last_reconciled_at: str = ""
    directories: tuple[DirectoryStatus, ...] = ()
    volumes: tuple[VolumeStatus, ...] = ()
    problems: tuple[Problem, ...] = ()
    drift: tuple[DriftStatus, ...] = ()
    last_changed_at: str = ""

    def as_unseen(self, message: str) -> StackStatus:
        """This status as it was known before, with nothing claimed of what was not seen since."""
        return replace(
            self,
            state="Pending",
            message=message,
            directories=tuple(replace(one, state="Pending", message=message) for one in self.directories),
            volumes=tuple(replace(one, state="Pending", message=message) for one in self.volumes),
            problems=(),
        )


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """The process: `state` is Starting, Running, Stopping or NotRunning; `pid` is 0 when none runs."""

    state: AgentPhase
    version: str
    pid: int
    workspace: str
    started_at: str


@dataclass(frozen=True, slots=True)
class DockerStatus:
    """Docker: `state` is Connected, Connecting, Unreachable, Refused, VolumeLost or Absent (the host directory serves).

    `access` is direct, helper-container or host-directory, empty while there is none.
    """

    state: str
    endpoint: str
    volume: str
    access: str
    engine_id: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The cluster: `state` is Connected, Connecting, Unreachable, Refused, NoKubeconfig or Absent (files serve).

    `uid` is the `kube-system` namespace's, which tells one cluster from its successor. `mount` says whether the nodes
    have the volume at `/mnt/pv`, or why that was not checked; empty while there is no cluster.
    """

    state: str
    context: str
    server: str
    uid: str
    version: str = ""
    message: str = ""
    mount: str = ""


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """How changes of contracts are noticed: `backend` is inotify, fsevents or polling."""

    backend: str
    roots: tuple[str, ...]
    last_scan_at: str


@dataclass(frozen=True, slots=True)
class DirectoryProtection:
    """What snapshots there are of one declared directory; times are empty while there is none.

    `is_protected`: its newest good snapshot was read back whole and is younger than twice its schedule. `delay` says
    why a snapshot is due and not taken, else empty. `bytes_at_risk` is the size of the files that no good snapshot has
    as they are, as of when the directory was last measured (`used_at` of its status); None where that is not known.
    `size_bytes` is what its files held at `size_at`, by the measurement of its status or, where there is none, by
    `size_snapshot`, the newest snapshot that can be read; `size_from` says by which, empty for neither.
    """

    stack: str
    directory: str
    is_protected: bool
    snapshots: int
    last_good_at: str = ""
    last_verified_at: str = ""
    next_due_at: str = ""
    delay: str = ""
    bytes_at_risk: int | None = None
    size_bytes: int | None = None
    size_from: SizeSource = ""
    size_at: str = ""
    size_snapshot: str = ""


@dataclass(frozen=True, slots=True)
class DrillStatus:
    """A stack's last restore drill: of which snapshot, when, and why it failed (`message`, else empty).

    `not_compared` says what could not be compared, and why, else empty.
    """

    stack: str
    snapshot: str
    at: str
    is_whole: bool
    message: str = ""
    not_compared: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotsStatus:
    """Where snapshots are (empty: not known), their bytes, and what restic has new archives, if any; no secrets."""

    repository: str = ""
    bytes: int = 0
    directories: tuple[DirectoryProtection, ...] = ()
    drills: tuple[DrillStatus, ...] = ()
    restic_repository: str = ""


@dataclass(frozen=True, slots=True)
class NotificationChannelStatus:
    """One way to tell somebody: `channel` is desktop, webhook or command, `target` whom it reaches, without secrets.

    `state` is Untried, Delivered or Failing, as the last try came out; `title` is what was to be told then, `message`
    why it failed, else empty. `delivered` and `failed` count notifications since the agent's start.
    """

    channel: str
    target: str
    state: Literal["Untried", "Delivered", "Failing"] = "Untried"
    last_at: str = ""
    title: str = ""
    message: str = ""
    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class LeftDirectory:
    """A directory of a stack of which nothing else is left; `file` is where its contract was, `since` when it went."""

    stack: str
    file: str
    path: str
    since: str


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """Everything that `hostk8s-agent status` shows. Stacks are sorted by name, what is left behind newest first."""

    agent: AgentInfo
    docker: DockerStatus
    cluster: ClusterStatus
    watch: WatchStatus
    stacks: tuple[StackStatus, ...] = ()
    problems: tuple[Problem, ...] = ()
    snapshots: SnapshotsStatus = SnapshotsStatus()
    notifications: tuple[NotificationChannelStatus, ...] = ()
    left_behind: tuple[LeftDirectory, ...] = ()


_Value = TypeVar("_Value", DirectoryStatus, VolumeStatus, Problem, DriftStatus)


def render_json(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return a status value as JSON has it: dataclasses as objects with camelCase keys, tuples as lists."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if keys := _json_keys(type(value)):  # type: ignore[arg-type] # as below
        return {key: render_json(getattr(value, name)) for name, key in keys.items()}
    if isinstance(value, (tuple, list)):
        return [render_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: render_json(item) for key, item in value.items()}
    return value


def render_agent_status(status: AgentStatus) -> dict[str, Any]:
    """Return the whole document of `/v1/status` and `hostk8s-agent status -o json`."""
    return {"apiVersion": API_VERSION, **render_json(status)}


def parse_stack_status(document: Mapping[str, Any]) -> StackStatus:
    """Given a stack as `render_json` renders it, return the status. Keys that are not known are left out."""
    return StackStatus(
        directories=tuple(_parse(DirectoryStatus, one) for one in document.get("directories", ())),
        volumes=tuple(_parse(VolumeStatus, one) for one in document.get("volumes", ())),
        problems=tuple(_parse(Problem, one) for one in document.get("problems", ())),
        drift=tuple(_parse(DriftStatus, one) for one in document.get("drift", ())),
        **{
            name: document[_camel_case(name)]
            for name in ("name", "file", "state", "message", "last_reconciled_at", "last_changed_at")
            if _camel_case(name) in document
        },
    )


def _parse(kind: type[_Value], document: Mapping[str, Any]) -> _Value:
    keys = _json_keys(kind)  # type: ignore[arg-type] # mypy looks for the hash of its values
    return kind(**{name: document[key] for name, key in keys.items() if key in document})


@cache
def _json_keys(kind: type[Any]) -> dict[str, str]:
    """Return the key of each field of a dataclass; empty for any other class."""
    return {field.name: _camel_case(field.name) for field in fields(kind)} if is_dataclass(kind) else {}


@cache
def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

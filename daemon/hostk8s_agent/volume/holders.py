"""One volume, several workspaces: who holds which path, told in the volume itself, with a heartbeat.

Each workspace's agent writes what it holds into files of its own (`.hostk8s-agent/holders/IDENTITY.0.json` and
`.1.json`, in turn, so that one of them is whole at any moment) and reads those of the others. A path that another one
holds is not touched: the stack is Blocked. Of two that claim a path at the same moment the earlier keeps it, as soon as
both have read of each other (some seconds).
"""

from __future__ import annotations

import json
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from hostk8s_agent.contract.paths import is_inside
from hostk8s_agent.errors import Problem, VolumeError
from hostk8s_agent.volume.errors import HolderAliveError
from hostk8s_agent.volume.recognising import OWN_FOLDER, make_own_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.volume.access import VolumeAccess

log = structlog.get_logger()

HOLDERS_FOLDER = f"{OWN_FOLDER}/holders"
HOLDERS_FAILED = "volume.holders_failed"
TAKEN_OVER = "volume.taken_over"

HEARTBEAT_SECONDS = 60.0
SILENT_SECONDS = 300.0
"""A holder that has not been heard of for so long is silent: its agent has ended, or its machine sleeps."""

_READ_SECONDS = 15.0

# By then every stack has been reconciled once since the start: what none has claimed is held no more.
_SETTLED_SECONDS = 120.0
_SLOTS = 2
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Holder:
    """A workspace that holds paths of the volume, each since a moment (seconds since the epoch).

    `workspace` is its path on `machine`, `cluster` its cluster's name; `sequence` rises with each heartbeat.
    """

    identity: str
    workspace: str
    machine: str
    cluster: str
    sequence: int = 0
    heartbeat_at: float = 0.0
    paths: Mapping[str, float] = field(default_factory=dict)

    def is_silent(self, now: float) -> bool:
        """Whether it has not been heard of for long. A heartbeat of the future is one of a wrong clock: alive."""
        return now - self.heartbeat_at > SILENT_SECONDS

    def find_claim(self, path: str) -> float | None:
        """Return since when it holds a path, one in it, or one around it; None when it holds none."""
        moments = [
            since for one, since in self.paths.items() if one == path or is_inside(one, path) or is_inside(path, one)
        ]
        return min(moments, default=None)

    def explain(self, path: str) -> Problem:
        """Return what the workspace that does not get the path is told."""
        return Problem(
            "PathHeldElsewhere",
            f"the workspace {self.workspace} (cluster {self.cluster}) holds {path} in this volume; it is left alone",
            "give the directory another path in one of the two, or take its contract away there; if that workspace is "
            f"not in use any more: hostk8s-agent take-over {path}",
        )


class HolderLedger:
    """What this workspace holds, and what the others do. Safe from several threads."""

    def __init__(
        self,
        me: Holder,
        *,
        may_write: bool,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`me` says who this is. `on_change` is called when another one's claims have changed, and must return soon."""
        self._me = me
        self._may_write = may_write
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[str, frozenset[str]] = {}
        self._held: dict[str, float] = {}
        self._others: tuple[Holder, ...] = ()
        self._sequence = 0
        self._written_at = 0.0
        self._read_at = 0.0
        self._began_at: float | None = None
        self._is_dirty = False
        self._is_failing = False

    def claim(self, stack: str, paths: Iterable[str]) -> Mapping[str, Problem]:
        """Claim just these paths for a stack; return those that another workspace holds, with the problem."""
        now = self._clock()
        with self._lock:
            before, wanted = self._wanted.get(stack, frozenset()), frozenset(paths)
            self._wanted[stack] = wanted
            self._give_up(before - wanted)
            lost: dict[str, Problem] = {}
            for path in sorted(wanted):
                if (rival := self._find_rival(path)) is not None:
                    lost[path] = rival.explain(path)
                    self._give_up((path,), is_wanted=True)
                elif path not in self._held:
                    self._held[path] = now
                    self._is_dirty = True
            return lost

    def find_holder(self, path: str) -> Holder | None:
        """Return another workspace that holds a path, one in it or one around it; None when none does."""
        with self._lock:
            return next((one for one in self._others if one.find_claim(path) is not None), None)

    def holders(self) -> tuple[Holder, ...]:
        """Return all workspaces that hold something, this one first."""
        with self._lock:
            return self._describe_me(), *self._others

    def take_over(self, path: str) -> tuple[Holder, ...]:
        """Take a path from those that hold it, all of them silent; return them. Raises `HolderAliveError`."""
        now = self._clock()
        with self._lock:
            found = [(one, since) for one in self._others if (since := one.find_claim(path)) is not None]
            for holder, _ in found:
                if not holder.is_silent(now):
                    raise HolderAliveError(
                        f"the workspace {holder.workspace} holds {path}, and its agent was heard of "
                        f"{max(0.0, now - holder.heartbeat_at):.0f} s ago",
                        hint=f"stop that agent, and ask again {SILENT_SECONDS / 60:.0f} minutes later",
                    )
            if found:
                # Earlier than theirs: when one of them comes back, it finds that the path is not its own any more.
                self._held[path] = min(since for _, since in found) - 1.0
                self._is_dirty = True
        for holder, _ in found:
            log.warning(TAKEN_OVER, path=path, former=holder.workspace)
        return tuple(holder for holder, _ in found)

    def begin(self, access: VolumeAccess) -> None:
        """Read what the others hold, before anything is claimed through this way in. Raises a `VolumeError`."""
        self._read(access)
        with self._lock:
            self._is_dirty, self._written_at = True, 0.0
            self._began_at = self._clock()

    def turn(self, access: VolumeAccess) -> None:
        """Write and read when it is time to, or when a claim has changed; what fails waits for the next turn."""
        now = self._clock()
        with self._lock:
            writes = self._is_dirty or not 0 <= now - self._written_at < HEARTBEAT_SECONDS
            reads = writes or not 0 <= now - self._read_at < _READ_SECONDS
            if self._began_at is not None and now - self._began_at > _SETTLED_SECONDS:
                self._give_up(tuple(self._held))
        try:
            if writes:
                self._write(access)
            is_changed = reads and self._read(access)
            self._is_failing = False
        except VolumeError as error:
            if not self._is_failing:
                log.warning(HOLDERS_FAILED, reason=error.message)
            self._is_failing = True
            return
        if is_changed:
            self._on_change()

    def release(self, access: VolumeAccess) -> None:
        """Hold nothing any more, and say so in the volume. Raises a `VolumeError`."""
        self._read(access)
        with self._lock:
            self._wanted, self._held = {}, {}
        self._write(access)

    def _give_up(self, paths: Iterable[str], *, is_wanted: bool = False) -> None:
        leaving = set(paths)
        if leaving and not is_wanted:
            # Not asked of each claim: with a thousand stacks that is all paths a thousand times.
            leaving -= frozenset().union(*self._wanted.values())
        for path in leaving:
            if self._held.pop(path, None) is not None:
                self._is_dirty = True

    def _find_rival(self, path: str) -> Holder | None:
        mine = self._held.get(path)
        for other in self._others:
            since = other.find_claim(path)
            if since is not None and (mine is None or (since, other.identity) < (mine, self._me.identity)):
                return other
        return None

    def _describe_me(self) -> Holder:
        me = self._me
        return Holder(
            me.identity, me.workspace, me.machine, me.cluster, self._sequence, self._written_at, dict(self._held)
        )

    def _read(self, access: VolumeAccess) -> bool:
        """Take in what is written in the volume; return whether another one's claims are others than before."""
        newest: dict[str, Holder] = {}
        for content in access.read_files(HOLDERS_FOLDER).values():
            found = _parse_holder(content)
            if found is not None and found.sequence >= newest.get(found.identity, found).sequence:
                newest[found.identity] = found
        mine = newest.pop(self._me.identity, None)
        now = self._clock()
        with self._lock:
            if mine is not None and self._began_at is None:
                # What was held before the restart is held since then.
                self._held = {**mine.paths, **self._held}
            if mine is not None:
                self._sequence = max(self._sequence, mine.sequence)
            self._read_at = now
            before = {one.identity: one.paths for one in self._others}
            known = (one for _, one in sorted(newest.items()) if one.paths and not self._is_gone(one, now))
            self._others = tuple(known)
            return before != {one.identity: one.paths for one in self._others}

    def _is_gone(self, other: Holder, now: float) -> bool:
        """Whether a silent holder's checkout was removed or moved: nobody is there who could answer for it."""
        is_here = other.machine == self._me.machine
        return is_here and other.is_silent(now) and not Path(other.workspace).exists()

    def _write(self, access: VolumeAccess) -> None:
        if not self._may_write:
            return
        if (error := make_own_folder(access, HOLDERS_FOLDER)) is not None:
            raise error
        with self._lock:
            self._sequence += 1
            self._written_at = self._clock()
            self._is_dirty = False
            me = self._describe_me()
        try:
            access.write_file(f"{HOLDERS_FOLDER}/{me.identity}.{me.sequence % _SLOTS}.json", _render_holder(me))
        except VolumeError:
            with self._lock:
                self._is_dirty = True
            raise


def describe_me(identity: str, workspace: Path, cluster: str) -> Holder:
    """Return this workspace as a holder that holds nothing yet."""
    return Holder(identity, str(workspace), platform.node(), cluster)


def _render_holder(holder: Holder) -> bytes:
    return json.dumps(
        {
            "format": _FORMAT,
            "identity": holder.identity,
            "workspace": holder.workspace,
            "machine": holder.machine,
            "cluster": holder.cluster,
            "sequence": holder.sequence,
            "heartbeatAt": holder.heartbeat_at,
            "paths": dict(holder.paths),
        },
        indent=1,
    ).encode()


def _parse_holder(content: bytes) -> Holder | None:
    """Return the holder that a file names, None for one that is cut or none of ours."""
    try:
        known: Any = json.loads(content)
        return Holder(
            identity=str(known["identity"]),
            workspace=str(known["workspace"]),
            machine=str(known["machine"]),
            cluster=str(known["cluster"]),
            sequence=int(known["sequence"]),
            heartbeat_at=float(known["heartbeatAt"]),
            paths={str(path): float(since) for path, since in known["paths"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None

"""What the connection to the volume says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.volume.access import AccessKind
    from hostk8s_agent.volume.holders import HolderLedger
    from hostk8s_agent.volume.recognising import RememberedVolume

ConnectionState = Literal["Connecting", "Connected", "Unreachable", "Refused", "VolumeLost", "Absent"]
"""VolumeLost: the volume that held the workspace's data is gone, and a person decides what is to be done.
Absent: there is no Docker here, and the host directory serves."""

Backend = Literal["auto", "docker", "host-directory"]
ForcedAccess = Literal["auto", "direct", "helper-container"]


@dataclass(frozen=True, slots=True)
class DockerState:
    """The connection at an instant.

    `endpoint` is the engine's URL and `origin` who named it, both empty while none is known; `engine_id` and
    `version` are of the engine last talked to. `access` is None unless the state is Connected or Absent.
    `problem` says what is wrong. `since` is when the state began, in UTC. `remembered` is the volume in use, or the
    one last used; None before the first.
    """

    state: ConnectionState
    volume: str
    since: datetime
    endpoint: str = ""
    origin: str = ""
    access: AccessKind | None = None
    engine_id: str = ""
    version: str = ""
    problem: Problem | None = None
    remembered: RememberedVolume | None = None

    @property
    def summary(self) -> object:
        """What makes a change: other words for the same problem (refused, then reset) are none."""
        return self.state, self.endpoint, self.access, self.engine_id, self.problem.code if self.problem else None


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """Which volume, and how it may be reached.

    `workspace` is the workspace's identity (the label of what we make in the engine). `backend` auto takes the
    host directory only where there is no Docker at all and `expects_docker`, which says that this workspace used
    Docker before, is False. `may_create_volume` False is for commands that only look:
    a missing volume is a problem then. `remembered` is the volume that this workspace used, None when it used none:
    another one in its place is a loss. `keeps_volume` says whether a container refers to the volume, so that the
    engine does not let go of it. `ledger` is told each way in that opens, and has its turn at each check.
    """

    volume_name: str
    host_directory: Path
    workspace: str
    cluster_name: str
    backend: Backend = "auto"
    forced_access: ForcedAccess = "auto"
    expects_docker: bool = False
    may_create_volume: bool = True
    remembered: RememberedVolume | None = None
    keeps_volume: bool = False
    ledger: HolderLedger | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the connection looks, in seconds.

    `check_seconds` between two checks of a live engine (with its 4 s timeout a dead one is noticed within 10 s);
    `look_seconds` between two cheap looks for a socket file or a changed context while there is no engine;
    `identify_every` checks the engine is asked who it is.
    """

    check_seconds: float = 5.0
    look_seconds: float = 1.0
    identify_every: int = 12

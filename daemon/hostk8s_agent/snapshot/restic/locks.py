"""restic's own locks: who holds them, and those of the dead taken away.

`restic unlock` removes what restic calls stale: locks of this host whose process is gone, and every lock that is older
than half an hour, also that of another host which merely sleeps. It is called only while all that it would remove are
locks of the dead.
"""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.snapshot.errors import SnapshotError
from hostk8s_agent.snapshot.restic.process import ask_restic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostk8s_agent.snapshot.restic.environment import ResticEnvironment

_STALE: Final = timedelta(minutes=30)
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ResticLock:
    """A lock in a restic repository. `is_exclusive` keeps everybody out, the others only those who want it alone."""

    host: str
    process: int
    user: str
    since: datetime
    is_exclusive: bool

    @property
    def is_dead(self) -> bool:
        """Whether its holder is known to be dead: a process of this host that is not there."""
        return self.host == socket.gethostname() and not _is_alive(self.process)

    @property
    def is_stale_for_restic(self) -> bool:
        """Whether `restic unlock` would remove it."""
        return self.is_dead or datetime.now(UTC) - self.since > _STALE

    def __str__(self) -> str:
        """Render for people."""
        age = int((datetime.now(UTC) - self.since).total_seconds())
        return f"process {self.process} of {self.user} on {self.host}, for {age} s"


def list_locks(environment: ResticEnvironment) -> list[ResticLock]:
    """Return the locks that are there. One that goes meanwhile is left out."""
    found = []
    # Without a lock of our own: it would be one of them.
    for name in _ID.findall(ask_restic("list locks", ["list", "locks", "--no-lock"], environment).decode()):
        try:
            text = ask_restic("read a lock", ["cat", "lock", name, "--no-lock"], environment)
        except SnapshotError:
            continue
        found.append(_parse(json.loads(text)))
    return found


def remove_dead_locks(environment: ResticEnvironment, locks: Sequence[ResticLock]) -> bool:
    """Remove the locks of the dead; return whether that was done: not while it would take away a living one's."""
    if not any(one.is_dead for one in locks) or any(one.is_stale_for_restic and not one.is_dead for one in locks):
        return False
    ask_restic("remove the locks of dead processes", ["unlock"], environment)
    return True


def _parse(document: dict[str, Any]) -> ResticLock:
    return ResticLock(
        str(document.get("hostname", "")),
        int(document.get("pid", 0)),
        str(document.get("username", "")),
        _parse_time(str(document["time"])),
        bool(document.get("exclusive", False)),
    )


def _parse_time(text: str) -> datetime:
    # Go writes nanoseconds; what is beyond the sixth digit is cut off.
    return datetime.fromisoformat(text).astimezone(UTC)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

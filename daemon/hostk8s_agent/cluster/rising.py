"""A server on this machine that comes up: noticed at once, and asked often until it serves.

Between two attempts at a server that is away lie up to 30 s, which is far too long for a cluster that was just made
again. Knocking on a closed port of this machine costs some twenty microseconds and reaches nobody: the kernel
refuses it. Once the port is open a server may still need a while (its storage, its first namespaces), and a port
that Docker publishes is open long before.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hostk8s_agent.cluster.errors import (
    ClusterUnreachableError,
    ClusterWaitError,
    ObjectMissingError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cluster.state import ConnectionTiming
    from hostk8s_agent.errors import ClusterError

_KNOCK_SECONDS = 0.2

# What a server says while it gets ready: nothing whole, 5xx, 429 (its storage is being initialized), or that there is
# no kube-system yet.
_SIGNS_OF_RISING = (ClusterUnreachableError, ClusterWaitError, ObjectMissingError)


class RisingServer:
    """Whether the server is coming up, and how soon it is to be asked again. Used by one thread."""

    def __init__(self, timing: ConnectionTiming, clock: Callable[[], float] = time.monotonic) -> None:
        self._timing = timing
        self._clock = clock
        self._is_closed = False
        self._began_at = float("-inf")

    def begin(self) -> None:
        """Take note that a server should be coming up now.

        One that comes and goes gets no more than one time of eagerness in `eager_for` seconds.
        """
        if self._clock() - self._began_at > self._timing.eager_for:
            self._began_at = self._clock()

    def find_pause_seconds(self, server: str, error: ClusterError) -> float | None:
        """Return how soon to try again after `error`, None when the server does not seem to be coming up.

        The pause is a fiftieth of the time that it has taken already: whatever that is, it hardly gets longer.
        """
        self._is_closed = isinstance(error, ClusterUnreachableError) and _is_port_open(server) is False
        waited = self._clock() - self._began_at
        if self._is_closed or waited > self._timing.eager_for or not isinstance(error, _SIGNS_OF_RISING):
            return None
        return max(self._timing.eager_first, waited / 50)

    def has_come_up(self, server: str) -> bool:
        """Whether a port that was closed after the last attempt is open now. Knocks only then."""
        if not self._is_closed or _is_port_open(server) is not True:
            return False
        self._is_closed = False
        self.begin()
        return True


def _is_port_open(server: str) -> bool | None:
    """Knock; None where the port is not this machine's, or cannot be told."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    if host not in {"localhost", "::1"} and not host.startswith("127."):
        return None
    try:
        socket.create_connection((host, parts.port or 443), timeout=_KNOCK_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return None
    return True

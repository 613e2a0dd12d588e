"""Connections that can be cut from another thread, whatever they are waiting for.

A read that waits for the next watch event, a TLS handshake that the peer does not go on with: neither can be
woken by closing the Python socket. Shutting the TCP connection down does it, through a second descriptor,
because an SSLSocket takes the first one away from the socket that it wraps.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from urllib3.connectionpool import HTTPConnectionPool


class Lifelines:
    """The second descriptors of all open connections of one client. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False

    def tie(self, connected: socket.socket) -> socket.socket | None:
        """Return the lifeline of a connection that was just made, None when all have been cut."""
        lifeline = connected.dup()
        with self._lock:
            if not self._is_cut:
                self._open.add(lifeline)
                return lifeline
        lifeline.close()
        return None

    def untie(self, lifeline: socket.socket) -> None:
        """Forget a connection that was closed."""
        with self._lock:
            self._open.discard(lifeline)
        lifeline.close()

    def cut(self) -> None:
        """Break every open connection, and every one that is made from now on."""
        with self._lock:
            self._is_cut = True
            for lifeline in self._open:
                with contextlib.suppress(OSError):
                    lifeline.shutdown(socket.SHUT_RDWR)

    @property
    def is_cut(self) -> bool:
        """Whether `cut` was called."""
        return self._is_cut


def tie_connections(pool: HTTPConnectionPool, lifelines: Lifelines) -> None:
    """Make all connections that `pool` opens from now on ones that `lifelines` can cut."""
    base = HTTPSConnection if pool.scheme == "https" else HTTPConnection
    # Each pool has a class of its own, because urllib3 builds connections itself and passes nothing through.
    pool.ConnectionCls = type("TiedConnection", (_TiedConnection, base), {"lifelines": lifelines})


class _TiedConnection:
    """What is added to urllib3's connections. `_new_conn` is their hook for making the TCP connection."""

    lifelines: Lifelines
    _lifeline: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._lifeline = self.lifelines.tie(connected)
        if self._lifeline is None:
            connected.close()
            raise NewConnectionError(self, "the client was closed")  # type: ignore[arg-type]
        return connected

    def close(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            self.lifelines.untie(lifeline)
        super().close()  # type: ignore[misc]

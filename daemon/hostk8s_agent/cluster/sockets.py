"""Connections that can be cut from another thread, whatever they are waiting for.

A read that waits for the next watch event, a TLS handshake that the peer does not go on with: neither can be
woken by closing the Python socket. Shutting the TCP connection down does it, through a second descriptor,
because an SSLSocket takes the first one away from the socket that it wraps.
"""

from __future__ import annotations

import contextlib
import socket
import threading


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

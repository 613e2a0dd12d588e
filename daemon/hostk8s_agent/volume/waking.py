"""Waiting that can be ended: by another thread, by a socket that becomes readable, or by the time."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress


class Waker:
    """One thread waits, any thread wakes it. A wake-up before the wait ends the next one at once."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)

    def wait(self, watched: socket.socket | None, seconds: float) -> bool:
        """Return when someone wakes us, `watched` is readable or closed by its peer, or the time is over.

        True when someone woke us.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            if watched is not None:
                selector.register(watched, selectors.EVENT_READ)
            selector.select(seconds)
        with suppress(BlockingIOError):
            return bool(self._reader.recv(4096))
        return False

    def wake(self) -> None:
        """End the wait."""
        # A full buffer wakes as well; a closed one has nobody to wake.
        with suppress(OSError):
            self._writer.send(b"\0")

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()

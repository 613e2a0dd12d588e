"""The socket itself: bound by us, because uvicorn would leave it open to every user (0666)."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from hostk8s_agent.control.errors import ControlSocketError
from hostk8s_agent.control.places import SOCKET_MODE, find_place, make_private_folder, open_address
from hostk8s_agent.serving.server import BACKLOG

if TYPE_CHECKING:
    from pathlib import Path

PROBE_SECONDS = 1.0


class Listener:
    """A Unix socket at its place: folder 0700, socket 0600. Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.place = find_place(path)
        self._inode: int | None = None

    def bind(self) -> socket.socket:
        """Return a listening socket at the place; whoever is given it closes it.

        A socket that nobody answers on is replaced. Raises `ControlSocketError` where somebody does, or where
        something stands that is no socket.
        """
        make_private_folder(self.place.parent)
        self._remove_stale()
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with open_address(self.place) as address:
                server.bind(address)
            # Until here the folder alone keeps others out, which is why it is made first.
            self.place.chmod(SOCKET_MODE)
            server.listen(BACKLOG)
            server.settimeout(0)
            self._inode = self.place.lstat().st_ino
        except OSError as error:
            server.close()
            raise ControlSocketError(
                f"the control socket cannot be made: {self.place} ({error.strerror})",
                hint="set XDG_RUNTIME_DIR to a folder of your own on a local file system",
            ) from error
        return server

    def is_in_place(self) -> bool:
        """Whether the socket that was bound still stands at its place, where clients find it."""
        try:
            return self._inode == self.place.lstat().st_ino
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the socket if it is still the one that was bound. Idempotent.

        One that cannot be removed is stale from now on, and the next start replaces it: no reason to end badly.
        """
        if self.is_in_place():
            with suppress(OSError):
                self.place.unlink(missing_ok=True)
        self._inode = None

    def _remove_stale(self) -> None:
        try:
            status = self.place.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise ControlSocketError(
                f"there is something at {self.place} that is no socket", hint="look at it, and remove it"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, open_address(self.place) as address:
            probe.settimeout(PROBE_SECONDS)
            try:
                probe.connect(address)
            except (ConnectionRefusedError, FileNotFoundError):
                self._unlink_stale()
                return
            except OSError as error:
                # A full backlog (EAGAIN) is somebody, too, just a busy one.
                cause: OSError | None = error
            else:
                cause = None
        raise ControlSocketError(
            f"something answers on {self.place} already (we are process {os.getpid()})",
            hint="hostk8s-agent status shows what; stop it first",
        ) from cause

    def _unlink_stale(self) -> None:
        try:
            self.place.unlink(missing_ok=True)
        except OSError as error:
            raise ControlSocketError(
                f"a socket that nobody answers on cannot be removed: {self.place} ({error.strerror})",
                hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own on a local file system",
            ) from error

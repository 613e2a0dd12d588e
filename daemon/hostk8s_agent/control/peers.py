"""Who is at the other end of a Unix socket, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Protocol

ROOT_UID = 0

# struct ucred of unix(7), SO_PEERCRED: pid, uid, gid.
_UCRED = struct.Struct("iII")
# struct xucred of sys/ucred.h: version, uid, then the groups. SOL_LOCAL and LOCAL_PEERCRED of sys/un.h.
_XUCRED_START = struct.Struct("=II")
_XUCRED_BYTES = 76
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1


class PeerSocket(Protocol):
    """A connected socket, be it `socket.socket` or asyncio's `TransportSocket`."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes:
        """Return an option's bytes."""


def find_peer_uid(connection: PeerSocket) -> int | None:
    """Return the user id of the process that connected, or bound, the other end; None where it cannot be told."""
    try:
        if sys.platform == "linux":
            _pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        else:
            _version, uid = _XUCRED_START.unpack_from(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES))
    except (OSError, struct.error):
        return None
    return int(uid)


def may_ask(uid: int | None) -> bool:
    """Whether a process of this user may talk to our agent: the agent's own user and root."""
    return uid in {os.geteuid(), ROOT_UID}


def may_answer(uid: int | None) -> bool:
    """Whether a process of this user can be our agent: our own user's and root's; root may ask everyone's."""
    return may_ask(uid) or os.geteuid() == ROOT_UID

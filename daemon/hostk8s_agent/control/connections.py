"""One connection to the control socket: whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.control.peers import find_peer_uid, may_ask
from hostk8s_agent.serving.connections import PatientConnection

if TYPE_CHECKING:
    import asyncio

# Event names.
PEER_REFUSED = "control.peer_refused"

log = structlog.get_logger()


class ControlConnection(PatientConnection):
    """A connection of a peer that we know.

    The socket's mode keeps other users out already; the kernel's word for who is there (SO_PEERCRED, unix(7))
    still holds when somebody has changed a mode or hands descriptors on.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless the peer is another user's."""
        super().connection_made(transport)
        uid = find_peer_uid(transport.get_extra_info("socket"))
        if not may_ask(uid):
            log.warning(PEER_REFUSED, uid=uid)
            transport.abort()

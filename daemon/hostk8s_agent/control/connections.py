"""One connection to the control socket: whose it is, and how long it may take to say something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from hostk8s_agent.control.peers import find_peer_uid, may_ask

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

# From the connection to the end of the first request's head.
HEAD_SECONDS = 10.0

# Event names.
PEER_REFUSED = "control.peer_refused"

log = structlog.get_logger()


class ControlConnection(H11Protocol):
    """Uvicorn's HTTP/1 protocol for peers that we know.

    The socket's mode keeps other users out already; the kernel's word for who is there (SO_PEERCRED, unix(7))
    still holds when somebody has changed a mode or hands descriptors on.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless the peer is another user's."""
        super().connection_made(transport)
        uid = find_peer_uid(transport.get_extra_info("socket"))
        if not may_ask(uid):
            log.warning(PEER_REFUSED, uid=uid)
            transport.abort()
            return
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

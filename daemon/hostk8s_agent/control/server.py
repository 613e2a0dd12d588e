"""The control server: the control API on a Unix socket, in a thread and an event loop of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.control.app import build_app
from hostk8s_agent.control.connections import ControlConnection
from hostk8s_agent.control.errors import ControlSocketError
from hostk8s_agent.control.listening import Listener
from hostk8s_agent.serving.server import Service, ThreadServer

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from hostk8s_agent.control.ports import ControlledAgent, DashboardLinks

MAX_CONNECTIONS = 64

# Event names.
STARTED = "control.started"
STOPPED = "control.stopped"
SOCKET_REPLACED = "control.socket_replaced"
SOCKET_LOST = "control.socket_lost"

log = structlog.get_logger()


class ControlServer:
    """Serves one agent on one socket. `start` and `stop` once each, from any thread."""

    def __init__(self, agent: ControlledAgent, socket_path: Path, links: DashboardLinks | None = None) -> None:
        self._listener = Listener(socket_path)
        service = Service(
            name="control",
            build_app=lambda stopping: build_app(agent, stopping, links=links),
            connection=ControlConnection,
            max_connections=MAX_CONNECTIONS,
            keeper=_Keeper(self._listener),
        )
        self._server = ThreadServer(service)

    @property
    def place(self) -> Path:
        """Where the socket really is: `socket_path`, or what stands in for one that is too long."""
        return self._listener.place

    def start(self) -> None:
        """Bind the socket and serve; return once requests are answered. Raises `ControlSocketError`."""
        if not self._server.start(self._listener.bind()):
            raise ControlSocketError(
                f"the control server did not start on {self.place}", hint="the log says why"
            ) from self._server.failure
        log.info(STARTED, socket=str(self.place))

    def stop(self) -> None:
        """Answer no more, end all followers, and remove the socket. Idempotent."""
        if self._server.stop():
            log.info(STOPPED)


class _Keeper:
    """Makes the socket anew when somebody has emptied the runtime folder."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def replace(self) -> socket.socket | None:
        if self._listener.is_in_place():
            return None
        try:
            bound = self._listener.bind()
        except ControlSocketError as error:
            log.warning(SOCKET_LOST, socket=str(self._listener.place), error=error.message)
            return None
        log.warning(SOCKET_REPLACED, socket=str(self._listener.place))
        return bound

    def remove(self) -> None:
        self._listener.remove()

"""The control server: the control API on a Unix socket, in a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import structlog
import uvicorn

from hostk8s_agent.control.app import build_app
from hostk8s_agent.control.connections import ControlConnection
from hostk8s_agent.control.errors import ControlSocketError
from hostk8s_agent.control.listening import BACKLOG, Listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.control.ports import ControlledAgent

MAX_CONNECTIONS = 64
# What a request's head may hold; h11 refuses more.
MAX_HEAD_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 5
# After this long without an end, what still runs is cancelled.
STOP_SECONDS = 2
START_SECONDS = 10.0
# How often the socket is looked for, in case somebody has emptied the runtime folder.
LOOK_SECONDS = 5.0

# Event names.
STARTED = "control.started"
STOPPED = "control.stopped"
SOCKET_REPLACED = "control.socket_replaced"
SOCKET_LOST = "control.socket_lost"

log = structlog.get_logger()


class ControlServer:
    """Serves one agent on one socket. `start` and `stop` once each, from any thread."""

    def __init__(self, agent: ControlledAgent, socket_path: Path) -> None:
        self._agent = agent
        self._listener = Listener(socket_path)
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop: Callable[[], None] | None = None

    @property
    def place(self) -> Path:
        """Where the socket really is: `socket_path`, or what stands in for one that is too long."""
        return self._listener.place

    def start(self) -> None:
        """Bind the socket and serve; return once requests are answered. Raises `ControlSocketError`."""
        bound = self._listener.bind()
        self._thread = threading.Thread(target=self._run, args=(bound,), name="control", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failure is not None:
            raise ControlSocketError(
                f"the control server did not start on {self.place}", hint="the log says why"
            ) from self._failure
        log.info(STARTED, socket=str(self.place))

    def stop(self) -> None:
        """Answer no more, end all followers, and remove the socket. Idempotent."""
        if self._thread is None or self._stop is None:
            return
        self._stop()
        self._thread.join()
        self._thread = None
        log.info(STOPPED)

    def _run(self, bound: socket.socket) -> None:
        try:
            asyncio.run(self._serve(bound))
        except BaseException as error:  # noqa: BLE001 - the thread's end: whoever waits in start() is told
            self._failure = error
        finally:
            bound.close()
            self._listener.remove()
            self._ready.set()

    async def _serve(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop() -> None:
            # A loop that is closed has stopped already.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stopping.set)

        self._stop = stop
        config = uvicorn.Config(
            build_app(self._agent, stopping),
            loop="asyncio",
            http=ControlConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            forwarded_allow_ips="",
            workers=1,
            limit_concurrency=MAX_CONNECTIONS,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        await _Server(config, self._listener, stopping, self._ready).serve(sockets=[bound])


class _Server(uvicorn.Server):
    """Uvicorn without its ten wake-ups a second, which looks after the socket instead."""

    def __init__(
        self, config: uvicorn.Config, listener: Listener, stopping: asyncio.Event, ready: threading.Event
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._stopping = stopping
        self._ready = ready

    async def main_loop(self) -> None:
        """Wait until we are to stop. Every few seconds, make the socket anew if it is gone."""
        self._ready.set()
        while not await self._is_stopped_within(LOOK_SECONDS):
            if not self._listener.is_in_place():
                await self._replace_socket()
        # Before anything else ends: a client that looks now is told that no agent runs, and does not wait for one.
        self._listener.remove()

    async def _is_stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._stopping.wait(), seconds)
        return False

    async def _replace_socket(self) -> None:
        try:
            bound = self._listener.bind()
        except ControlSocketError as error:
            log.warning(SOCKET_LOST, socket=str(self._listener.place), error=error.message)
            return
        self.servers.append(await asyncio.get_running_loop().create_server(self._make_connection, sock=bound))
        log.warning(SOCKET_REPLACED, socket=str(self._listener.place))

    def _make_connection(self) -> asyncio.Protocol:
        return ControlConnection(config=self.config, server_state=self.server_state, app_state={})

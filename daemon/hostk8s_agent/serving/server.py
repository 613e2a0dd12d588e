"""An HTTP server in a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from hostk8s_agent.serving.connections import PatientConnection

BACKLOG = 128
# What a request's head may hold; h11 refuses more.
MAX_HEAD_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 5
# After this long without an end, what still runs is cancelled.
STOP_SECONDS = 2
START_SECONDS = 10.0
# How often a socket that can be lost is looked for, in case somebody has emptied its folder.
LOOK_SECONDS = 5.0


class SocketKeeper(Protocol):
    """Looks after a socket that can be lost: one that is a file. Called from the server's thread."""

    def replace(self) -> socket.socket | None:
        """Return a new listening socket where the old one is gone, else None."""

    def remove(self) -> None:
        """Make it so that nobody finds the socket any more. Idempotent."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is served: `name` is the thread's, `build_app` is given what is set once all that waits must end.

    `keeper` is None for a socket that cannot be lost.
    """

    name: str
    build_app: Callable[[asyncio.Event], ASGIApp]
    connection: type[PatientConnection]
    max_connections: int
    keeper: SocketKeeper | None = None


class ThreadServer:
    """Serves one application on one socket. `start` and `stop` once each, from any thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._stop: Callable[[], None] | None = None
        self.failure: BaseException | None = None

    def start(self, bound: socket.socket) -> bool:
        """Serve on a listening socket, which is ours from now on; return whether requests are answered.

        Where they are not, `failure` says why, as far as it is known.
        """
        self._thread = threading.Thread(target=self._run, args=(bound,), name=self._service.name, daemon=True)
        self._thread.start()
        return self._ready.wait(START_SECONDS) and self.failure is None

    def stop(self) -> bool:
        """Answer no more and end all that waits; return whether that was still to be done. Idempotent."""
        if self._thread is None or self._stop is None:
            return False
        self._stop()
        self._thread.join()
        self._thread = None
        return True

    def _run(self, bound: socket.socket) -> None:
        try:
            asyncio.run(self._serve(bound))
        except BaseException as error:  # noqa: BLE001 - the thread's end: whoever waits in start() is told
            self.failure = error
        finally:
            bound.close()
            if self._service.keeper is not None:
                self._service.keeper.remove()
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
            self._service.build_app(stopping),
            loop="asyncio",
            http=self._service.connection,
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
            limit_concurrency=self._service.max_connections,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        await _Server(config, self._service, stopping, self._ready).serve(sockets=[bound])


class _Server(uvicorn.Server):
    """Uvicorn without its ten wake-ups a second, which looks after the socket instead."""

    def __init__(
        self, config: uvicorn.Config, service: Service, stopping: asyncio.Event, ready: threading.Event
    ) -> None:
        super().__init__(config)
        self._service = service
        self._stopping = stopping
        self._ready = ready

    async def main_loop(self) -> None:
        """Wait until we are to stop. Every few seconds, make a socket that can be lost anew if it is gone."""
        self._ready.set()
        keeper = self._service.keeper
        if keeper is None:
            await self._stopping.wait()
            return
        while not await self._is_stopped_within(LOOK_SECONDS):
            bound = keeper.replace()
            if bound is not None:
                server = await asyncio.get_running_loop().create_server(self._make_connection, sock=bound)
                self.servers.append(server)
        # Before anything else ends: a client that looks now is told that no agent runs, and does not wait for one.
        keeper.remove()

    async def _is_stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._stopping.wait(), seconds)
        return False

    def _make_connection(self) -> asyncio.Protocol:
        return self._service.connection(config=self.config, server_state=self.server_state, app_state={})

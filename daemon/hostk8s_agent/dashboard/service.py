"""The dashboard as the agent starts it: its port, its sessions, its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.dashboard.app import build_dashboard
from hostk8s_agent.dashboard.binding import ADDRESS, bind_port
from hostk8s_agent.dashboard.keeping import Kept, load_kept, save_kept
from hostk8s_agent.dashboard.sessions import SessionKeeper
from hostk8s_agent.errors import DashboardOffError
from hostk8s_agent.serving.connections import PatientConnection
from hostk8s_agent.serving.server import Service, ThreadServer

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

# Fifty pages, each with its stream and a question now and then.
MAX_CONNECTIONS = 128

# Event names.
STARTED = "dashboard.started"
FAILED = "dashboard.failed"
STOPPED = "dashboard.stopped"
NOT_KEPT = "dashboard.not_kept"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """What a person may set, and whose dashboard it is: the workspace's identity, and its folder for what is kept."""

    is_on: bool
    port: int
    serves_metrics: bool
    identity: str
    folder: Path


class Dashboard:
    """The page of one agent. `start` and `stop` once each, from any thread.

    The agent does its work without it: a start that fails is logged, and told to who asks for a link.
    """

    def __init__(self, options: DashboardOptions, build_api: Callable[[asyncio.Event], ASGIApp]) -> None:
        """Take what a person may set, and how the control API is made that answers browsers."""
        self._options = options
        self._build_api = build_api
        self._server: ThreadServer | None = None
        self._sessions: SessionKeeper | None = None
        self._port = 0
        self._reason = "the dashboard is turned off"
        self._hint = "turn it on: HOSTK8S_AGENT_DASHBOARD=true, or dashboard = true in the settings file"

    def start(self) -> None:
        """Serve the page, unless it is turned off; return once requests are answered, or cannot be."""
        if not self._options.is_on:
            return
        kept = load_kept(self._options.folder)
        wanted = self._options.port
        try:
            bound = bind_port(wanted, kept.port if kept.wanted_port == wanted else 0)
        except OSError as error:
            self._fail(f"no port on {ADDRESS} can be had ({error.strerror})")
            return
        self._port = bound.getsockname()[1]
        self._keep(Kept(kept.key, wanted, self._port))
        self._sessions = SessionKeeper(kept.key, self._options.identity)
        self._serve(bound, self._sessions)

    def stop(self) -> None:
        """Answer no more, and end the streams of all pages. Idempotent."""
        if self._server is not None and self._server.stop():
            log.info(STOPPED)

    def create_link(self) -> str:
        """Return a link that opens the page once, within minutes. Raises `DashboardOffError` when there is no page."""
        if self._sessions is None:
            raise DashboardOffError(self._reason, hint=self._hint)
        return f"http://{ADDRESS}:{self._port}/open/{self._sessions.create_token()}"

    def _serve(self, bound: socket.socket, sessions: SessionKeeper) -> None:
        hosts = frozenset({f"{ADDRESS}:{self._port}", f"localhost:{self._port}"})

        def build_app(stopping: asyncio.Event) -> ASGIApp:
            api = self._build_api(stopping)
            return build_dashboard(api, sessions, hosts, serves_metrics=self._options.serves_metrics)

        self._server = ThreadServer(Service("dashboard", build_app, PatientConnection, MAX_CONNECTIONS))
        if self._server.start(bound):
            log.info(STARTED, address=ADDRESS, port=self._port)
        else:
            self._sessions = None
            self._fail(f"the dashboard's server did not start ({self._server.failure})")

    def _keep(self, kept: Kept) -> None:
        try:
            save_kept(self._options.folder, kept)
        except OSError as error:
            # The page works; after a restart it needs a new link.
            log.warning(NOT_KEPT, folder=str(self._options.folder), reason=str(error))

    def _fail(self, reason: str) -> None:
        self._reason, self._hint = reason, "the log says why; the agent does its work without it"
        log.warning(FAILED, reason=reason)

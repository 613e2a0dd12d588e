"""The agent as a service, once, or only planning: what the commands start."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent import connections
from hostk8s_agent.agent import Agent
from hostk8s_agent.control.app import build_app
from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.control.places import find_socket_paths
from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.dashboard.service import Dashboard, DashboardOptions
from hostk8s_agent.logs import configure_logging
from hostk8s_agent.service.notifying import Notifier
from hostk8s_agent.service.supervising import Supervisor
from hostk8s_agent.workspace import CONTRACT_FILE_NAME, Workspace, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.live_settings import LiveSettings
    from hostk8s_agent.plan.actions import Plan
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.status.model import AgentStatus

log = structlog.get_logger()

ANNOUNCE_SECONDS = 30.0
# How often the files of settings are looked at: two calls of stat. Not longer for the signals' sake: Python runs a
# signal's handler in the main thread, and one that the kernel gave to another thread (the main one was being traced)
# does not end a wait without a limit.
LOOK_SECONDS = 1.0


def run_agent(workspace: Workspace, live: LiveSettings, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` is given the lines that a person in front of it should read.

    Other settings (SIGHUP, or a file of them that has changed) are put in force by an agent that takes the place of
    the one that runs, in the same process and under the same lock.
    Raises `AgentAlreadyRunningError` when the workspace has its agent.
    """
    orders = _Orders()
    with WorkspaceLock(workspace):
        supervisor = Supervisor(Notifier(), when_stuck="exit" if live.current.watchdog == "exit" else "tell")
        supervisor.start()
        try:
            while not orders.stopping.is_set():
                _run_with_settings(workspace, live, announce, _Attendants(orders, supervisor))
        finally:
            supervisor.stop()
    log.info("agent.stopped")


class _Orders:
    """What signals ask for. SIGHUP stops what has a terminal (its window was closed), and reloads a service."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.reloading = threading.Event()
        self._woken = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        has_terminal = any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
        signal.signal(signal.SIGHUP, self._stop if has_terminal else self._reload)

    def wait(self, seconds: float) -> None:
        """Wait for a signal."""
        self._woken.wait(seconds)
        self._woken.clear()

    def _stop(self, _number: int, _frame: object) -> None:
        self.stopping.set()
        self._woken.set()

    def _reload(self, _number: int, _frame: object) -> None:
        self.reloading.set()
        self._woken.set()


@dataclass(frozen=True, slots=True)
class _Attendants:
    """Who outlives an agent whose settings change."""

    orders: _Orders
    supervisor: Supervisor


def _run_with_settings(
    workspace: Workspace, live: LiveSettings, announce: Callable[[str], None], attendants: _Attendants
) -> None:
    """Be the agent until it is to stop, or other settings are in force."""
    settings, supervisor, orders = live.current, attendants.supervisor, attendants.orders
    agent = Agent(workspace, settings)
    agent.settings_problems = live.problems
    dashboard = _build_dashboard(agent, workspace, settings)
    server = ControlServer(agent, find_socket_paths(workspace)[0], links=dashboard)
    try:
        # The page first: whoever finds the socket may ask for a link to it.
        dashboard.start()
        server.start()
        agent.start()
        agent.notifications.start(agent.status)
        supervisor.watch(agent, settings.stuck_after_seconds)
        threading.Thread(
            target=_announce, args=(agent, workspace, announce, orders.stopping), name="announcer", daemon=True
        ).start()
        while not orders.stopping.is_set() and not _are_settings_new(live, orders, supervisor, agent):
            orders.wait(LOOK_SECONDS)
    finally:
        if orders.stopping.is_set():
            supervisor.stop()
        server.stop()
        dashboard.stop()
        agent.notifications.stop()
        agent.stop()


def _are_settings_new(live: LiveSettings, orders: _Orders, supervisor: Supervisor, agent: Agent) -> bool:
    """Read the settings anew where that is asked for or a file has changed; return whether others are in force."""
    is_asked = orders.reloading.is_set()
    if not is_asked and not live.has_changed():
        return False
    orders.reloading.clear()
    # Between RELOADING and READY systemd waits for us, so that nobody supervises in the meantime.
    supervisor.watch(None)
    is_changed = live.reload()
    log.info("settings.reloaded", is_changed=is_changed, problems=len(live.problems()))
    if is_changed:
        configure_logging(live.current.log_level, live.current.log_format)
    else:
        supervisor.watch(agent, live.current.stuck_after_seconds)
    return is_changed


def _build_dashboard(agent: Agent, workspace: Workspace, settings: Settings) -> Dashboard:
    options = DashboardOptions(
        is_on=settings.dashboard,
        port=settings.dashboard_port,
        serves_metrics=settings.dashboard_metrics,
        identity=workspace.identity,
        folder=state_folder(workspace),
    )
    return Dashboard(options, lambda stopping: build_app(agent, stopping, refuses_browsers=False))


def run_once(workspace: Workspace, settings: Settings, timeout_seconds: float) -> AgentStatus:
    """Reconcile everything once and return what is true then, or at the timeout.

    Raises `AgentAlreadyRunningError` when the workspace has its agent.
    """
    _end_in_order()
    with WorkspaceLock(workspace):
        agent = Agent(workspace, settings)
        agent.start()
        try:
            agent.wait_until_settled(timeout_seconds)
            return agent.status()
        finally:
            agent.stop()


def plan_once(workspace: Workspace, settings: Settings, stack: str | None, timeout_seconds: float) -> tuple[Plan, ...]:
    """Return what a run of the stack (None: of each) would do, without an agent. Changes nothing anywhere."""
    _end_in_order()
    agent = Agent(workspace, settings, only_plans=True)
    try:
        return agent.plan_without_running(stack, timeout_seconds)
    finally:
        agent.stop()


def release_volume(workspace: Workspace, settings: Settings) -> bool:
    """Take away what keeps the Docker volume; return whether anything did.

    Raises `AgentAlreadyRunningError` when the workspace has its agent, which would make it again.
    """
    with WorkspaceLock(workspace):
        return connections.release_volume(workspace, settings)


def _end_in_order() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: by way of its clean-up, the helper container's too."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def _announce(agent: Agent, workspace: Workspace, announce: Callable[[str], None], stopping: threading.Event) -> None:
    """Say, once it is known, where things go and what to do next."""
    agent.wait_until_settled(ANNOUNCE_SECONDS)
    if stopping.is_set():
        return
    status = agent.status()
    where = status.docker.message or f"Docker is {status.docker.state.lower()}, volume {status.docker.volume}"
    cluster = status.cluster.message or f"the cluster {status.cluster.context} is {status.cluster.state.lower()}"
    announce(f"{where}; {cluster}")
    # HostK8s' own first stack is called sample, and the demo has one.
    stacks = sorted(status.stacks, key=lambda stack: (stack.name != "sample", stack.name))
    first = next(iter(stacks), None)
    if first is None:
        announce(f"no contract yet: write {workspace.stacks_root}/<stack>/{CONTRACT_FILE_NAME} and save it")
    else:
        announce(f"edit {workspace.root / first.file} and save it")
        announce(f"what is true then: {sys.argv[0]} status --workspace {workspace.root}")
        announce(f"the same in a browser: {sys.argv[0]} dashboard --workspace {workspace.root}")

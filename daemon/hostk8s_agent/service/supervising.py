"""The thread that tells the service manager how the agent does, and ends an agent that is stuck.

systemd is told READY after everything was tried once, STATUS when it changes, and WATCHDOG as long as every heartbeat
is fresh: when one is not, systemd restarts us. launchd has no watchdog, so that we end by ourselves there (exit 70).
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from hostk8s_agent.service.heartbeats import Heartbeat, find_stuck

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.service.notifying import Notifier
    from hostk8s_agent.status.model import AgentStatus

log = structlog.get_logger()

TICK_SECONDS = 1.0
# READY comes by then, whatever is still being tried: a service that waits calmly is up.
READY_SECONDS = 60.0
# EX_SOFTWARE of sysexits.h.
EXIT_STUCK = 70

STUCK = "agent.stuck"


class Vitality(Protocol):
    """The signs of life of an agent: `VitalSigns`."""

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """Return the heartbeat of each thread that must go on."""

    def has_tried_everything(self) -> bool:
        """Whether every stack was reconciled once, and Docker and the cluster were tried."""


class SupervisedAgent(Protocol):
    """The agent as its supervisor sees it."""

    @property
    def vital_signs(self) -> Vitality:
        """Its signs of life."""

    def status(self) -> AgentStatus:
        """Return what is true now."""

    @property
    def last_event_sequence(self) -> int:
        """The number of the newest event: nothing changes without one."""


class Supervisor:
    """Supervises one agent at a time; `watch` names it, and names another one after a reload."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        when_stuck: Literal["tell", "exit"],
        tick_seconds: float = TICK_SECONDS,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._notifier = notifier
        self._when_stuck = when_stuck
        self._end = end
        # systemd recommends half of the time; a third leaves room for a machine that is busy.
        self._tick_seconds = min(tick_seconds, (notifier.watchdog_seconds or 3 * tick_seconds) / 3)
        self._lock = threading.Lock()
        self._agent: SupervisedAgent | None = None
        self._limit_seconds = 0.0
        self._ready_by = 0.0
        self._is_ready = False
        self._seen = -1
        self._told = ""
        self._stuck: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin. Where nobody asks and nothing is to be ended, no thread is started."""
        if self._notifier.is_asked or self._when_stuck == "exit":
            self._thread.start()

    def stop(self) -> None:
        """Tell that the agent stops; from here on only its end is waited for. Twice is as good as once."""
        if self._stopping.is_set():
            return
        self._notifier.tell_stopping()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, agent: SupervisedAgent | None, limit_seconds: float = 0.0) -> None:
        """Supervise this agent from now on; None while the settings are read anew and there is none."""
        if agent is None:
            self._notifier.tell_reloading()
        with self._lock:
            self._agent, self._limit_seconds = agent, limit_seconds
            self._is_ready, self._seen, self._told, self._stuck = False, -1, "", ()
            self._ready_by = time.monotonic() + READY_SECONDS

    def _run(self) -> None:
        while not self._stopping.wait(self._tick_seconds):
            with self._lock:
                try:
                    self._look()
                except Exception:
                    # No WATCHDOG then: a supervisor that cannot look does not vouch for anything.
                    log.exception("supervisor.crashed")

    def _look(self) -> None:
        agent = self._agent
        if agent is None:
            # Reading the settings anew has its own end in systemd (TimeoutStartSec), and is alive till then.
            self._notifier.tell_alive()
            return
        stuck = find_stuck(agent.vital_signs.heartbeats(), time.monotonic(), self._limit_seconds)
        if stuck:
            self._tell_stuck(stuck)
            return
        self._stuck = ()
        self._notifier.tell_alive()
        is_tried = agent.vital_signs.has_tried_everything() or time.monotonic() > self._ready_by
        is_first = is_tried and not self._is_ready
        sequence = agent.last_event_sequence
        if sequence == self._seen and not is_first:
            return
        status = summarize(agent.status())
        if is_first:
            self._is_ready = True
            self._notifier.tell_ready(status)
        elif status != self._told:
            self._notifier.tell_status(status)
        self._seen, self._told = sequence, status

    def _tell_stuck(self, stuck: tuple[str, ...]) -> None:
        if stuck == self._stuck:
            return
        self._stuck = stuck
        names = ", ".join(stuck)
        log.error(STUCK, threads=names, limit_seconds=self._limit_seconds)
        self._notifier.tell_status(f"stuck for more than {self._limit_seconds:g} s: {names}")
        if self._when_stuck == "exit":
            faulthandler.dump_traceback(sys.stderr)
            self._end(EXIT_STUCK)


def summarize(status: AgentStatus) -> str:
    """Return the one line of `systemctl status`: how many stacks are Ready, and what is away."""
    away = [
        f"{name} {part.state.lower()}"
        for name, part in (("Docker", status.docker), ("the cluster", status.cluster))
        if part.state not in {"Connected", "Absent"}
    ]
    if status.agent.state == "Starting":
        return ", ".join(["starting", *away])
    ready = sum(stack.state == "Ready" for stack in status.stacks)
    number = len(status.stacks)
    problems = [f"{len(status.problems)} problems"] if status.problems else []
    return ", ".join([f"{ready} of {number} stacks Ready", *away, *problems])

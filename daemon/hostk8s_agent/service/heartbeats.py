"""Whether all of the agent's threads go on: each has a heartbeat, and one that stands still too long is stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One thread, or one kind of them. `at` is the monotonic second at which it was last known to go on.

    Of one that works on something it is when that began; None when it has nothing to do.
    """

    name: str
    at: float | None


def find_stuck(heartbeats: Iterable[Heartbeat], now: float, limit_seconds: float) -> tuple[str, ...]:
    """Return the names of those that stand still for longer than the limit, sorted."""
    return tuple(sorted(one.name for one in heartbeats if one.at is not None and now - one.at > limit_seconds))


class WatcherState(Protocol):
    """How the watcher does, as far as it matters here."""

    @property
    def heartbeat(self) -> float:
        """When its thread was last known to go on."""


class Watcher(Protocol):
    """The watcher of contracts."""

    def state(self) -> WatcherState:
        """Say how it does."""


class Connections(Protocol):
    """The connections to Docker and the cluster."""

    def heartbeats(self) -> Mapping[str, float]:
        """When the thread of each was last known to go on."""

    def is_connecting(self) -> bool:
        """Whether either is still being tried for the first time."""


class Workers(Protocol):
    """Those who reconcile."""

    def oldest_heartbeat(self) -> float | None:
        """When the longest run under way began."""

    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""


class Schedule(Protocol):
    """Whoever looks what is due."""

    @property
    def heartbeat(self) -> float | None:
        """When its thread was last known to go on, None before its start."""


class VitalSigns:
    """The heartbeats of one agent's threads, and whether everything was tried once. From any thread."""

    def __init__(
        self,
        is_scanned: Callable[[], bool],
        watcher: Watcher,
        connections: Connections,
        workers: Workers,
        schedule: Schedule,
    ) -> None:
        self._is_scanned = is_scanned
        self._watcher = watcher
        self._connections = connections
        self._workers = workers
        self._schedule = schedule
        self._has_tried_everything = False

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """Return the heartbeat of each thread that must go on."""
        return (
            Heartbeat("contract watcher", self._watcher.state().heartbeat),
            *(Heartbeat(f"{name} connection", at) for name, at in self._connections.heartbeats().items()),
            Heartbeat("reconcile worker", self._workers.oldest_heartbeat()),
            Heartbeat("snapshot schedule", self._schedule.heartbeat),
        )

    def has_tried_everything(self) -> bool:
        """Whether every stack was reconciled once; waiting for Docker or the cluster is an outcome too."""
        if not self._has_tried_everything:
            self._has_tried_everything = (
                self._is_scanned() and not self._connections.is_connecting() and self._workers.is_idle()
            )
        return self._has_tried_everything

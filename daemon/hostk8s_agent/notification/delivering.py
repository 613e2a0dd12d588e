"""One channel's thread: takes notices at once, delivers them when it can, and remembers how that went."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.notification.channels import NotificationError
from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.model import NotificationChannelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.notification.channels import Channel
    from hostk8s_agent.notification.noticing import Notice

log = structlog.get_logger()

RETRY_SECONDS: Final = (5.0, 60.0, 600.0)
"""After how long a notice is tried again; then it is given up."""

MAX_WAITING: Final = 20
# A stop waits no longer for a webhook that does not answer.
STOP_SECONDS: Final = 1.0


class Courier:
    """Delivers by one channel. `start` and `stop` once each; the rest from any thread, and returns at once.

    `on_outcome` is told each notice that was delivered (reason empty) or given up.
    """

    def __init__(
        self,
        channel: Channel,
        on_outcome: Callable[[NotificationChannelStatus, str], None],
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self.channel = channel
        self._on_outcome = on_outcome
        self._retry_seconds = tuple(retry_seconds)
        self._status = NotificationChannelStatus(channel.name, channel.target)
        self._waiting: deque[Notice] = deque(maxlen=MAX_WAITING)
        self._under_way: Notice | None = None
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{channel.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more; who is being told meanwhile is not waited for."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def post(self, notice: Notice) -> None:
        """Have it delivered. Of more than 20 that wait the oldest is dropped."""
        with self._changed:
            self._waiting.append(notice)
            self._changed.notify()

    @property
    def status(self) -> NotificationChannelStatus:
        """How it went so far."""
        with self._changed:
            return self._status

    @property
    def undelivered(self) -> tuple[Notice, ...]:
        """What is still to be delivered, the oldest first. After a stop: what was not."""
        with self._changed:
            return (*((self._under_way,) if self._under_way else ()), *self._waiting)

    def try_now(self, notice: Notice) -> str:
        """Deliver a notice in the calling thread; return why that failed, empty when it did not."""
        try:
            self.channel.deliver(notice)
        except NotificationError as error:
            self._note(notice, error.message)
            return error.message
        except Exception:
            log.exception("notification.crashed", channel=self.channel.name)
            self._note(notice, "it failed unexpectedly: see the agent's log")
            return "it failed unexpectedly: see the agent's log"
        self._note(notice, "")
        return ""

    def _run(self) -> None:
        while (notice := self._take()) is not None:
            failure = self.try_now(notice)
            for seconds in self._retry_seconds:
                if not failure or self._stopping.wait(seconds):
                    break
                failure = self.try_now(notice)
            if self._stopping.is_set() and failure:
                return
            self._settle(failure)

    def _take(self) -> Notice | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
            self._under_way = None if self._stopping.is_set() else self._waiting.popleft()
            return self._under_way

    def _note(self, notice: Notice, failure: str) -> None:
        with self._changed:
            self._status = replace(
                self._status,
                state="Failing" if failure else "Delivered",
                last_at=render_time(time.time()),
                title=notice.title,
                message=failure,
            )

    def _settle(self, failure: str) -> None:
        with self._changed:
            self._under_way = None
            before = self._status
            self._status = status = replace(
                before, delivered=before.delivered + (not failure), failed=before.failed + bool(failure)
            )
        self._on_outcome(status, failure)

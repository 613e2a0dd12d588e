"""The agent's notifications: looks at the status now and then, and has what is due delivered by every channel."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.errors import Problem
from hostk8s_agent.notification.conditions import CODE_UNDELIVERED, find_conditions
from hostk8s_agent.notification.delivering import Courier
from hostk8s_agent.notification.keeping import Kept, parse_kept, render_kept
from hostk8s_agent.notification.noticing import Notice, Noticer, load_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hostk8s_agent.notification.channels import Channel
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.status.board import StatusBoard
    from hostk8s_agent.status.model import AgentStatus, NotificationChannelStatus

log = structlog.get_logger()

LOOK_SECONDS: Final = 30.0
# Beyond what a command may take.
TEST_SECONDS: Final = 40.0
FACT_TOLD: Final = "notification.told"
FACT_UNDELIVERED: Final = "notification.undelivered"

SENT: Final = "notification.delivered"
UNDELIVERED: Final = "notification.failed"


class Notifications:
    """Tells somebody. `start` and `stop` once each; the rest from any thread.

    `facts` are those that an earlier run recorded; `record_fact` keeps one for the next (name, value).
    """

    def __init__(
        self,
        settings: Settings,
        channels: Sequence[Channel],
        workspace: str,
        board: StatusBoard,
        facts: Mapping[str, str],
        record_fact: Callable[[str, str], None],
    ) -> None:
        self._board = board
        self._record_fact = record_fact
        self._workspace = workspace
        self._told = facts.get(FACT_TOLD, "")
        self._noticer = Noticer(load_terms(settings), workspace, self._told)
        self._look_seconds = max(1.0, min(LOOK_SECONDS, settings.notify_after_seconds / 2))
        self._couriers = tuple(Courier(one, self._tell_outcome) for one in channels)
        self._undelivered = facts.get(FACT_UNDELIVERED, "")
        # By the channel's name; of a channel that is no longer set nothing is kept.
        earlier = parse_kept(self._undelivered)
        self._kept = {one.name: earlier.get(one.name, Kept()) for one in channels}
        self._recording = threading.Lock()
        self._find_status: Callable[[], AgentStatus] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self, find_status: Callable[[], AgentStatus]) -> None:
        """Begin to look. Without a channel no thread is started."""
        self._find_status = find_status
        for courier in self._couriers:
            courier.start()
        if self._couriers:
            self._thread.start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for courier in self._couriers:
            courier.stop()

    def status(self) -> tuple[NotificationChannelStatus, ...]:
        """How each channel does."""
        return tuple(courier.status for courier in self._couriers)

    def problems(self) -> tuple[Problem, ...]:
        """The channels that fail though somebody should be there."""
        return tuple(
            Problem(
                CODE_UNDELIVERED,
                f"nobody is told by the {courier.channel.name}: {courier.status.message}",
                "mend the setting, then try it: hostk8s-agent notify test",
            )
            for courier in self._couriers
            if courier.status.state == "Failing" and not courier.channel.may_fail
        )

    def test(self) -> tuple[NotificationChannelStatus, ...]:
        """Tell by every channel that this is a test, and return how that went."""
        return try_couriers(self._couriers, self._workspace)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_seconds):
            try:
                self._look()
            except Exception:
                # Somebody's odd status must not end all telling.
                log.exception("notifications.crashed")

    def _look(self) -> None:
        if self._find_status is None:
            return
        look = find_conditions(self._find_status(), datetime.now(UTC))
        notices = self._noticer.notice(look, time.monotonic(), time.time())
        for courier in self._couriers:
            kept = self._kept[courier.channel.name]
            for notice in (*kept.take_due(look, self._noticer, notices), *notices):
                courier.post(notice)
        # Before what was told: what a crash leaves between the two is told once more, and not never.
        self._record_undelivered()
        if (told := self._noticer.render_told()) != self._told:
            self._told = told
            self._record_fact(FACT_TOLD, told)

    def _record_undelivered(self) -> None:
        with self._recording:
            still = {name: Kept(dict(one.wrong), dict(one.over)) for name, one in self._kept.items()}
            for courier in self._couriers:
                for notice in courier.undelivered:
                    still[courier.channel.name].add(notice)
            if (undelivered := render_kept(still)) != self._undelivered:
                self._undelivered = undelivered
                self._record_fact(FACT_UNDELIVERED, undelivered)

    def _tell_outcome(self, status: NotificationChannelStatus, failure: str) -> None:
        self._record_undelivered()
        words = f"{status.channel} {status.target}: {status.title}"
        if failure:
            log.warning(UNDELIVERED, channel=status.channel, target=status.target, reason=failure)
            self._board.record_event(UNDELIVERED, f"{words} ({failure})", reason=CODE_UNDELIVERED, is_warning=True)
        else:
            log.info(SENT, channel=status.channel, target=status.target)
            self._board.record_event(SENT, words, reason="NotificationDelivered")


def try_couriers(couriers: Sequence[Courier], workspace: str) -> tuple[NotificationChannelStatus, ...]:
    """Tell by each courier, all at once, that this is a test; return how that went, in their order."""
    notice = Notice(f"HostK8s {workspace}: this is a test", "hostk8s-agent notify test was run.", ("test",), ())
    tries = [threading.Thread(target=one.try_now, args=(notice,), daemon=True) for one in couriers]
    for one in tries:
        one.start()
    deadline = time.monotonic() + TEST_SECONDS
    for one in tries:
        one.join(max(0.0, deadline - time.monotonic()))
    return tuple(
        replace(courier.status, state="Failing", title=notice.title, message=f"no end within {TEST_SECONDS:g} s")
        if one.is_alive()
        else courier.status
        for courier, one in zip(couriers, tries, strict=True)
    )

"""Tells on a PersistentVolume what concerns it, as events that `kubectl describe pv` shows."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.cluster.errors import ClusterForbiddenError, ObjectMissingError
from hostk8s_agent.cluster.event_rules import EventQueue, Occurrences, Told, render_count, render_event
from hostk8s_agent.cluster.requests import MERGE_PATCH, Request
from hostk8s_agent.errors import ClusterError
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.objects import FIELD_MANAGER

if TYPE_CHECKING:
    from hostk8s_agent.cluster.connection import ClusterConnection
    from hostk8s_agent.cluster.requests import ClusterClient
    from hostk8s_agent.status.board import Event

log = structlog.get_logger()

EVENTS_FORBIDDEN = "cluster.events_forbidden"
EVENTS_FAILED = "cluster.events_failed"

PREFIX = "PersistentVolume/"
_COLLECTION = "/api/v1/namespaces/default/events"
# With the cluster away there is nobody to tell; what waits is told when it is back.
_AWAY_SECONDS = 30.0
_STOP_SECONDS = 2.0


class EventPublisher:
    """Writes Kubernetes Events, from a thread of its own and never more than a few a minute.

    A cluster that does not let us write events is told once in the log, and asked again only when another one comes.
    """

    def __init__(self, connection: ClusterConnection) -> None:
        self._connection = connection
        self._queue = EventQueue()
        self._wake = threading.Condition()
        self._is_stopping = False
        self._forbidden_by: str | None = None
        self._is_failing = False
        self._cluster = ""
        self._thread = threading.Thread(target=self._run, name="cluster-events", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is not written any more."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def take(self, event: Event) -> None:
        """Take an event of the board; those that are of no PersistentVolume are passed over. Returns at once."""
        if not event.subject.startswith(PREFIX) or not event.reason:
            return
        key = ObjectKey("PersistentVolume", event.subject.removeprefix(PREFIX))
        with self._wake:
            self._queue.add(Told(key, event.severity, event.reason, event.message), event.at)
            self._wake.notify()

    def wake(self) -> None:
        """Look again: the connection is in another state."""
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        while (one := self._wait_for_next()) is not None:
            try:
                self._write(self._connection.client(), one)
            except ClusterForbiddenError as error:
                self._forbidden_by = self._cluster
                log.warning(EVENTS_FORBIDDEN, reason=error.message)
            except ClusterError as error:
                # Events are a courtesy: what could not be written is in our own history, and is not tried again.
                if not self._is_failing:
                    log.warning(EVENTS_FAILED, code=error.code, reason=error.message)
                self._is_failing = True
            except Exception:
                log.exception(EVENTS_FAILED)
            else:
                self._is_failing = False

    def _wait_for_next(self) -> Occurrences | None:
        """Return what is to be written now, None when it is time to end."""
        with self._wake:
            while not self._is_stopping:
                if not self._may_write():
                    self._wake.wait(_AWAY_SECONDS)
                    continue
                wait_seconds = self._queue.seconds_until_next(time.monotonic())
                if wait_seconds == 0.0:
                    return self._queue.take(time.monotonic())
                self._wake.wait(wait_seconds)
            return None

    def _may_write(self) -> bool:
        state = self._connection.state()
        if state.state != "Connected":
            return False
        if state.uid != self._cluster:
            # The counts are those of events that this cluster does not have.
            if self._cluster:
                self._queue.forget_all()
            self._cluster, self._forbidden_by = state.uid, None
        return self._forbidden_by != self._cluster

    def _write(self, client: ClusterClient, one: Occurrences) -> None:
        target = self._connection.observe_objects("", [one.told.key]).get(one.told.key)
        if target is None:
            return  # it is gone by now: there is nothing to show the event on
        if one.name and one.uid == target.uid:
            try:
                path = f"{_COLLECTION}/{one.name}"
                client.send(Request("patch", path, f"count Event/{one.name}", None, render_count(one), MERGE_PATCH))
            except ObjectMissingError:
                one.name = ""  # the server forgets events after an hour
            else:
                self._note_written(one)
                return
        name = f"{one.told.key.name}.{secrets.token_hex(8)}"
        event = render_event(one, target.uid, name, FIELD_MANAGER)
        client.send(Request("create", _COLLECTION, f"create Event/{name}", None, event, "application/json"))
        one.name, one.uid = name, target.uid
        self._note_written(one)

    @staticmethod
    def _note_written(one: Occurrences) -> None:
        one.sent = one.count
        one.written_at = time.monotonic()

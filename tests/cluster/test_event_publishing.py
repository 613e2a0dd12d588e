"""Events on PersistentVolumes, on the real API server, and on one that does not let us write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from hostk8s_agent.cluster.event_publishing import EVENTS_FORBIDDEN, EventPublisher
from hostk8s_agent.status.board import Event

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, Connected, FaultyApiServer, Person

Wait = Callable[..., None]
EVENTS = "/api/v1/namespaces/default/events"


def event(name: str, message: str, **fields: Any) -> Event:
    """An event of the board."""
    subject = fields.pop("subject", f"PersistentVolume/{name}")
    reason = fields.pop("reason", "DriftRepaired")
    return Event(1, "2025-01-31T08:00:00.000Z", "drift", "sample", message, subject, reason=reason, **fields)


@pytest.fixture
def publish() -> Iterator[Callable[[Any], EventPublisher]]:
    """A function that starts a publisher; all are stopped."""
    started: list[EventPublisher] = []

    def start(connection: Any) -> EventPublisher:
        started.append(EventPublisher(connection))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.cluster
def test_what_concerns_a_volume_is_shown_on_it_and_counted(
    person: Person, connected: Connected, publish: Callable[[Any], EventPublisher], wait_until: Wait
) -> None:
    """`kubectl describe pv` shows reason, message, type and how often; what is of no volume is nowhere."""
    volume = person.volume("events")
    connected.apply(person.storage_class(), volume)
    name = volume["metadata"]["name"]
    publisher = publish(connected.connection)

    def find() -> list[dict[str, Any]]:
        found = json.loads(person.kubectl("get", "events", "-n", "default", "-o", "json"))["items"]
        return [one for one in found if one["involvedObject"]["name"] == name]

    publisher.take(event(name, "its size was put back", severity="Warning"))
    wait_until(lambda: len(find()) == 1, "the event")
    publisher.take(event("a-stack", "no volume", subject="sample"))
    publisher.take(event(name, "without a reason", reason=""))
    publisher.take(event("was-never-there", "no such volume"))
    publisher.take(event(name, "its size was put back", severity="Warning"))
    wait_until(lambda: find()[0]["count"] == 2, "the count")
    [shown] = find()
    assert (shown["reason"], shown["message"], shown["type"]) == ("DriftRepaired", "its size was put back", "Warning")
    assert shown["source"] == {"component": "hostk8s-agent"}
    assert shown["involvedObject"]["uid"] == connected.observe(volume).uid
    assert "its size was put back" in person.kubectl("describe", "pv", name)
    person.kubectl("delete", "event", "-n", "default", shown["metadata"]["name"])
    publisher.take(event(name, "its size was put back", severity="Warning"))
    wait_until(lambda: [one["count"] for one in find()] == [3], "made anew after it was forgotten", 60)
    person.kubectl("delete", "event", "-n", "default", find()[0]["metadata"]["name"])


def test_a_cluster_that_lets_nobody_write_events_is_told_once(
    faulty: FaultyApiServer,
    connect: Connect,
    faulty_kubeconfig: Path,
    publish: Callable[[Any], EventPublisher],
    wait_until: Wait,
) -> None:
    """A 403 is harmless: one line in the log, one request, and the connection stays as it is."""
    volume = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "100"}}
    volumes = {"metadata": {"resourceVersion": "100"}, "items": [volume]}
    faulty.rule = lambda verb, path, _query: (
        faulty.answer(403)
        if verb == "POST"
        else faulty.answer(body=volumes)
        if verb == "GET" and path == "/api/v1/persistentvolumes"
        else None
    )
    with capture_logs() as logs:
        connected = connect(faulty_kubeconfig)
        wait_until(lambda: connected.state == "Connected", "connected")
        publisher = publish(connected.connection)
        for number in range(10):
            publisher.take(event("a", f"change {number}"))
        wait_until(lambda: any(one["event"] == EVENTS_FORBIDDEN for one in logs), "it is told")
        publisher.take(event("a", "one more"))
        publisher.stop()
    assert [path for _, verb, path in faulty.requests if verb == "POST"] == [EVENTS]
    assert sum(one["event"] == EVENTS_FORBIDDEN for one in logs) == 1
    assert connected.state == "Connected"

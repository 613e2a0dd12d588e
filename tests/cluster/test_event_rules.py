"""What is told on the cluster's objects: one event for the same thing, and never many requests."""

from __future__ import annotations

from hostk8s_agent.cluster.event_rules import (
    KNOWN_LIMIT,
    REQUESTS_AT_ONCE,
    SAME_SECONDS,
    SECONDS_A_REQUEST,
    WAITING_LIMIT,
    EventQueue,
    Told,
    render_count,
    render_event,
)
from hostk8s_agent.plan.desired import ObjectKey

AT = "2025-01-31T08:00:00.123Z"
LATER = "2025-01-31T08:01:00.456Z"


def told(message: str = "put back", name: str = "a") -> Told:
    """Something that happened to a volume."""
    return Told(ObjectKey("PersistentVolume", name), "Normal", "DriftRepaired", message)


def test_the_same_thing_is_one_event_whose_count_is_raised() -> None:
    """As client-go's recorder does it: by object, type, reason and message."""
    queue = EventQueue()
    queue.add(told(), AT)
    first = queue.take(0.0)
    event = render_event(first, "uid-1", "a.1", "hostk8s-agent")
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "PersistentVolume", "name": "a", "uid": "uid-1"}
    assert (event["reason"], event["message"], event["type"]) == ("DriftRepaired", "put back", "Normal")
    assert (event["count"], event["firstTimestamp"], event["metadata"]["namespace"]) == (
        1,
        "2025-01-31T08:00:00Z",
        "default",
    )
    first.name, first.sent = "a.1", 1
    queue.add(told(), LATER)
    queue.add(told(), LATER)
    queue.add(told("something else"), LATER)
    again = queue.take(0.0)
    assert (again is first, render_count(again)) == (True, {"count": 3, "lastTimestamp": "2025-01-31T08:01:00Z"})
    assert queue.take(0.0).told.message == "something else"
    assert queue.seconds_until_next(0.0) is None


def test_never_more_than_a_burst_and_then_a_few_a_minute() -> None:
    """However much happens: a cluster with a thousand volumes is not to notice us."""
    queue = EventQueue()
    taken = 0
    for second in range(600):
        queue.add(told(f"change {second}"), AT)
        while queue.seconds_until_next(float(second)) == 0.0:
            queue.take(float(second))
            taken += 1
    assert taken == REQUESTS_AT_ONCE + 599 // SECONDS_A_REQUEST


def test_what_waits_and_what_is_known_is_bounded() -> None:
    """The oldest are dropped: they are in our own history."""
    queue = EventQueue()
    for number in range(3 * KNOWN_LIMIT):
        queue.add(told(str(number)), AT)
    assert (len(queue._waiting), len(queue._known)) == (WAITING_LIMIT, WAITING_LIMIT)
    assert queue.take(0.0).told.message == str(3 * KNOWN_LIMIT - WAITING_LIMIT)
    for number in range(2 * KNOWN_LIMIT):
        now = number * SECONDS_A_REQUEST
        queue.add(told(f"later {number}"), AT)
        while queue.seconds_until_next(now) == 0.0:
            queue.take(now)
    assert len(queue._known) == KNOWN_LIMIT


def test_after_a_long_pause_the_same_thing_is_a_new_event() -> None:
    """The server has forgotten the old one by then: its count begins anew."""
    queue = EventQueue()
    queue.add(told(), AT)
    first = queue.take(0.0)
    first.name, first.sent, first.written_at = "a.1", 1, 0.0
    queue.add(told(), LATER)
    again = queue.take(SAME_SECONDS + 1)
    assert (again.name, again.count, again.first_at) == ("", 1, LATER)


def test_another_cluster_is_told_nothing_of_the_old_one() -> None:
    """Its objects have other UIDs, and it has none of the events."""
    queue = EventQueue()
    queue.add(told(), AT)
    queue.forget_all()
    assert queue.seconds_until_next(0.0) is None

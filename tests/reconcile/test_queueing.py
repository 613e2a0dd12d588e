"""The queue: one key is never in two hands, and nothing that was asked for is forgotten."""

from __future__ import annotations

import threading

import pytest

from hostk8s_agent.reconcile.queueing import WorkQueue


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue:
    """An empty queue on that clock."""
    return WorkQueue(clock=clock)


def take_all(queue: WorkQueue) -> list[str]:
    """Take and finish keys until none waits."""
    taken = []
    while len(queue):
        key = queue.get()
        assert key is not None
        queue.finish(key)
        taken.append(key)
    return taken


def test_a_key_that_is_added_often_is_worked_on_once(queue: WorkQueue) -> None:
    """An editor's burst of events is one run."""
    for _ in range(5):
        queue.add("a")
    queue.add("b")
    assert take_all(queue) == ["a", "b"]


def test_a_key_that_is_added_during_its_run_is_run_once_more(queue: WorkQueue) -> None:
    """A save in the middle of a run must not be lost, and must not run beside it."""
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("a", is_urgent=False)
    assert len(queue) == 0
    queue.finish("a")
    assert take_all(queue) == ["a"]


def test_urgent_keys_overtake_the_others(queue: WorkQueue) -> None:
    """A save does not wait behind a resync of everything."""
    for key in ("a", "b", "c"):
        queue.add(key, is_urgent=False)
    queue.add("saved")
    queue.add("c")
    assert take_all(queue) == ["saved", "c", "a", "b"]


def test_a_key_that_became_urgent_and_ran_may_come_again(queue: WorkQueue) -> None:
    """Its old place in the ordinary line must not swallow a later request."""
    queue.add("a", is_urgent=False)
    queue.add("a")
    assert take_all(queue) == ["a"]
    queue.add("a", is_urgent=False)
    assert take_all(queue) == ["a"]
    assert queue.is_idle()


def test_a_delayed_key_comes_when_it_is_due_and_not_before(queue: WorkQueue, clock: FakeClock) -> None:
    """A back-off holds."""
    queue.add_after("a", 10)
    queue.add("b")
    assert queue.get() == "b"
    queue.finish("b")
    clock.now += 10
    assert queue.get() == "a"


def test_the_earlier_of_two_delays_holds(queue: WorkQueue, clock: FakeClock) -> None:
    """A long back-off does not put off a short one."""
    queue.add_after("a", 5)
    queue.add_after("a", 50)
    clock.now += 5
    assert queue.get() == "a"
    queue.finish("a")
    clock.now += 50
    queue.add("b")
    assert take_all(queue) == ["b"]


def test_a_run_makes_a_delayed_one_needless(queue: WorkQueue, clock: FakeClock) -> None:
    """An event during the back-off runs the key at once, and only once."""
    queue.add_after("a", 5)
    queue.add("a")
    assert take_all(queue) == ["a"]
    clock.now += 60
    queue.add("b")
    assert take_all(queue) == ["b"]


def test_closing_wakes_who_waits(queue: WorkQueue) -> None:
    """A stop never hangs on an idle worker."""
    got: list[str | None] = []
    waiter = threading.Thread(target=lambda: got.append(queue.get()))
    waiter.start()
    queue.close()
    waiter.join(5)
    assert got == [None]

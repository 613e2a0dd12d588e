"""The workers: every key served, none twice at once, failures tried again, a defect contained."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from hostk8s_agent.reconcile.controller import Controller, RunResult

DEADLINE_SECONDS = 20


class RecordingReconciler:
    """Counts the runs, notices two at once of one key, and answers as it is told."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.overlaps = 0
        self.answers: dict[str, list[RunResult | Exception]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, key: str) -> RunResult:
        with self._lock:
            self.overlaps += key in self._running
            self._running.add(key)
            self.runs[key] += 1
        self.gate.wait(DEADLINE_SECONDS)
        with self._lock:
            self._running.discard(key)
            answers = self.answers.get(key, [])
            answer = answers.pop(0) if answers else RunResult()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def reconciler() -> RecordingReconciler:
    """A reconciler that answers that all is well."""
    return RecordingReconciler()


@pytest.fixture
def controller(reconciler: RecordingReconciler) -> Iterator[Controller]:
    """Four workers that run it."""
    controller = Controller(reconciler, workers=4)
    controller.start()
    yield controller
    reconciler.gate.set()
    controller.stop()


def test_each_key_is_served(controller: Controller, reconciler: RecordingReconciler) -> None:
    """Nothing that was asked for is left out."""
    keys = [f"stack-{number}" for number in range(200)]
    assert controller.run_and_wait(keys, DEADLINE_SECONDS)
    assert set(reconciler.runs) == set(keys)
    assert controller.is_idle()


def test_one_key_is_never_in_two_workers(controller: Controller, reconciler: RecordingReconciler) -> None:
    """Two runs of one stack at once would undo each other."""
    for _ in range(300):
        controller.enqueue(["a", "b"])
    assert controller.run_and_wait(["a", "b"], DEADLINE_SECONDS)
    assert reconciler.overlaps == 0


def test_no_worker_is_lost_under_a_storm(controller: Controller, reconciler: RecordingReconciler) -> None:
    """Keys that come again while they run change hands: all workers must outlive it."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20_000):
            controller.enqueue(["x", "y"])
    finally:
        sys.setswitchinterval(interval)
    assert controller.run_and_wait(["x", "y"], DEADLINE_SECONDS)
    alive = [one for one in threading.enumerate() if one.name.startswith("reconcile-")]
    assert len(alive) == 4
    assert reconciler.overlaps == 0


def test_waiting_is_for_a_run_that_began_after_the_request(
    controller: Controller, reconciler: RecordingReconciler, wait_until: Callable[..., None]
) -> None:
    """A run that had already read the old file says nothing about the new one."""
    reconciler.gate.clear()
    controller.enqueue(["a"])
    wait_until(lambda: reconciler.runs["a"])
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(controller.run_and_wait(["a"], DEADLINE_SECONDS)))
    waiter.start()
    assert controller.run_and_wait(["a"], 0.05) is False
    reconciler.gate.set()
    waiter.join(DEADLINE_SECONDS)
    assert ended == [True]
    assert reconciler.runs["a"] == 2


def test_waiting_ends_at_the_timeout(controller: Controller, reconciler: RecordingReconciler) -> None:
    """A stuck run does not hold the command that waits."""
    reconciler.gate.clear()
    assert controller.run_and_wait(["a"], 0.05) is False


@pytest.mark.parametrize("answer", [RunResult(is_failed=True), ValueError("a defect")])
def test_a_failed_run_is_tried_again_by_itself(
    controller: Controller,
    reconciler: RecordingReconciler,
    wait_until: Callable[..., None],
    answer: RunResult | Exception,
) -> None:
    """Also one that crashed: the worker lives, and the stack is not forgotten."""
    reconciler.answers["a"] = [answer]
    controller.enqueue(["a"])
    wait_until(lambda: reconciler.runs["a"] == 2)


def test_what_came_back_wakes_at_once(controller: Controller, reconciler: RecordingReconciler) -> None:
    """Docker's return does not wait for anybody's back-off."""
    reconciler.answers["a"] = [RunResult(is_failed=True)] * 8
    for expected in range(1, 9):
        controller.wake(["a"])
        assert controller.run_and_wait(["a"], DEADLINE_SECONDS)
        assert reconciler.runs["a"] >= expected


def test_a_run_can_ask_for_another(
    controller: Controller, reconciler: RecordingReconciler, wait_until: Callable[..., None]
) -> None:
    """A half-written file is looked at again when it has had its time."""
    reconciler.answers["a"] = [RunResult(requeue_after_seconds=0.01)]
    controller.enqueue(["a"])
    wait_until(lambda: reconciler.runs["a"] == 2)


def test_the_oldest_run_under_way_is_known(
    controller: Controller, reconciler: RecordingReconciler, wait_until: Callable[..., None]
) -> None:
    """A watchdog sees a blocked worker by it."""
    reconciler.gate.clear()
    assert controller.oldest_heartbeat() is None
    controller.enqueue(["a"])
    wait_until(lambda: reconciler.runs["a"])
    assert controller.oldest_heartbeat() is not None

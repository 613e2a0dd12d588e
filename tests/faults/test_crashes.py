"""The agent under churn is killed at any moment, its engine is stopped and killed; what comes after converges."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.workspace import Workspace, state_folder
from reliability import Row

Wait = Callable[..., None]

STACKS = 5


class Churn:
    """Somebody who saves contracts without a pause, in a thread of their own."""

    def __init__(self, site: Any, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stacks = [f"{site.prefix}-{number}" for number in range(STACKS)]
        self.sizes: dict[str, str] = {}

    def save(self, stack: str) -> None:
        """Save one contract: another size, owner and mode, and the directory that it always has."""
        self.sizes[stack] = f"{self._random.randint(1, 900)}Gi"
        owner, mode = self._random.choice(("26:26", "1000:1000")), self._random.choice(("0750", "0755"))
        self._site.save(stack, size=self.sizes[stack], owner=owner, permissions=mode)

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(0, 0.05)):
            self.save(self._random.choice(self.stacks))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Save on as long as the block runs."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()

    def is_settled(self) -> bool:
        """Whether the agent shows all contracts as they were saved last, and Ready."""
        shown = {one["name"]: one for one in self._site.status()["stacks"]}
        return all(
            stack in shown
            and shown[stack]["state"] == "Ready"
            and shown[stack]["volumes"][0]["capacity"] == self.sizes[stack]
            for stack in self.stacks
        )


def containers_on(engine: Any, volume: str) -> list[str]:
    """The containers that mount the volume, running or not."""
    listed: str = engine.docker("ps", "--all", "--quiet", "--filter", f"volume={volume}")
    return listed.split()


def require_nothing_left(site: Any, engine: Any, *, containers: int) -> None:
    """No temporary file, no container but those that serve, and records that can be read."""
    volume = site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    assert len(containers_on(engine, volume)) <= containers, containers_on(engine, volume)
    left = [path.name for path in engine.mountpoint(volume).rglob(".*")]
    assert [name for name in left if "tmp" in name or "new" in name] == []
    database = state_folder(Workspace(site.root), site.environment) / "state.db"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.fault(
    "D3",
    "kill -9 of the agent at random moments of a churn of saves",
    holds="converges after the last start; no orphan helper container, temporary tree, lock",
    target="≥ 200 kills, 0 orphans, p95 ≤ 10 s",
    short=1,
    full=50,
    soak=200,
)
def test_an_agent_that_is_killed_under_churn_converges(
    row: Row, real_site: Any, docker_engine: Any, wait_until: Wait
) -> None:
    """Whatever it was doing: the next one takes over, and shows every contract as it was saved last."""
    real_site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = "helper-container"
    churn, chance = Churn(real_site, 3), random.Random(4)
    for stack in churn.stacks:
        churn.save(stack)
    real_site.start()
    wait_until(churn.is_settled, "settled at first")
    # The helper, and whatever else the agent keeps on the volume by design.
    serving = len(containers_on(docker_engine, real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]))
    row.note(f"{STACKS} stacks, some 40 saves a second, through the helper container, on the real API server")
    for trial in row.trials():
        with trial:
            with churn.running():
                time.sleep(chance.uniform(0.05, 1.5))
                real_site.kill()
            began = time.monotonic()
            real_site.start()
            wait_until(churn.is_settled, "settled after the kill", 60)
            row.measure("settled after the start", time.monotonic() - began, "s", limit=10)
            require_nothing_left(real_site, docker_engine, containers=serving)


@pytest.fixture
def private_site(private_testbed: Any, real_site: Any) -> Iterator[Any]:
    """A site on an engine of the tests' own, which may be stopped and killed, and the shared control plane."""
    private_testbed.up("engine")
    host = private_testbed.status()["engine"]["host"]
    real_site.environment["DOCKER_HOST"] = host
    yield real_site
    if private_testbed.status()["engine"]["status"] != "ready":
        private_testbed.run("start", "engine")
    real_site.stop()
    volume = real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    private_engine = type_of_engine(host)
    for container in containers_on(private_engine, volume):
        private_engine.docker("rm", "--force", container)
    private_engine.docker("volume", "rm", "--force", volume)


def type_of_engine(host: str) -> Any:
    """An engine at the address, as the end-to-end tests have it."""
    from tests.e2e.conftest import Engine  # noqa: PLC0415 - tests are files: it is found once they are collected

    return Engine(host)


def stop_engine(testbed: Any) -> None:
    """As `systemctl stop docker` does."""
    testbed.run("stop", "engine")


def kill_engine(testbed: Any) -> None:
    """As the kernel does when memory runs out."""
    state = Path(testbed.status()["state_folder"])
    pid = int((state / "engine/dockerd.pid").read_text(encoding="ascii").split()[0])
    os.kill(pid, signal.SIGKILL)
    while (Path("/proc") / str(pid)).exists() and "Z (" not in _state_of(pid):
        time.sleep(0.01)


def _state_of(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "status").read_text(encoding="ascii")
    except OSError:
        return "Z ("


WAYS = (stop_engine, kill_engine)


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.fault(
    "C1",
    "dockerd stopped or killed, and started again, in the middle of mkdirs",
    holds="recovers, partial work undone",
    target="p95 ≤ 15 s",
    short=1,
    full=20,
    soak=100,
)
def test_an_engine_that_restarts_is_recovered_from(
    row: Row, private_site: Any, private_testbed: Any, wait_until: Wait
) -> None:
    """Saves go on meanwhile; once it answers again all of them are Ready, by themselves."""
    site = private_site
    site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = "helper-container"
    engine = type_of_engine(site.environment["DOCKER_HOST"])
    churn, chance = Churn(site, 5), random.Random(6)
    for stack in churn.stacks:
        churn.save(stack)
    site.start()
    wait_until(churn.is_settled, "settled at first")
    serving = len(containers_on(engine, site.environment["HOSTK8S_AGENT_VOLUME_NAME"]))
    row.note("half of them by SIGTERM, half by SIGKILL; saves go on until it is down")
    for trial in row.trials():
        with trial as number:
            with churn.running():
                time.sleep(chance.uniform(0.05, 0.5))
                WAYS[number % len(WAYS)](private_testbed)
                wait_until(lambda: site.status()["docker"]["state"] == "Unreachable", "it is told")
            private_testbed.run("start", "engine")
            began = time.monotonic()
            wait_until(churn.is_settled, "settled after the restart", 90)
            row.measure("settled after the engine answers", time.monotonic() - began, "s", limit=15)
            require_nothing_left(site, engine, containers=serving)

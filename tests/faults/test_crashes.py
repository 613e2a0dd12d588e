"""The agent under churn is killed at any moment, its engine is stopped and killed; what comes after converges."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
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


DIRECTORIES = ("one", "two")
FILES, FILE_BYTES = 60, 200_000


class Protected:
    """A stack with two directories, and the snapshots of it: what its trees are, and what is left of a restore."""

    def __init__(self, site: Any, engine: Any) -> None:
        self.site = site
        self.stack = f"{site.prefix}-kept"
        self._engine = engine
        data = Path(site.environment["HOME"]) / ".local/share"
        self._data = Path(site.environment.get("XDG_DATA_HOME", data)) / "hostk8s-agent"

    def save(self) -> None:
        """Save its contract."""
        text: str = self.site.render(self.stack)
        start = text.index("    - name: one")
        other = text[start:].replace("name: one", "name: two").replace("/one", "/two")
        self.site.save(self.stack, text + other)

    @cached_property
    def volume(self) -> Path:
        """Where the volume's files are, also while no engine answers."""
        found: Path = self._engine.mountpoint(self.site.environment["HOSTK8S_AGENT_VOLUME_NAME"])
        return found

    def fill(self) -> dict[str, str]:
        """Put other data into both directories; return what the trees are then."""
        for name in DIRECTORIES:
            for number in range(FILES):
                file = self._folder(name) / f"d{number % 7}/f{number}"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(secrets.token_bytes(FILE_BYTES))
        return self.describe()

    def describe(self) -> dict[str, str]:
        """Each directory's tree in one word: every path in it with its mode, owner and content."""
        return {name: _describe_tree(self._folder(name)) for name in DIRECTORIES}

    def ask(self, *arguments: str) -> Any:
        """What a verb of snapshots answers."""
        done = self.site.run("snapshot", *arguments, "-o", "json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    @contextmanager
    def asking(self, *, restores: bool) -> Iterator[list[int]]:
        """Have a person restore what there was at first, or take a snapshot; give the exit code of the command."""
        answers: list[int] = []
        verb = ("restore", f"{self.stack}@base", "--yes") if restores else ("create", self.stack)
        thread = threading.Thread(target=lambda: answers.append(self.site.run("snapshot", *verb).returncode))
        thread.start()
        try:
            yield answers
        finally:
            thread.join()

    def is_restoring(self) -> bool:
        """Whether the journal of a restore is there."""
        return any(self._data.glob("*/snapshots/restores/*.json"))

    def left(self) -> list[str]:
        """What is left of restores in the volume."""
        return [path.name for path in self.volume.glob(".hostk8s-restore*")]

    def find_unfinished(self) -> list[Path]:
        """What is left in the repository of what was never finished."""
        return list(self._data.rglob(".incoming-*"))

    def _folder(self, name: str) -> Path:
        return self.volume / str(self.site.prefix) / self.stack / name


def _describe_tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found = path.lstat()
        digest.update(f"{path.relative_to(folder)} {found.st_mode} {found.st_uid} {found.st_gid}\n".encode())
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@pytest.fixture
def tool_node(private_testbed: Any, private_site: Any) -> Iterator[None]:
    """A node of the site's cluster, not started: what exchanges trees through the helper is in its image."""
    private_testbed.run("install", "node")
    engine, cluster = type_of_engine(private_site.environment["DOCKER_HOST"]), private_site.prefix
    image = engine.docker("images", "--quiet", "hostk8s.local/node").split()[0]
    label = f"io.x-k8s.kind.cluster={cluster}"
    node = engine.docker("create", "--label", label, "--network", "none", image, "true")
    private_site.environment |= {
        "HOSTK8S_AGENT_VOLUME_ACCESS": "helper-container",
        "HOSTK8S_AGENT_CLUSTER_NAME": cluster,
    }
    yield
    if private_testbed.status()["engine"]["status"] != "ready":
        private_testbed.run("start", "engine")
    engine.docker("rm", "--force", node)


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.usefixtures("tool_node")
@pytest.mark.fault(
    "C1",
    "dockerd stopped or killed, and started again, in the middle of mkdirs and of a snapshot or a restore",
    holds="recovers, partial work undone: at any time each directory is wholly old or new, at the end all are the same",
    target="p95 ≤ 15 s, 0 mixed",
    short=1,
    full=20,
    soak=100,
)
def test_an_engine_that_restarts_is_recovered_from(
    row: Row, private_site: Any, private_testbed: Any, wait_until: Wait
) -> None:
    """Saves go on meanwhile; once it answers again all of them are Ready, and restores are over, by themselves."""
    site = private_site
    engine = type_of_engine(site.environment["DOCKER_HOST"])
    churn, chance = Churn(site, 5), random.Random(6)
    for stack in churn.stacks:
        churn.save(stack)
    kept = Protected(site, engine)
    kept.save()
    site.start()
    wait_until(churn.is_settled, "settled at first")
    site.wait_for(kept.stack, "Ready")
    old = kept.fill()
    kept.ask("create", kept.stack, "--name", "base")
    serving = len(containers_on(engine, site.environment["HOSTK8S_AGENT_VOLUME_NAME"]))
    row.note("half of them by SIGTERM, half by SIGKILL; saves go on until it is down; every second trial is a restore")
    row.note(f"two directories of {FILES} files of {FILE_BYTES // 1000} kB, through the helper container")
    for trial in row.trials():
        with trial as number:
            live, restores = kept.fill(), number % 2 == 0
            may_be = (live, old) if restores else (live,)
            with churn.running(), kept.asking(restores=restores) as answers:
                if restores and number % 4 == 0:
                    wait_until(kept.is_restoring, "the restore has begun", 60)
                time.sleep(chance.uniform(0.05, 1.5 if row.is_counting else 0.2))
                WAYS[number // 2 % len(WAYS)](private_testbed)
                wait_until(lambda: site.status()["docker"]["state"] == "Unreachable", "it is told")
            found = kept.describe()
            assert all(found[name] in {one[name] for one in may_be} for name in DIRECTORIES), "wholly old or new"
            row.measure("requests that were done before", 100 * (answers[0] == 0), "%", statistic="mean")
            private_testbed.run("start", "engine")
            began = time.monotonic()
            wait_until(churn.is_settled, "settled after the restart", 90)
            row.measure("settled after the engine answers", time.monotonic() - began, "s", limit=15)
            wait_until(lambda: not kept.is_restoring() and not kept.left(), "the restore is over", 60)
            row.measure("restore over after the engine answers", time.monotonic() - began, "s", limit=15)
            assert kept.describe() in ((old,) if restores and answers[0] == 0 else may_be)
            require_nothing_left(site, engine, containers=serving)
            if not row.is_counting:
                continue
            kept.ask("create", kept.stack)
            assert kept.ask("verify", "--all")["isWhole"]
            assert kept.find_unfinished() == []
            for one in kept.ask("list")["snapshots"]:
                if one["name"] != "base":
                    kept.ask("forget", one["id"], "--yes")

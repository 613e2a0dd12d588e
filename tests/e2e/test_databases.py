"""Databases under load: wrecked, brought back by one command from a scheduled snapshot, and whole by their checks."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.databases import OWNER, build_image, check, render_pod

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.workspace import Workspace
from reliability import Row

pytestmark = [pytest.mark.engine, pytest.mark.node, pytest.mark.tools]

TRIALS_WITH_ONE_SNAPSHOT = 5
SCHEDULE = "  snapshots: {schedule: every 1m, quiesce: freeze, keep: {last: 5}}\n"


class Databases:
    """A pod that writes to both databases in its stack's directory without a pause, and what may become of it."""

    def __init__(
        self, parts: tuple[Any, Any, Any], node: str, stack: str, folder: Path, wait_until: Callable[..., None]
    ) -> None:
        self.site, self._cluster, self._engine = parts
        self._node = node
        self.stack = stack
        self.folder = folder
        self._wait_until = wait_until
        self._client = ControlClient(Workspace(self.site.root.resolve()))

    def run(self) -> None:
        """Start the pod, and wait until both write."""
        for left in self.folder.glob("*-writes"):
            left.unlink()
        self._cluster.kubectl("apply", "-f", "-", stdin=render_pod(self.site.prefix))

        try:
            for name in ("sqlite", "postgresql"):
                self._wait_until((self.folder / f"{name}-writes").exists, f"{name} writes", 120)
            # The kubelet tells it a moment later, and a pod that is starting is not frozen.
            get = ("pod", "db", "-n", self.site.prefix)
            self._wait_until(lambda: self._cluster.get(*get)["status"].get("phase") == "Running", "it runs")
        except AssertionError as error:
            logs = ("-n", self.site.prefix, "logs", "db", "-c", "postgresql")
            raise AssertionError(f"{error}: {self._cluster.kubectl(*logs, check=False)}") from error

    def lose(self, dice: random.Random) -> None:
        """Take the pod away in the middle of its writing, and wreck what it leaves.

        Never while a snapshot is being taken: it would hold what this test does, and not what the pod did.
        """
        repository = Repository(Path(self.site.status()["snapshots"]["repository"]))
        with repository.lock.held("a test", wait_seconds=60):
            pod = self._cluster.get("pod", "db", "-n", self.site.prefix)
            running = {one["containerID"].rpartition("/")[2] for one in pod["status"]["containerStatuses"]}
            self._cluster.kubectl("-n", self.site.prefix, "delete", "pod", "db", "--wait=true")
            # Without a time of grace it is gone from the API server while its containers write on.
            self._wait_until(lambda: running.isdisjoint(self._list_tasks()), "its containers are gone", 60)
            self._wreck(dice)

    def find_snapshot(self, used: Container[str] = ()) -> dict[str, Any]:
        """The newest snapshot that the schedule has taken while they wrote, waiting for one that is not in `used`."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                one
                for one in self._client.snapshots(self.stack)["snapshots"]
                if one["state"] == "good" and one["tags"] == ["scheduled"] and one["quiesce"]["reached"] == "frozen"
            ]
            found[:] = [one for one in found if one["id"] not in used]
            return bool(found)

        self._wait_until(look, "a scheduled snapshot, frozen", 120)
        return found[-1]

    def _list_tasks(self) -> list[str]:
        """The containers that the node itself says to have."""
        return str(
            self._engine.docker("exec", self._node, "ctr", "--namespace", "k8s.io", "tasks", "list", "-q")
        ).split()

    def _wreck(self, dice: random.Random) -> None:
        """Overwrite, cut or remove what is in the directory, at random; little of it stays what it was."""
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file():
                continue
            kind = dice.choice(("overwritten", "cut", "removed", "removed", "left"))
            if kind == "overwritten":
                path.write_bytes(dice.randbytes(min(path.stat().st_size, 50_000)))
            elif kind == "cut":
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size // 2)
            elif kind == "removed":
                path.unlink()
        shutil.rmtree(self.folder / "pg/base")

    def restore(self, snapshot: str) -> None:
        """By one command."""
        done = self.site.run("snapshot", "restore", f"{self.stack}@{snapshot}", "--yes", timeout_seconds=180)
        assert done.returncode == 0, done.stderr

    def check(self) -> str:
        """What the databases say of themselves."""
        return check(self._engine.docker, self.folder)


@pytest.fixture
def databases(
    tmp_path: Path, wait_until: Callable[..., None], node: Any, site_on: Callable[..., Any], testbed: Any
) -> Iterator[Databases]:
    """An agent without a schedule, and a claim to its stack's directory."""
    site, cluster, engine = site_on(tmp_path, wait_until, node)
    testbed.run("install", "tools")
    postgresql = Path(testbed.run("tool", "postgresql"))
    build_image(engine.docker, node.docker_host, testbed.run("tool", "sqlite3"), postgresql, node.container)
    stack = f"{site.prefix}-db"
    for name, value in (("SCHEDULE", "off"), ("JITTER_SECONDS", "0"), ("MIN_FREE_PERCENT", "0")):
        site.environment[f"HOSTK8S_AGENT_SNAPSHOT_{name}"] = value
    site.start()
    site.save(stack, owner=f"{OWNER}:{OWNER}", permissions="0700")
    site.wait_for(stack, "Ready")
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{site.prefix}-{stack}",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    mine = {"namespace": site.prefix, "name": "claim"}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.prefix}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": mine, "spec": claim},
    ]
    try:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        folder = engine.mountpoint(node.volume) / site.prefix / stack / "one"
        yield Databases((site, cluster, engine), node.container, stack, folder, wait_until)
    finally:
        cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false")
        cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "--all", "--wait=true", check=False)
        cluster.remove(site.prefix)
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")


@pytest.mark.fault(
    "I7",
    "SQLite (WAL) and PostgreSQL write in a pod while scheduled snapshots freeze it; then their directory is wrecked, "
    "and restored in place by one command",
    holds="`PRAGMA integrity_check` and `pg_amcheck` find nothing, and the pod goes on with what is there",
    target="0 corrupt of 50",
    short=1,
    full=50,
)
def test_wrecked_databases_are_whole_after_one_command(row: Row, databases: Databases) -> None:
    """However they were wrecked, and in whatever write they were snapshotted."""
    dice = random.Random(7)
    used: set[str] = set()
    databases.run()
    databases.site.save(
        databases.stack, databases.site.render(databases.stack, owner=f"{OWNER}:{OWNER}", permissions="0700") + SCHEDULE
    )
    for trial in row.trials():
        with trial as number:
            if number:
                databases.run()
            # A new one now and then: each is another moment of their writing, and takes up to a minute to come.
            is_new = number % TRIALS_WITH_ONE_SNAPSHOT == 0
            snapshot = databases.find_snapshot(used if is_new else ())["id"]
            used.add(snapshot)
            databases.lose(dice)
            databases.restore(snapshot)
            assert databases.check() == "ok"
    row.note(f"{len(used)} scheduled snapshots, frozen, each restored in about {TRIALS_WITH_ONE_SNAPSHOT} trials")
    for line in databases.site.log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("event") == "rest.thawed":
            row.measure("frozen", record["frozen_seconds"], "s", statistic="max")

"""A database under load: frozen for its snapshot it is whole afterwards, whatever it was writing."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.snapshot.exporting import export_snapshot
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.workspace import Workspace
from reliability import Row

pytestmark = [pytest.mark.engine, pytest.mark.node]

IMAGE = "hostk8s.local/sqlite:1"
# One connection that stays open and writes without a pause, so that the write-ahead log is always being written.
WRITE = """
rm -f /data/db*
{ echo 'PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=50; CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);'
  echo 'CREATE INDEX i ON t(a);'
  while true; do echo 'BEGIN; INSERT INTO t(a, b) SELECT random(), hex(randomblob(300)) FROM
    (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 50) SELECT x FROM n);
    DELETE FROM t WHERE id IN (SELECT id FROM t WHERE id % 7 = 0 LIMIT 40); COMMIT;'; done
} | sqlite3 /data/db
"""


def build_image(docker: Callable[..., str], host: str, program: str, container: str) -> None:
    """Make an image with sqlite3 in it from this machine's, and give it to the node's containerd."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        recipe = b"FROM hostk8s.local/busybox:1\nCOPY root /\nENV LD_LIBRARY_PATH=/lib/all\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(recipe)
        archive.addfile(member, io.BytesIO(recipe))
        archive.add(Path(program).resolve(), "root/bin/sqlite3")
        for library in libraries:
            place = library if "ld-linux" in library else f"/lib/all/{Path(library).name}"
            archive.add(Path(library).resolve(), f"root{place}")
    command = ["docker", "--host", host, "build", "--quiet", "--tag", IMAGE, "-"]
    subprocess.run(command, input=context.getvalue(), capture_output=True, check=True)
    into = ["docker", "--host", host, "exec", "-i", container, "ctr", "-n", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(["docker", "--host", host, "save", IMAGE], stdout=subprocess.PIPE) as saved:
        subprocess.run(into, stdin=saved.stdout, capture_output=True, check=True)
    assert saved.returncode == 0
    assert docker("image", "inspect", IMAGE)


@pytest.fixture
def database(
    tmp_path: Path, wait_until: Callable[..., None], node: Any, site_on: Callable[..., Any], testbed: Any
) -> Iterator[tuple[Any, Any, str, Path]]:
    """An agent, and a pod that writes to SQLite in its stack's directory without a pause."""
    site, cluster, engine = site_on(tmp_path, wait_until, node)
    build_image(engine.docker, node.docker_host, testbed.run("tool", "sqlite3"), node.container)
    stack = f"{site.prefix}-db"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_SCHEDULE"] = "off"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_QUIESCE"] = "freeze"
    site.start()
    site.save(stack, owner="0:0", permissions="0755")
    site.wait_for(stack, "Ready")
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{site.prefix}-{stack}",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    container = {
        "name": "db",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", WRITE],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
    }
    mine = {"namespace": site.prefix}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.prefix}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {**mine, "name": "claim"}, "spec": claim},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**mine, "name": "db"}, "spec": pod},
    ]
    try:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        folder = engine.mountpoint(node.volume) / site.prefix / stack / "one"
        wait_until(lambda: (folder / "db-wal").exists() and (folder / "db").stat().st_size > 1 << 20, "it writes", 120)
        # The kubelet tells it a moment later, and a pod that is starting is not frozen.
        wait_until(lambda: cluster.get("pod", "db", "-n", site.prefix)["status"].get("phase") == "Running", "it runs")
        yield site, cluster, stack, folder
    finally:
        cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false")
        cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "--all", "--wait=true", check=False)
        cluster.remove(site.prefix)
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")


def check(folder: Path) -> str:
    """What SQLite says of the database in a folder, its log replayed: `ok` if it is whole."""
    with closing(sqlite3.connect(folder / "db")) as connection:
        try:
            [(words,), *_] = connection.execute("PRAGMA integrity_check").fetchall()
            return str(words) if connection.execute("SELECT count(*) FROM t").fetchone()[0] else "empty"
        except sqlite3.DatabaseError as error:
            return str(error)


@pytest.mark.fault(
    "I7",
    "SQLite in WAL mode under write load in a pod, snapshotted with freeze",
    holds="the restored database passes its own check",
    target="0 corrupt of 50",
    short=1,
    full=50,
)
def test_a_frozen_database_is_whole(row: Row, database: tuple[Any, Any, str, Path], tmp_path: Path) -> None:
    """And when its directory is wrecked, one command brings it back."""
    site, cluster, stack, folder = database
    workspace = Workspace(site.root.resolve())
    repository = Repository(Path(site.status()["snapshots"]["repository"]))
    last = ""
    for trial in row.trials():
        with trial as number:
            snapshot = ControlClient(workspace).ask_of_snapshots("create", {"stack": stack}, 120)["snapshot"]
            assert snapshot["quiesce"]["reached"] == "frozen", snapshot["quiesce"]
            last = snapshot["id"]
            copy = tmp_path / f"copy-{number}"
            export_snapshot(repository, repository.load(last), copy)
            assert check(copy / "one") == "ok"
    for line in site.log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("event") == "rest.thawed":
            row.measure("frozen", record["frozen_seconds"], "s", statistic="max")
    cluster.kubectl("-n", site.prefix, "delete", "pod", "db", "--wait=true")
    for file in folder.iterdir():
        file.write_bytes(b"wrecked")
    restored = site.run("snapshot", "restore", f"{stack}@{last}", "--yes", timeout_seconds=120)
    assert restored.returncode == 0, restored.stderr
    assert check(folder) == "ok"

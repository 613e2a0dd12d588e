"""No container stays paused: the agent ends in the middle of a snapshot that has frozen a pod of the whole node."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.test_node import apply, render_claim, render_pod

pytestmark = [pytest.mark.engine, pytest.mark.node]

FREEZING = "  snapshots: {schedule: off, quiesce: freeze}\n"
WRITE = "i=0; while true; do i=$((i+1)); echo $i > /data/count; sleep 0.05; done"

# A tar that gives the first bytes and then no more, as a disk does that stalls, for as long as somebody waits for it.
STALLING_TAR = """\
#!/usr/bin/python3
import os, subprocess, sys, time
if "--version" in sys.argv:
    sys.exit(subprocess.call(["/usr/bin/tar", "--version"]))
real = subprocess.Popen(["/usr/bin/tar", *sys.argv[1:]], stdout=subprocess.PIPE)
sys.stdout.buffer.write(real.stdout.read(512))
sys.stdout.buffer.flush()
real.kill()
open("{reading}", "w").close()
agent = os.getppid()
while os.getppid() == agent:
    time.sleep(0.05)
"""


class Ground:
    """A pod whose two containers write to their stack's directory, and an agent whose snapshots of it never end."""

    def __init__(self, parts: tuple[Any, Any, Any], container: str, folder: Path, count: Path) -> None:
        self.site, self._cluster, self._engine = parts
        self.stack = f"{self.site.prefix}-app"
        self._container = container
        self._tar, self._reading = folder / "bin/tar", folder / "reading"
        self._count = count

    def stall(self) -> None:
        """Have each reading of a tree stand still from now on."""
        self._tar.parent.mkdir()
        self._tar.write_text(STALLING_TAR.format(reading=self._reading), encoding="utf-8")
        self._tar.chmod(0o755)
        self.site.environment["PATH"] = f"{self._tar.parent}:{os.environ['PATH']}"

    def mend(self) -> None:
        """Have it go on again."""
        self._tar.unlink()

    def is_reading(self) -> bool:
        """Whether a snapshot has come as far as to read the tree."""
        return self._reading.exists()

    def states(self) -> set[str]:
        """What the node itself says of the pod's containers: RUNNING, PAUSED."""
        pod = self._cluster.get("pod", "app", "-n", self.site.prefix)
        ids = {one["containerID"].rpartition("/")[2] for one in pod["status"]["containerStatuses"]}
        listed = self._engine.docker("exec", self._container, "ctr", "--namespace", "k8s.io", "tasks", "list")
        found = {line.split()[0]: line.split()[2] for line in listed.splitlines() if re.match("[0-9a-f]{64}", line)}
        assert len(ids) == 2
        return {found[one] for one in ids}

    def read_count(self) -> str:
        """What the pod has written last."""
        return self._count.read_text(encoding="utf-8")


@pytest.fixture
def ground(node_site: tuple[Any, Any, Any], node: Any, tmp_path: Path, wait_until: Callable[..., None]) -> Ground:
    """The pod runs, and a snapshot of its stack has frozen it."""
    site, cluster, engine = node_site
    made = Ground(
        node_site,
        node.container,
        tmp_path,
        engine.mountpoint(node.volume) / f"{site.prefix}/{site.prefix}-app/one/count",
    )
    site.environment["HOSTK8S_AGENT_SNAPSHOT_MIN_FREE_PERCENT"] = "0"
    made.stall()
    site.start()
    site.save(made.stack, site.render(made.stack) + FREEZING)
    site.wait_for(made.stack, "Ready")
    pod = render_pod(site, "app", {"persistentVolumeClaim": {"claimName": "claim"}})
    [writer] = pod["spec"]["containers"]
    writer["command"] = ["/bin/sh", "-c", WRITE]
    pod["spec"]["containers"] = [{**writer, "name": name} for name in ("one", "other")]
    apply(site, cluster, render_claim(site, made.stack), pod)
    cluster.kubectl("-n", site.prefix, "wait", "--for=condition=Ready", "--timeout=50s", "pod/app")
    assert made.states() == {"RUNNING"}
    assert site.run("snapshot", "create", made.stack, "--no-wait").returncode == 0
    wait_until(made.is_reading, "it is being read")
    assert made.states() == {"PAUSED"}
    return made


def test_an_agent_that_is_told_to_end_wakes_them_first(ground: Ground, wait_until: Callable[..., None]) -> None:
    """In time and in order: by the end of the process they run, and the next snapshot is whole."""
    assert ground.site.stop() == 0
    assert ground.states() == {"RUNNING"}
    before = ground.read_count()
    wait_until(lambda: ground.read_count() not in ("", before), "the pod writes on")
    ground.mend()
    ground.site.start()
    done = ground.site.run("snapshot", "create", ground.stack)
    assert done.returncode == 0, done.stderr
    assert ground.states() == {"RUNNING"}


def test_what_a_crash_leaves_paused_the_next_start_wakes(ground: Ground, wait_until: Callable[..., None]) -> None:
    """By itself, without being asked for anything."""
    ground.site.kill()
    assert ground.states() == {"PAUSED"}
    ground.site.start()
    wait_until(lambda: ground.states() == {"RUNNING"}, "they are woken")
    before = ground.read_count()
    wait_until(lambda: ground.read_count() not in ("", before), "the pod writes on")

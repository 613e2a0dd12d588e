"""What a person does by mistake, on a whole node: no byte is lost, and `status` says what happened and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hostk8s_agent.contract.naming import persistent_volume_name

pytestmark = [pytest.mark.engine, pytest.mark.node]

POD_IMAGE = "hostk8s.local/busybox:1"
NODE_SECONDS = 150.0


class Ground:
    """A stack whose pod writes, on a node of the tests' own, and what a person sees of it."""

    def __init__(self, site: Any, cluster: Any, docker_engine: Any, testbed: Any) -> None:
        self.site, self.cluster, self.engine, self.testbed = site, cluster, docker_engine, testbed
        node = testbed.status()["node"]
        self.node, self.volume = node["container"], node["volume"]
        self.stack = f"{site.prefix}-app"
        self.pv = persistent_volume_name(self.stack, "one")
        self.file = site.save(self.stack, permissions="0777")

    @property
    def data(self) -> Path:
        """Where the stack's data is on this machine."""
        return Path(self.engine.mountpoint(self.volume), self.site.prefix, self.stack, "one")

    def use(self) -> None:
        """Claim the volume, and run a pod that copies what it finds there, for as long as it is left."""
        names = {"name": "user", "namespace": self.site.prefix}
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"{self.site.prefix}-{self.stack}",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        copying = "while :; do cp /data/precious /data/seen 2>/dev/null; sleep 1; done"
        container = {
            "name": "user",
            "image": POD_IMAGE,
            "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", copying],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        pod = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "user"}}],
        }
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.site.prefix}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": names, "spec": claim},
            {"apiVersion": "v1", "kind": "Pod", "metadata": names, "spec": pod},
        ]
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def wait_until_used(self) -> None:
        """Wait until the pod has found the data, anew."""
        (self.data / "seen").unlink(missing_ok=True)
        self.site._wait_until((self.data / "seen").exists, "a pod finds the data", NODE_SECONDS)
        assert (self.data / "seen").read_text(encoding="utf-8") == "precious"

    def wait_for_words(self, *words: str) -> str:
        """Wait until one line of `status` has all the words, whose problem or sentence it is; return the page."""
        page = ""

        def is_told() -> bool:
            nonlocal page
            page = self.site.run("status").stdout
            return any(all(one in line for one in words) for line in page.splitlines())

        try:
            self.site._wait_until(is_told, "it is told", 60)
        except AssertionError:
            raise AssertionError(f"no line has {words}:\n{page}") from None
        return page

    def snapshots(self) -> list[tuple[str, str]]:
        """The ID and state of each snapshot."""
        listed = json.loads(self.site.run("snapshot", "list", "-o", "json").stdout)
        return [(one["id"], one["state"]) for one in listed["snapshots"]]

    def events(self) -> list[str]:
        """The types of what happened."""
        return [one["type"] for one in json.loads(self.site.run("events", "-o", "json").stdout)["events"]]


@pytest.fixture
def ground(
    tmp_path: Path, wait_until: Callable[..., None], private_testbed: Any, site_on: Callable[..., Any]
) -> Iterator[Ground]:
    """The agent runs, a pod uses the stack's volume, and there is precious data in it."""
    private_testbed.up("engine")
    private_testbed.up("node")
    status = private_testbed.status()
    node = SimpleNamespace(
        docker_host=status["engine"]["host"],
        kubeconfig=Path(status["node"]["kubeconfig"]),
        volume=status["node"]["volume"],
    )
    site, cluster, docker_engine = site_on(tmp_path, wait_until, node)
    site.environment["HOSTK8S_AGENT_PRUNE_GRACE_SECONDS"] = "2"
    ground = Ground(site, cluster, docker_engine, private_testbed)
    site.start()
    site.wait_for(ground.stack, "Ready")
    (ground.data / "precious").write_text("precious", encoding="utf-8")
    ground.use()
    ground.wait_until_used()
    yield ground
    assert site.stop() == 0, site.log.read_text(encoding="utf-8")
    cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false", check=False)
    # Nobody waits: a kubelet whose node was just made again, or has lost its volume, takes its time.
    cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "--all", "--grace-period=1", "--wait=false", check=False)
    cluster.remove(site.prefix)


def test_a_contract_a_volume_object_the_stacks_folder_and_the_cluster_are_deleted_by_mistake(ground: Ground) -> None:
    """One after the other: each is told in a sentence with what to do, and the pod has its data all the while."""
    site, file = ground.site, ground.file
    other, other_pv = f"{site.prefix}-idle", persistent_volume_name(f"{site.prefix}-idle", "one")
    idle = site.save(other)
    site.wait_for(other, "Ready")

    # PersistentVolumes: one that nobody has is made again, one that is Bound stays till its claim goes.
    # kubectl may wait for its end without end: the agent makes the next one of that name at once.
    ground.cluster.kubectl("delete", "pv", other_pv, "--wait=false")
    ground.wait_for_words(f"PersistentVolume/{other_pv} was removed, and was made again", "its data stays")
    ground.cluster.kubectl("delete", "pv", ground.pv, "--wait=false")
    page = ground.wait_for_words(f"PersistentVolume/{ground.pv} is being deleted", "its data stays")
    assert "nothing to do: pods go on with it, and the agent makes it again as soon as it is gone" in page
    ground.wait_until_used()
    ground.cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "user")
    site.wait_for(ground.stack, "Ready")
    ground.use()
    ground.wait_until_used()

    # Contracts: of one that a claim uses everything stays, of one that nobody uses the data.
    text, idle_text = file.read_text(encoding="utf-8"), idle.read_text(encoding="utf-8")
    file.unlink()
    page = ground.wait_for_words("the contract is gone; its data is kept", f"the claim {site.prefix}/user holds it")
    assert f"bring software/stacks/{ground.stack}/hostk8s.storage.yaml back if the stack is still needed" in page
    shutil.rmtree(idle.parent)
    page = ground.wait_for_words(
        f"{other}: its contract is gone, and nothing was changed in /mnt/pv/", "bring software/"
    )
    assert (ground.data.parent.parent / other / "one").is_dir()
    site.save(other, idle_text)
    site.save(ground.stack, text)
    site.wait_for(other, "Ready")
    site.wait_for(ground.stack, "Ready")
    assert "Left behind" not in site.run("status").stdout
    ground.wait_until_used()

    # The stacks folder.
    kept = site.root / "kept"
    site.stacks.rename(kept)
    page = ground.wait_for_words("the stacks folder", "is not there; all its contracts stay in force, and no data is")
    assert "bring it back (git checkout, or mount it)" in page
    site.stacks.mkdir()
    page = ground.wait_for_words("is not the one that was there before", "all contracts stay in force, and no data is")
    assert "bring the contracts back (git checkout, or mount it)" in page
    assert site.run("status").returncode == 1
    site.stacks.rmdir()
    kept.rename(site.stacks)
    site._wait_until(lambda: site.run("status").returncode == 0, "all is Ready again")
    ground.wait_until_used()

    # The cluster.
    ground.engine.docker("rm", "--force", "--volumes", ground.node)
    page = ground.wait_for_words(
        "was deleted: none of its containers is in this Docker engine", "the data stays in the"
    )
    assert page.count("create it again (make start): the agent puts everything back by itself") == 1
    assert {one["state"] for one in site.status()["stacks"]} == {"Pending"}
    ground.testbed.run("recreate", "node")
    site._wait_until(lambda: site.stack(ground.stack)["state"] == "Ready", "everything is back", NODE_SECONDS)
    assert site.stack(ground.stack)["volumes"][0]["reservedFor"] == f"{site.prefix}/user"
    ground.use()
    ground.wait_until_used()
    assert (ground.data / "precious").read_text(encoding="utf-8") == "precious"


def test_the_volume_is_emptied_behind_a_node_whose_pods_write(ground: Ground) -> None:
    """As when Docker's data folder is reset: told, nothing made anew, no snapshot touched, and one command back."""
    site, root = ground.site, ground.engine.mountpoint(ground.volume)
    assert site.run("snapshot", "create", ground.stack).returncode == 0
    before = ground.snapshots()
    aside = root.with_name("_lost")
    root.rename(aside)
    root.mkdir()
    try:
        page = ground.wait_for_words(f"the Docker volume {ground.volume} that held this workspace's data is gone")
        assert "bring the volume back (from a copy of its files, or by the former engine)" in page
        assert "hostk8s-agent snapshot restore STACK" in page
        assert site.status()["docker"]["state"] == "VolumeLost"
        site.wait_for_codes(ground.stack, "VolumeLost")
        for refused in (
            site.run("snapshot", "create", ground.stack),
            site.run("snapshot", "restore", ground.stack, "--yes"),
        ):
            assert (refused.returncode, "that held this workspace's data is gone" in refused.stderr) == (2, True)
        # A contract that goes now is not said to leave its data.
        text = ground.file.read_text(encoding="utf-8")
        ground.file.unlink()
        told = site.wait_for(ground.stack, "Removing")
        assert told["message"].startswith(f"the contract is gone, and the Docker volume {ground.volume} that held this")
        assert [one["code"] for one in told["problems"]][:2] == ["VolumeLost", "ContractGone"]
        site.save(ground.stack, text)
        site.wait_for(ground.stack, "Blocked")
        assert list(root.iterdir()) == [], "nothing was made anew"
        assert ground.snapshots() == before
        # The pod still writes into what was lost, so nothing of its files has gone from there either.
        assert ground.cluster.get("pv", ground.pv)["status"]["phase"] == "Bound"

        assert site.run("volume", "--accept-loss").returncode == 0
        page = ground.wait_for_words("is no longer the volume", "what pods write there would be lost with the node")
        assert f"docker restart {ground.node}" in page
        ground.engine.docker("restart", "--time", "0", ground.node)
        site._wait_until(lambda: site.stack(ground.stack)["state"] == "Ready", "the node has the volume", NODE_SECONDS)
        restored = site.run("snapshot", "restore", ground.stack, "--yes", "--in-use", timeout_seconds=150)
        assert restored.returncode == 0, restored.stderr
        assert (ground.data / "precious").read_text(encoding="utf-8") == "precious"
        ground.wait_until_used()
        assert set(before) <= set(ground.snapshots())
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def test_the_cluster_and_the_volume_are_removed_and_made_again_empty(ground: Ground) -> None:
    """`make clean` and `make start`: an empty volume of the same name is not taken for the one that was lost."""
    site = ground.site
    assert site.run("snapshot", "create", ground.stack).returncode == 0
    before = ground.snapshots()
    ground.engine.docker("rm", "--force", "--volumes", ground.node)
    for container in ground.engine.docker("ps", "-aq", "--filter", f"volume={ground.volume}").split():
        ground.engine.docker("rm", "--force", container)
    ground.engine.docker("volume", "rm", "--force", ground.volume)
    ground.wait_for_words(f"the Docker volume {ground.volume} that held this workspace's data is gone")
    assert ground.engine.docker("volume", "ls", "--quiet", "--filter", f"name={ground.volume}") == ""
    ground.testbed.run("recreate", "node")
    ground.wait_for_words(f"the Docker volume {ground.volume} that held", "what has its name now is another one")
    assert site.stack(ground.stack)["state"] == "Blocked"
    assert list(ground.engine.mountpoint(ground.volume).iterdir()) == []
    assert ground.cluster.get("pv", ground.pv) == {}, "no pod can be given an empty directory for its data"
    assert ground.snapshots() == before
    assert site.run("volume", "--accept-loss").returncode == 0
    site._wait_until(lambda: site.stack(ground.stack)["state"] == "Ready", "the agent has begun anew", NODE_SECONDS)
    restored = site.run("snapshot", "restore", ground.stack, "--yes", timeout_seconds=150)
    assert restored.returncode == 0, restored.stderr
    ground.use()
    ground.wait_until_used()
    assert set(before) <= set(ground.snapshots())
    assert "VolumeLost" not in {one["code"] for one in site.status()["problems"]}

"""Beside HostK8s' own tools: what its make targets do, while the agent runs, ends as a user would expect."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

Wait = Callable[..., None]


class HostK8s:
    """HostK8s' make targets, as far as they touch a cluster, a volume and `data/`: the same calls in the same order."""

    def __init__(self, site: Any, testbed: Any, docker_engine: Any) -> None:
        self.site = site
        self.instance = site.prefix
        self._testbed = testbed
        self._engine = docker_engine

    @property
    def kubeconfig(self) -> Path:
        """Where `make up` leaves it."""
        return Path(self.site.root) / "data/kubeconfig/config"

    def up(self) -> None:
        """`make up`: create the cluster, and write its kubeconfig."""
        self._testbed.run("up", "control-plane", "--instance", self.instance)
        made = self._testbed.run("kubeconfig", "control-plane", "--instance", self.instance)
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, self.kubeconfig)

    def down(self) -> None:
        """`make down`: `kind delete cluster`."""
        self._testbed.run("down", "control-plane", "--instance", self.instance)

    def clean(self) -> None:
        """`make clean`: the cluster, `data/` and the volume; what cannot be removed is left, as make does."""
        self.down()
        shutil.rmtree(Path(self.site.root) / "data")
        subprocess.run(
            ["docker", "--host", self._engine.host, "volume", "rm", f"hostk8s-{self.site.prefix}"],
            capture_output=True,
            check=False,
        )

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the scripts do."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def set_up_storage(self, stack: str) -> None:
        """`manage-storage.py setup`: for each object `kubectl get`, then `kubectl apply -f -` when it is missing."""
        for kind, manifest in (("storageclass", self.storage_class(stack)), ("pv", self.volume(stack))):
            if not self.kubectl("get", kind, manifest["metadata"]["name"], "--ignore-not-found"):
                self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def delete_volumes(self, stack: str) -> None:
        """`manage-storage.py cleanup`."""
        self.kubectl("delete", "pv", "-l", f"hostk8s.stack={stack}", "--wait=false")

    def storage_class(self, stack: str) -> dict[str, Any]:
        """What the script makes of the contract."""
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"{self.site.prefix}-{stack}"},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "Immediate",
            "reclaimPolicy": "Retain",
        }

    def volume(self, stack: str) -> dict[str, Any]:
        """The same for the PersistentVolume."""
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"hostk8s-{stack}-one-pv",
                "labels": {"hostk8s.stack": stack, "hostk8s.storage.name": "one"},
            },
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": f"{self.site.prefix}-{stack}",
                "hostPath": {"path": f"/mnt/pv/{self.site.prefix}/{stack}/one", "type": "DirectoryOrCreate"},
            },
        }


@pytest.fixture
def hostk8s(site: Any, testbed: Any, docker_engine: Any) -> Iterator[HostK8s]:
    """HostK8s on a cluster and a volume of its own, with the kubeconfig where it writes it."""
    site.environment.update(
        DOCKER_HOST=docker_engine.host,
        HOSTK8S_AGENT_VOLUME_NAME=f"hostk8s-{site.prefix}",
        HOSTK8S_AGENT_VOLUME_BACKEND="docker",
    )
    tools = HostK8s(site, testbed, docker_engine)
    yield tools
    try:
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")
    finally:
        tools.down()
    for container in docker_engine.docker("ps", "-aq", "--filter", f"volume=hostk8s-{site.prefix}").split():
        docker_engine.docker("rm", "-f", container)
    docker_engine.docker("volume", "rm", "--force", f"hostk8s-{site.prefix}")


def ready(site: Any, stacks: list[str]) -> bool:
    """Whether all stacks are Ready, and nothing is wrong with anything."""
    status = site.status()
    return [one["state"] for one in status["stacks"]] == ["Ready"] * len(stacks) and status["problems"] == []


def test_hostk8s_own_tools_and_the_agent_live_in_peace(hostk8s: HostK8s, wait_until: Wait) -> None:
    """No war, no storm of errors, no wrong word: up, the script beside saves, its clean-up, clean, up."""
    site, stacks = hostk8s.site, ["app", "web"]
    hostk8s.up()
    site.save("app")
    site.start()
    wait_until(lambda: ready(site, stacks[:1]), "the agent has made what the contract asks for")

    # The script and the agent race for the objects of a new contract, and for those of one that is there.
    with ThreadPoolExecutor(3) as threads:
        racing = [threads.submit(hostk8s.set_up_storage, stack) for stack in ("web", "web", "app")]
        site.save("web")
        for one in racing:
            one.result()
    wait_until(lambda: ready(site, stacks), "both are well")
    managers = json.loads(hostk8s.kubectl("get", "pv", "hostk8s-web-one-pv", "-o", "json", "--show-managed-fields"))
    assert "hostk8s-agent" in {one["manager"] for one in managers["metadata"]["managedFields"]}

    # `make restart`: its clean-up deletes the volumes, its set-up makes them when they are missing.
    for stack in stacks:
        hostk8s.delete_volumes(stack)
        hostk8s.set_up_storage(stack)
    wait_until(lambda: ready(site, stacks) and _has_volumes(hostk8s, stacks), "they are there again")

    # `make clean` deletes the cluster (as `make down` does), `data/` with the kubeconfig, and the volume.
    hostk8s.clean()
    wait_until(lambda: site.status()["cluster"]["state"] in ("Unreachable", "NoKubeconfig"), "its going is noticed")
    hostk8s.up()
    wait_until(lambda: site.status()["cluster"]["state"] == "Connected", "the new cluster is noticed", 60)
    if "VolumeLost" in [problem["code"] for problem in site.status()["problems"]]:
        # Nothing kept the volume: it is not made anew as if nothing had been lost, but when a person says so.
        assert {site.stack(stack)["state"] for stack in stacks} == {"Blocked"}
        assert site.run("volume", "--accept-loss").returncode == 0
    wait_until(lambda: ready(site, stacks) and _has_volumes(hostk8s, stacks), "everything is there again", 60)

    events = json.loads(site.run("events", "-o", "json").stdout)["events"]
    told = {event["type"] for event in events}
    assert told.isdisjoint({"invalid", "drift.war", "pruned", "stack.removed"}), events
    lines = [json.loads(line) for line in site.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    loud = [line for line in lines if line["level"] in ("warning", "error", "critical")]
    assert len(loud) < 60, loud
    assert not [line for line in loud if line["level"] != "warning"], loud


def _has_volumes(hostk8s: HostK8s, stacks: list[str]) -> bool:
    """Whether the volumes exist, and none is on its way out."""
    found = json.loads(hostk8s.kubectl("get", "pv", "-o", "json"))["items"]
    names = {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]}
    return names == {f"hostk8s-{stack}-one-pv" for stack in stacks}

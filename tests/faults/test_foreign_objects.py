"""Objects that others made, hold, keep or refuse: the right word for each, few requests, nothing foreign written."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hostk8s_agent.contract.naming import persistent_volume_name
from hostk8s_agent.workspace import Workspace, runtime_folders
from reliability import Row

Wait = Callable[..., None]

OURS = "hostk8s-agent"
CASES = ("raced", "foreign", "invalid", "fought", "stuck", "released")


class Others:
    """Whoever else works on the cluster: makes, changes and keeps objects, and sees what became of them."""

    def __init__(self, site: Any, cluster: Any, trial: int) -> None:
        self._site = site
        self.cluster = cluster
        self.stacks = {case: f"{site.prefix}-{case}{trial}" for case in CASES}
        self.volumes = {case: persistent_volume_name(stack, "one") for case, stack in self.stacks.items()}
        self._made: dict[tuple[str, str], dict[str, Any]] = {}

    def make(self, *manifests: dict[str, Any]) -> bool:
        """Make objects as somebody else's tool does; return whether they are theirs: none of the name was there."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        said = self.cluster.kubectl("create", "--field-manager=theirs", "-f", "-", stdin=text, check=False)
        for one in manifests if said else ():
            key = one["kind"], one["metadata"]["name"]
            self._made[key] = _written(self.cluster.get(*key, "--show-managed-fields"))
        return bool(said)

    def volume(self, case: str, path: str) -> dict[str, Any]:
        """A volume of the name that the stack's contract would give it, which says nothing of HostK8s."""
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self.volumes[case], "labels": {"theirs": "yes"}},
            "spec": {
                "capacity": {"storage": "7Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": f"{self._site.prefix}-theirs",
                "hostPath": {"path": path},
            },
        }

    def storage_class(self, case: str) -> dict[str, Any]:
        """A class of the name that the stack's contract asks for, by another provisioner."""
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": self.stacks[case]},
            "provisioner": "example.com/theirs",
        }

    def fight(self, case: str, times: int, wait_until: Wait) -> None:
        """Take the volume's size for another manager, as often as the agent takes it back."""
        name = self.volumes[case]
        for number in range(times):
            wait_until(lambda: self._size(name) == "1Gi", "the agent has put it back")
            theirs = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
            theirs |= {"spec": {"capacity": {"storage": f"{number + 2}Gi"}}}
            options = ("--server-side", "--force-conflicts", "--field-manager=theirs", "-f", "-")
            self.cluster.kubectl("apply", *options, stdin=json.dumps(theirs))

    def _size(self, name: str) -> str:
        return str(self.cluster.get("pv", name)["spec"]["capacity"]["storage"])

    def require_untouched(self) -> None:
        """Nothing that they made was written by us, or is another one."""
        for key, made in self._made.items():
            found = _written(self.cluster.get(*key, "--show-managed-fields"))
            assert found == made, key
            assert OURS not in found["managers"], key


def _written(found: dict[str, Any]) -> dict[str, Any]:
    """An object without what the cluster's own controllers write of it."""
    metadata = found["metadata"]
    return {
        "uid": metadata["uid"],
        "labels": metadata.get("labels"),
        "annotations": metadata.get("annotations"),
        "spec": found.get("spec") or found.get("provisioner"),
        "deleted": metadata.get("deletionTimestamp"),
        "managers": {one["manager"] for one in metadata["managedFields"]} - {"kube-controller-manager"},
    }


def render_claim(site: Any, case: str, others: Others) -> str:
    """A claim that asks for the stack's volume."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": others.stacks[case], "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": f"{site.prefix}-{others.stacks[case]}",
                "volumeName": others.volumes[case],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )


def count_writes(site: Any) -> int:
    """How many requests the agent has sent so far that ask for a change."""
    folder = runtime_folders(Workspace(site.root.resolve()), site.environment)[0]
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--unix-socket", "agent.sock", "http://agent/metrics"]
    # By a path relative to its folder: an AF_UNIX path has 107 bytes.
    text = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    found = re.findall(r'^hostk8s_kubernetes_requests_total\{.*verb="(\w+)".*\} (\S+)$', text, re.MULTILINE)
    assert found, text
    return sum(int(float(count)) for verb, count in found if verb not in ("get", "list", "watch"))


def finalize(cluster: Any, volume: str, finalizers: list[str] | None) -> None:
    """Set who has to let go of the volume before it goes."""
    cluster.kubectl(
        "patch", "pv", volume, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": finalizers}}), check=False
    )


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.fault(
    "K5",
    "apply conflict, 422, foreign objects of the same names, a stuck finalizer, a Released PersistentVolume",
    holds="the right condition for each, no storm, nothing foreign changed",
    target="0 foreign writes",
    short=1,
    full=30,
)
def test_what_is_not_ours_to_change_is_told_and_left(row: Row, real_site: Any, cluster: Any, wait_until: Wait) -> None:
    """All at once in one agent; what is well beside them is Ready, and each is put right once its cause is gone."""
    site = real_site
    site.start()
    row.note(f"each trial has {len(CASES)} stacks: {', '.join(CASES)}")
    for trial in row.trials():
        with trial as number:
            others = Others(site, cluster, number)
            stacks, volumes = others.stacks, others.volumes
            assert others.make(others.volume("foreign", "/srv/theirs"), others.storage_class("foreign"))
            site.save(stacks["foreign"], storage_class=stacks["foreign"])
            # Somebody makes a volume of the name at the very moment: whoever is first has it whole.
            theirs: list[bool] = []
            racing = threading.Thread(
                target=lambda others=others, theirs=theirs: theirs.append(
                    others.make(others.volume("raced", "/srv/theirs"))
                )
            )
            racing.start()
            time.sleep(number % 10 * 0.02)
            site.save(stacks["raced"])
            # Kubernetes 1.20 knows no such mode: the contract is good, the server refuses the object.
            text = site.render(stacks["invalid"]).replace("ReadWriteOnce]", "ReadWriteOncePod]")
            site.save(stacks["invalid"], text)
            for case in ("fought", "stuck", "released"):
                site.save(stacks[case])
                site.wait_for(stacks[case], "Ready")
            racing.join()
            row.measure("races that the other one won", 100 * theirs[0], "%", statistic="mean")

            site.wait_for_codes(stacks["foreign"], "ObjectForeign", "ObjectForeign")
            site.wait_for_codes(stacks["invalid"], "ObjectInvalid")
            if theirs[0]:
                site.wait_for_codes(stacks["raced"], "ObjectForeign")
            else:
                site.wait_for(stacks["raced"], "Ready")
            # Five repairs within a minute are made; a run of `make test` sees one.
            others.fight("fought", 6 if row.is_counting else 1, wait_until)
            fought = ["FieldWar"] if row.is_counting else []
            wait_until(lambda stacks=stacks, fought=fought: site.codes(stacks["fought"]) == fought, "the war is told")
            finalize(cluster, volumes["stuck"], ["example.com/stuck"])
            cluster.kubectl("delete", "pv", volumes["stuck"], "--wait=false")
            site.wait_for_codes(stacks["stuck"], "ObjectTerminating")
            cluster.kubectl("apply", "-f", "-", stdin=render_claim(site, "released", others))
            wait_until(lambda volumes=volumes: phase(cluster, volumes["released"]) == "Bound", "the claim is bound")
            cluster.kubectl("delete", "pvc", stacks["released"])
            wait_until(lambda volumes=volumes: phase(cluster, volumes["released"]) == "Available", "it is free again")
            site.wait_for(stacks["released"], "Ready")

            seconds = 10.0 if row.is_counting else 1.0
            before = count_writes(site)
            time.sleep(seconds)
            sent = count_writes(site) - before
            row.measure("requests a minute while all of it stands", sent * 60 / seconds, "", limit=12, statistic="max")
            assert sent <= 1 + seconds / 5, "no storm"

            others.require_untouched()
            finalize(cluster, volumes["stuck"], None)
            site.wait_for(stacks["stuck"], "Ready")
            site.save(stacks["invalid"])
            site.wait_for(stacks["invalid"], "Ready")


def phase(cluster: Any, volume: str) -> str:
    """The volume's phase, empty when it does not exist."""
    return str(cluster.get("pv", volume).get("status", {}).get("phase", ""))

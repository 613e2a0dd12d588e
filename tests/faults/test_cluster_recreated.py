"""The cluster is made again behind the agent's back: everything comes back, each claim to its own data."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliability import Row

Wait = Callable[..., None]

POD_IMAGE = "hostk8s.local/busybox:1"
CLAIMS = ("first", "second")
BACK_SECONDS = 60.0

TWO_DIRECTORIES = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - {{name: one, path: /mnt/pv/{prefix}/one, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: {prefix}}}
    - {{name: two, path: /mnt/pv/{prefix}/two, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: {prefix}}}
"""


def render_claim(prefix: str, name: str) -> dict[str, Any]:
    """A claim that takes any volume of the stack's class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": prefix},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": prefix,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def render_pod(prefix: str, claim: str, name: str, command: str) -> dict[str, Any]:
    """A pod that runs one command on a claim's data, as its owner."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": prefix},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
            "containers": [
                {
                    "name": "one",
                    "image": POD_IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["/bin/sh", "-c", command],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


class Recreated:
    """A stack of two volumes of one class in a cluster that goes and comes back."""

    def __init__(self, site: Any, cluster: Any, wait_until: Wait) -> None:
        self.site, self.cluster, self.wait_until = site, cluster, wait_until
        self.stack = f"{site.prefix}-app"
        site.save(self.stack, TWO_DIRECTORIES.format(stack=self.stack, prefix=site.prefix))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects, as a person does."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def volumes(self) -> dict[str, dict[str, Any]]:
        """The stack's volumes by name, as the agent shows them."""
        return {one["name"]: one for one in self.site.stack(self.stack)["volumes"]}

    def claim_all(self, names: tuple[str, ...]) -> dict[str, str]:
        """Make the namespace and the claims, one after the other; return which volume each got."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.site.prefix}})
        for name in names:
            self.apply(render_claim(self.site.prefix, name))
            full = f"{self.site.prefix}/{name}"
            self.wait_until(
                lambda full=full: full in [one["claim"] for one in self.volumes().values()], f"{full} binds", 90
            )
        return {one["claim"].partition("/")[2]: name for name, one in self.volumes().items()}

    def run_pods(self, verb: str, command: str) -> None:
        """Run a pod on each claim, and wait until both have succeeded; `{claim}` in the command is the claim's name."""
        names = [f"{verb}-{claim}" for claim in CLAIMS]
        self.apply(
            *(render_pod(self.site.prefix, claim, f"{verb}-{claim}", command.format(claim=claim)) for claim in CLAIMS),
        )

        def phase(name: str) -> str:
            return str(self.cluster.get("pod", name, "-n", self.site.prefix).get("status", {}).get("phase"))

        self.wait_until(lambda: all(phase(name) in {"Succeeded", "Failed"} for name in names), f"the pods {verb}", 150)
        assert [phase(name) for name in names] == ["Succeeded"] * len(names)

    def wait_until_back(self, held: dict[str, str]) -> float:
        """Wait until all volumes are reserved for who held them; return the seconds that it took."""
        began = time.monotonic()
        wanted = {volume: f"{self.site.prefix}/{claim}" for claim, volume in held.items()}

        def is_back() -> bool:
            stack = self.site.stack(self.stack)
            return stack["state"] == "Ready" and {one["name"]: one["reservedFor"] for one in stack["volumes"]} == wanted

        self.wait_until(is_back, f"reserved as {wanted}; {self.volumes()}", 90)
        return time.monotonic() - began


def find_free_port(kubeconfig: Path) -> int:
    """Another port than the API server has."""
    text = kubeconfig.read_text(encoding="utf-8")
    return int(text.partition("127.0.0.1:")[2].split()[0].strip('"')) + 40


@pytest.fixture
def recreated_node(
    tmp_path: Path, wait_until: Wait, private_testbed: Any, site_on: Callable[..., Any]
) -> Iterator[Recreated]:
    """The stack on a whole node of the tests' own."""
    private_testbed.up("engine")
    private_testbed.up("node")
    status = private_testbed.status()
    node = SimpleNamespace(
        docker_host=status["engine"]["host"],
        kubeconfig=Path(status["node"]["kubeconfig"]),
        volume=status["node"]["volume"],
    )
    site, cluster, _ = site_on(tmp_path, wait_until, node)
    site.start()
    yield Recreated(site, cluster, wait_until)
    assert site.stop() == 0, site.log.read_text(encoding="utf-8")


@pytest.mark.engine
@pytest.mark.node
@pytest.mark.fault(
    "K6",
    "the node destroyed and created again, at the same port or another, with other keys",
    holds="volumes are back by themselves and reserved; claims made in another order find their own data; pods read it",
    target="<= 60 s, 0 differences",
    short=1,
    full=10,
)
def test_pods_read_in_a_new_cluster_what_they_wrote_in_the_former(
    row: Row, recreated_node: Recreated, private_testbed: Any
) -> None:
    """Data persists across the recreation of the cluster: nobody restarts the agent, or tells it anything."""
    here = recreated_node
    site = here.site
    here.wait_until(lambda: site.stack(here.stack)["state"] == "Ready", "the stack is Ready", 60)
    agent = site.status()["agent"]["pid"]
    names: tuple[str, ...] = CLAIMS
    for trial in row.trials():
        with trial as number:
            held = here.claim_all(names)
            here.run_pods("write", f"echo {{claim}} {number} > /data/file")
            other_port = ("--port", str(find_free_port(here.cluster.kubeconfig))) if number % 2 else ()
            private_testbed.run("recreate", "node", *other_port)
            row.measure("back after the node was ready", here.wait_until_back(held), "s", limit=BACK_SECONDS)
            names = tuple(reversed(names))
            assert here.claim_all(names) == held
            here.run_pods("read", f'[ "$(cat /data/file)" = "{{claim}} {number}" ]')
            assert site.status()["agent"]["pid"] == agent
            assert site.status()["cluster"]["mount"].startswith("/mnt/pv is the volume in")
            # The next trial begins without claims; the volumes stay with who held them.
            here.cluster.kubectl("delete", "namespace", site.prefix, "--wait=true", "--timeout=120s")

"""How long the containers of a stack stand still while its directory of 100 MB is snapshotted, on a whole node."""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any

from agent_process import AgentProcess
from figures import Check, Figure, Samples
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.workspace import Workspace
from snapshot_workload import make_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ground import Node
    from trial import Trial

ROUNDS = 10
FROZEN_SECONDS = 1.0
_FILES, _FILE_BYTES = 100, 10**6
_NAME = "hostk8s-bench-freeze"
_SETTLE_SECONDS = 120.0
_CONTRACT = f"""\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata: {{name: {_NAME}}}
spec:
  directories:
    - name: data
      path: /mnt/pv/{_NAME}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: {_NAME}
      owner: "0:0"
  snapshots: {{schedule: every 7d, quiesce: freeze}}
"""


def measure_freeze(trial: Trial) -> Figure:
    """A pod appends to a file all the time; each round a file of the directory is another one, and all is read anew."""
    rounds = min(ROUNDS, trial.sizes.rounds)
    frozen, pausing = Samples(), Samples()
    with (
        trial.ground.node() as node,
        trial.ground.checkout() as checkout,
        trial.ground.private_folder() as home,
    ):
        folder = node.mountpoint / _NAME
        environment = {
            **trial.ground.environment_on(node.kubeconfig, node.volume, home),
            "XDG_DATA_HOME": str(home / "share"),
            "HOSTK8S_AGENT_SNAPSHOT_MIN_FREE_PERCENT": "0",
        }
        contract = checkout.root / f"software/stacks/{_NAME}/hostk8s.storage.yaml"
        contract.parent.mkdir(parents=True)
        contract.write_text(_CONTRACT, encoding="utf-8")
        with AgentProcess(checkout, environment, home / "agent.log") as agent, _pod(node):
            agent.wait_until_settled(_SETTLE_SECONDS)
            agent.require_ready(1, _SETTLE_SECONDS)
            _wait_for((folder / "growing").exists)
            dice = random.Random(100)
            for number in range(_FILES):
                (folder / f"file{number:03}").write_bytes(_make_file(dice))
            client = ControlClient(Workspace(checkout.root.resolve()), environment)
            for number in trial.progress.rounds(rounds):
                (folder / f"file{number:03}").write_bytes(_make_file(dice))
                snapshot: dict[str, Any] = client.ask_of_snapshots("create", {"stack": _NAME}, _SETTLE_SECONDS)
                if snapshot["snapshot"]["quiesce"]["reached"] != "frozen":
                    raise RuntimeError(str(snapshot["snapshot"]["quiesce"]))
            for name, samples, field in (
                ("rest.thawed", frozen, "frozen_seconds"),
                ("rest.frozen", pausing, "duration_seconds"),
            ):
                for one in _read_events(agent.log, name)[-rounds:]:
                    samples.add(one[field] * 1000)
    return Figure(
        work="containers of a stack standing still while its directory of 100 MB is snapshotted, direct",
        rounds=f"{rounds} rounds",
        measured=str(frozen),
        rivals=(),
        checks=(Check("frozen", frozen.median / 1000, FROZEN_SECONDS, "s"),),
        details=(
            f"of it {pausing} pass until the one container is paused; waking it is in the rest",
            "100 files of 1 MB, database-like; the directory has changed and is read whole, hashed and compressed",
        ),
    )


@contextlib.contextmanager
def _pod(node: Node) -> Iterator[None]:
    """A pod on the stack's claim that writes all the time."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": _NAME,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    container = {
        "name": "writes",
        "image": "hostk8s.local/busybox:1",
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "while true; do date >> /data/growing; sleep 0.1; done"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
    }
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAME}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _named("claim"), "spec": claim},
        {"apiVersion": "v1", "kind": "Pod", "metadata": _named("writes"), "spec": pod},
    ]
    try:
        node.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        yield
    finally:
        node.kubectl("-n", _NAME, "delete", "pod,pvc", "--all", "--wait=true")
        node.kubectl("delete", "namespace", _NAME, "--wait=false")
        node.kubectl("delete", "sc", _NAME, "--ignore-not-found")


def _named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": _NAME}


def _make_file(dice: random.Random) -> bytes:
    return b"".join(make_page(dice) for _ in range(_FILE_BYTES // 8192 + 1))[:_FILE_BYTES]


def _read_events(log: Path, name: str) -> list[dict[str, Any]]:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if f'"{name}"' in line]
    return [json.loads(line) for line in lines]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the pod never wrote")
        time.sleep(0.1)

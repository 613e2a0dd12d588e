"""The main job on the real engine and the real API server: save a contract, and both follow."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.engine, pytest.mark.cluster]


def volume_name(stack: str, directory: str = "one") -> str:
    """The PersistentVolume's name, as HostK8s has it."""
    return f"hostk8s-{stack.replace('/', '-')}-{directory}-pv"


@pytest.mark.parametrize("access", ["direct", "helper-container"])
def test_a_save_is_followed_by_volume_and_cluster(
    real_site: Any, docker_engine: Any, cluster: Any, access: str
) -> None:
    """Directory with owner and mode, StorageClass and PersistentVolume stand, and `status` says Ready."""
    real_site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = access
    real_site.start()
    stack = f"{real_site.prefix}/airflow"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    mountpoint = docker_engine.mountpoint(real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"])
    found = (mountpoint / real_site.prefix / stack / "one").stat()
    assert (found.st_uid, found.st_gid, oct(found.st_mode)) == (26, 26, "0o40750")
    parent = (mountpoint / real_site.prefix).stat()
    assert (parent.st_uid, parent.st_gid, oct(parent.st_mode)) == (0, 0, "0o40755")
    volume = cluster.get("pv", volume_name(stack))
    assert volume["spec"]["hostPath"] == {
        "path": f"/mnt/pv/{real_site.prefix}/{stack}/one",
        "type": "DirectoryOrCreate",
    }
    assert volume["metadata"]["labels"]["hostk8s.stack"] == stack.replace("/", "-")
    assert cluster.get("sc", volume["spec"]["storageClassName"])["provisioner"] == "kubernetes.io/no-provisioner"
    status = real_site.status()
    assert (status["docker"]["state"], status["docker"]["access"]) == ("Connected", access)
    assert status["cluster"]["uid"] == cluster.get("namespace", "kube-system")["metadata"]["uid"]


def test_a_claim_binds_and_the_status_names_it(real_site: Any, cluster: Any) -> None:
    """The controller's binding is seen without any resync."""
    real_site.start()
    stack = f"{real_site.prefix}-claim"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": stack, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"{real_site.prefix}-{stack}",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    try:
        real_site._wait_until(lambda: real_site.stack(stack)["volumes"][0]["phase"] == "Bound", "bound")
        assert real_site.stack(stack)["volumes"][0]["claim"] == f"default/{stack}"
        assert real_site.stack(stack)["message"] == "1 directory, 1 volume, 1 bound"
    finally:
        cluster.kubectl("delete", "pvc", stack, "--wait=false")


def test_size_modes_and_labels_change_in_place(real_site: Any, cluster: Any) -> None:
    """The same object, with its new fields."""
    real_site.start()
    stack = f"{real_site.prefix}-edit"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    before = cluster.get("pv", volume_name(stack))["metadata"]["uid"]
    real_site.save(stack, size="3Gi")
    real_site._wait_until(
        lambda: cluster.get("pv", volume_name(stack))["spec"]["capacity"]["storage"] == "3Gi", "the new size"
    )
    assert cluster.get("pv", volume_name(stack))["metadata"]["uid"] == before


def measure_repair(cluster: Any, subject: tuple[str, str], field: str, *change: str) -> float:
    """Have kubectl change a field; return the seconds from when a watcher sees that to when it sees it put back."""
    command = ["kubectl", "--kubeconfig", cluster.kubeconfig, "get", *subject, "--watch"]
    command += ["-o", f'jsonpath={{{field}}}{{"\\n"}}']
    seen: list[tuple[float, str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        before = watching.stdout.readline()
        changing = threading.Thread(target=cluster.kubectl, args=change)
        changing.start()
        while not seen or seen[-1][1] != before:
            line = watching.stdout.readline()
            if line != before or seen:
                seen.append((time.monotonic(), line))
        changing.join()
        watching.terminate()
    return seen[-1][0] - seen[0][0]


def test_drift_of_objects_is_put_right_without_a_save(real_site: Any, cluster: Any) -> None:
    """What somebody edits or deletes is put back as soon as the mirror sees it: within a second of that."""
    real_site.start()
    stack = f"{real_site.prefix}-drift"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    name = volume_name(stack)
    storage_class = f"{real_site.prefix}-{stack}"
    expands = ("patch", "sc", storage_class, "-p", '{"allowVolumeExpansion":true}')
    of_class = measure_repair(cluster, ("sc", storage_class), ".allowVolumeExpansion", *expands)
    relabels = ("label", "pv", name, "hostk8s.stack=other", "--overwrite")
    of_volume = measure_repair(cluster, ("pv", name), r".metadata.labels.hostk8s\.stack", *relabels)
    figures = f"drift put back after {of_volume:.3f} s (PersistentVolume), {of_class:.3f} s (StorageClass)"
    print(figures)  # noqa: T201 - the figure, with `pytest -s`
    assert max(of_volume, of_class) <= 1.0, figures
    real_site._wait_until(lambda: real_site.stack(stack)["drift"], "the drift is shown")
    [drift] = [one for one in real_site.stack(stack)["drift"] if one["object"] == f"PersistentVolume/{name}"]
    assert drift | {"at": ""} == {
        "object": f"PersistentVolume/{name}",
        "field": "metadata.labels.hostk8s.stack",
        "desired": stack,
        "observed": "other",
        "manager": "kubectl-label",
        "at": "",
    }
    assert "kubectl-label" in real_site.run("status", stack).stdout
    assert f"{name}: metadata.labels.hostk8s.stack was changed to other by kubectl-label" in (
        real_site.run("events", "--stack", stack).stdout
    )
    real_site._wait_until(lambda: "DriftRepaired" in cluster.kubectl("describe", "pv", name), "told on the volume")
    uid = cluster.get("pv", name)["metadata"]["uid"]
    # How long the deletion itself takes is the volume controller's business (its finalizer), not ours.
    cluster.kubectl("delete", "pv", name, "--wait=false")
    real_site._wait_until(
        lambda: cluster.get("pv", name).get("metadata", {}).get("uid", uid) != uid, "the volume is made again", 120
    )


def test_touched_contracts_cost_no_request(real_site: Any, cluster: Any) -> None:
    """Nothing is written when nothing has to change, whether touched, rewritten or commented."""
    real_site.start()
    stacks = [f"{real_site.prefix}-{number}" for number in range(5)]
    files = [real_site.save(stack) for stack in stacks]
    for stack in stacks:
        real_site.wait_for(stack, "Ready")
    before = cluster.request_count()
    reconciled = {stack: real_site.stack(stack)["lastReconciledAt"] for stack in stacks}
    for file in files:
        file.write_text(f"# a comment\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    real_site._wait_until(
        lambda: all(real_site.stack(stack)["lastReconciledAt"] != reconciled[stack] for stack in stacks),
        "every stack was run again",
    )
    assert cluster.request_count() == before


def test_a_restart_with_everything_in_place_writes_nothing(real_site: Any, cluster: Any) -> None:
    """What is as it should be is left alone."""
    real_site.start()
    stack = f"{real_site.prefix}-again"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    assert real_site.stop() == 0
    before = cluster.request_count()
    real_site.start()
    real_site.wait_for(stack, "Ready")
    assert cluster.request_count() == before


def test_objects_of_the_script_are_adopted(real_site: Any, cluster: Any) -> None:
    """What `kubectl apply` made for HostK8s becomes ours, keeps its identity, and loses what is removed later."""
    stack = f"{real_site.prefix}-adopt"
    name, storage_class = volume_name(stack), f"{real_site.prefix}-{stack}"
    made = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": storage_class},
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": False,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": {"hostk8s.stack": stack, "hostk8s.storage.name": "one"}},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": storage_class,
                "hostPath": {"path": f"/mnt/pv/{real_site.prefix}/{stack}/one", "type": "DirectoryOrCreate"},
            },
        },
    ]
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made))
    uid = cluster.get("pv", name)["metadata"]["uid"]
    real_site.start()
    real_site.save(stack, size="2Gi")
    real_site.wait_for(stack, "Ready")
    volume = cluster.get("pv", name, "--show-managed-fields=true")
    assert volume["metadata"]["uid"] == uid
    assert volume["spec"]["capacity"]["storage"] == "2Gi"
    appliers = {(one["manager"], one["operation"]) for one in volume["metadata"]["managedFields"]}
    assert ("hostk8s-agent", "Apply") in appliers
    assert "kubectl-client-side-apply" not in {manager for manager, _ in appliers}


def test_the_agent_waits_calmly_for_a_kubeconfig(real_site: Any, cluster: Any) -> None:
    """Started before the cluster, it makes the directories, says what it waits for, and goes on by itself."""
    late = real_site.root / "late-kubeconfig"
    real_site.environment["KUBECONFIG"] = str(late)
    real_site.start()
    stack = f"{real_site.prefix}-late"
    real_site.save(stack)
    # Pending at first means only that nobody has looked yet.
    real_site._wait_until(lambda: real_site.codes(stack), "what it waits for")
    assert real_site.stack(stack)["state"] == "Pending"
    real_site._wait_until(
        lambda: [one["state"] for one in real_site.stack(stack)["directories"]] == ["Ready"], "the directory"
    )
    late.write_text(cluster.kubeconfig.read_text(encoding="utf-8"), encoding="utf-8")
    real_site.wait_for(stack, "Ready")
    assert cluster.get("pv", volume_name(stack))


def test_one_directory_in_a_volume_that_is_made_when_missing(real_site: Any, docker_engine: Any) -> None:
    """The first start on a new machine needs nobody to create the volume."""
    volume = real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    assert volume not in docker_engine.docker("volume", "ls", "--quiet").split()
    stack = f"{real_site.prefix}-first"
    real_site.save(stack)
    assert real_site.run("run", "--once").returncode == 0
    assert (docker_engine.mountpoint(volume) / real_site.prefix / stack / "one").is_dir()


def test_no_helper_container_is_left_behind(real_site: Any, docker_engine: Any) -> None:
    """Neither by an orderly stop nor, after the next start, by a crash."""
    real_site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = "helper-container"
    volume = real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    stack = f"{real_site.prefix}-helper"
    real_site.save(stack)
    real_site.start()
    real_site.wait_for(stack, "Ready")
    real_site.kill()
    assert len(_containers_on(docker_engine, volume)) == 1
    real_site.start()
    real_site.wait_for(stack, "Ready")
    assert len(_containers_on(docker_engine, volume)) == 1
    assert real_site.stop() == 0
    assert _containers_on(docker_engine, volume) == []


def _containers_on(docker_engine: Any, volume: str) -> list[str]:
    listed: str = docker_engine.docker("ps", "--all", "--quiet", "--filter", f"volume={volume}")
    return listed.split()


def test_directories_are_never_chowned_below_the_declared_one(real_site: Any, docker_engine: Any) -> None:
    """A database's own files keep their owners through every repair."""
    real_site.start()
    stack = f"{real_site.prefix}-own"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    directory: Path = (
        docker_engine.mountpoint(real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]) / real_site.prefix / stack / "one"
    )
    (directory / "inner").mkdir(mode=0o700)
    (directory / "inner/data").write_bytes(b"precious")
    directory.chmod(0o777)
    assert real_site.run("reconcile", stack, "--wait").returncode == 0
    assert oct(directory.stat().st_mode) == "0o40750"
    inner = (directory / "inner").stat()
    assert (inner.st_uid, oct(inner.st_mode)) == (0, "0o40700")
    assert (directory / "inner/data").read_bytes() == b"precious"

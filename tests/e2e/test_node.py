"""End to end on a whole node: save, the claim binds, a pod writes, the file is in the volume."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.contract.naming import persistent_volume_name
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.holders import HolderLedger, describe_me

pytestmark = [pytest.mark.engine, pytest.mark.node]

POD_IMAGE = "hostk8s.local/busybox:1"


def test_what_a_pod_writes_is_in_the_volume(node_site: tuple[Any, Any, Any], node: Any) -> None:
    """The pod runs as the declared owner, and can write because the directory is his and nobody else's."""
    site, cluster, docker_engine = node_site
    site.start()
    stack = f"{site.prefix}-app"
    site.save(stack, owner="4711:4712", permissions="0700")
    site.wait_for(stack, "Ready")
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.prefix}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "claim", "namespace": site.prefix},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": f"{site.prefix}-{stack}",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "writer", "namespace": site.prefix},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsUser": 4711, "runAsGroup": 4712},
                "containers": [
                    {
                        "name": "writer",
                        "image": POD_IMAGE,
                        "imagePullPolicy": "Never",
                        "command": ["/bin/sh", "-c", "echo precious > /data/file"],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
            },
        },
    ]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    site._wait_until(lambda: site.stack(stack)["volumes"][0]["phase"] == "Bound", "the claim binds")
    site._wait_until(
        lambda: cluster.get("pod", "writer", "-n", site.prefix)["status"].get("phase") == "Succeeded",
        "the pod writes",
        120,
    )
    file = docker_engine.mountpoint(node.volume) / site.prefix / stack / "one/file"
    assert file.read_text(encoding="utf-8") == "precious\n"
    assert (file.stat().st_uid, file.stat().st_gid) == (4711, 4712)
    assert site.stack(stack)["volumes"][0]["claim"] == f"{site.prefix}/claim"
    assert site.run("status").returncode == 0


def render_pod(site: Any, name: str, volume: dict[str, Any]) -> dict[str, Any]:
    """A pod that does nothing with a volume, for as long as it is left."""
    container = {
        "name": "idle",
        "image": POD_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "sleep 3600"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": site.prefix},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "data", **volume}],
        },
    }


def render_claim(site: Any, stack: str) -> dict[str, Any]:
    """A claim that the stack's volume serves."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{site.prefix}-{stack}",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim", "namespace": site.prefix},
        "spec": spec,
    }


def apply(site: Any, cluster: Any, *objects: dict[str, Any]) -> None:
    """Apply objects in a namespace of the test's own."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.prefix}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, *objects]}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


def test_what_a_pod_uses_is_neither_pruned_nor_purged(node_site: tuple[Any, Any, Any], node: Any) -> None:
    """A Released volume whose pod still runs stays; so does a directory that a pod mounts past any claim."""
    site, cluster, docker_engine = node_site
    site.environment |= {"HOSTK8S_AGENT_PRUNE_GRACE_SECONDS": "1", "HOSTK8S_AGENT_REBIND_RELEASED": "false"}
    stack, path = f"{site.prefix}-app", f"/mnt/pv/{site.prefix}/data"
    volume = persistent_volume_name(stack, "one")
    file = site.save(stack, path=path)
    site.start()
    site.wait_for(stack, "Ready")
    by_claim = render_pod(site, "by-claim", {"persistentVolumeClaim": {"claimName": "claim"}})
    by_path = render_pod(site, "by-path", {"hostPath": {"path": path}})
    apply(site, cluster, render_claim(site, stack), by_claim, by_path)

    def runs(pod: str) -> bool:
        return bool(cluster.get("pod", pod, "-n", site.prefix).get("status", {}).get("phase") == "Running")

    site._wait_until(lambda: runs("by-claim") and runs("by-path"), "both pods run", 120)
    cluster.kubectl("-n", site.prefix, "delete", "pvc", "claim", "--wait=false")
    # Kubernetes keeps a claim while a pod uses it, until somebody forces it.
    cluster.kubectl(
        "-n", site.prefix, "patch", "pvc", "claim", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    site._wait_until(lambda: cluster.get("pv", volume)["status"]["phase"] == "Released", "the volume is released")
    shutil.rmtree(file.parent)
    for pod in ("by-claim", "by-path"):
        site._wait_until(lambda pod=pod: f"Pod/{pod} in {site.prefix}" in site.stack(stack)["message"], "it is told")
        assert cluster.get("pv", volume)["status"]["phase"] == "Released"
        if pod == "by-claim":
            cluster.kubectl("-n", site.prefix, "delete", "pod", pod)
            site.run("reconcile", stack)
    # Somebody takes the volume itself away: the pod that mounts the path is there all the same.
    cluster.kubectl("delete", "pv", volume)
    site._wait_until(lambda: site.stack(stack)["state"] == "Unknown", "nothing is left of the stack")
    refused = site.run("purge", path)
    assert (refused.returncode, f"Pod/by-path in {site.prefix} mounts it" in refused.stderr) == (2, True), (
        refused.stderr
    )
    folder = docker_engine.mountpoint(node.volume) / site.prefix / "data"
    assert folder.is_dir()
    cluster.kubectl("-n", site.prefix, "delete", "pod", "by-path")
    assert site.run("purge", path).returncode == 0
    assert not folder.exists()
    assert site.run("purge", "--empty-trash", "--yes").returncode == 0


def test_the_volume_of_a_node_is_kept_and_a_silent_holder_gives_way(
    node_site: tuple[Any, Any, Any], node: Any, tmp_path: Path
) -> None:
    """The container that keeps it runs by the node's own image; a path of a workspace long silent is taken over."""
    site, cluster, docker_engine = node_site
    site.environment["HOSTK8S_AGENT_KEEP_VOLUME"] = "true"
    path = f"/mnt/pv/{site.prefix}/held"
    with closing(DirectAccess(docker_engine.mountpoint(node.volume))) as access:
        # A checkout that is there, of an agent that was last heard of an hour ago.
        other = describe_me(f"other-{site.prefix}", tmp_path, "other")
        ledger = HolderLedger(other, may_write=True, clock=lambda: time.time() - 3600)
        ledger.begin(access)
        ledger.claim("stack", [path])
        ledger.turn(access)
        try:
            stack = f"{site.prefix}-app"
            site.save(stack, path=path)
            site.start()
            site.wait_for_codes(stack, "PathHeldElsewhere")
            assert cluster.get("pv", persistent_volume_name(stack, "one")) == {}
            assert site.run("take-over", path).returncode == 0
            site.wait_for(stack, "Ready")
            name = f"hostk8s-agent-keeps-{node.volume}"
            shape = "{{.State.Running}} {{.Image}}"
            image = docker_engine.docker("inspect", node.container, "--format", "{{.Image}}")
            assert docker_engine.docker("inspect", name, "--format", shape) == f"true {image}"
            docker_engine.docker("rm", "--force", name)
            listing = ("ps", "--filter", f"name={name}", "--format", "{{.Names}}")
            site._wait_until(lambda: docker_engine.docker(*listing) == name, "it is made again")
            assert site.stop() == 0
            assert site.run("volume", "--release").returncode == 0
        finally:
            ledger.release(access)


def test_a_node_without_the_volume_gets_no_pod_that_needs_it(node_site: tuple[Any, Any, Any], node: Any) -> None:
    """Of two nodes one has `/mnt/pv`: volumes are made for that one, and the API server takes them so."""
    site, cluster, docker_engine = node_site
    name = docker_engine.docker(
        "inspect", node.container, "--format", '{{index .Config.Labels "io.x-k8s.kind.cluster"}}'
    )
    worker = f"{site.prefix}-worker"
    labels = ("--label", f"io.x-k8s.kind.cluster={name}", "--label", "io.x-k8s.kind.role=worker")
    docker_engine.docker("run", "--detach", "--name", worker, *labels, "--network", "none", POD_IMAGE, "sleep", "600")
    try:
        stack = f"{site.prefix}-app"
        site.save(stack)
        site.start()
        site.wait_for(stack, "Ready")
        affinity = cluster.get("pv", persistent_volume_name(stack, "one"))["spec"]["nodeAffinity"]
        assert affinity["required"]["nodeSelectorTerms"] == [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node.container]}]}
        ]
        problems = {one["code"]: one["message"] for one in site.status()["problems"]}
        assert worker in problems["NodeMountPartial"]
        apply(site, cluster, render_claim(site, stack))
        site._wait_until(lambda: site.stack(stack)["volumes"][0]["phase"] == "Bound", "the claim binds")
    finally:
        docker_engine.docker("rm", "--force", worker)

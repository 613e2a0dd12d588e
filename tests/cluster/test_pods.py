"""Pods, asked for on demand: which of them have a claim, and which of their containers mount it."""

from __future__ import annotations

from typing import Any

import pytest

from hostk8s_agent.cluster.pods import parse_pod
from hostk8s_agent.plan.observed import ObservedContainer, ObservedPod


def manifest(name: str, claim: str, namespace: str = "default") -> dict[str, Any]:
    """A pod that nobody schedules, with a claim that one of its two containers mounts."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeSelector": {"hostk8s.io/nowhere": "yes"},
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
                {"name": "scratch", "emptyDir": {}},
                {"name": "host", "hostPath": {"path": "/mnt/pv/web"}},
            ],
            "containers": [
                {"name": "db", "image": "none", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                {"name": "side", "image": "none", "volumeMounts": [{"name": "host", "mountPath": "/tmp"}]},
            ],
        },
    }


@pytest.mark.cluster
def test_pods_are_told_with_their_claims(connected: Any, person: Any) -> None:
    """A pod that waits to be scheduled uses its claim as well as one that runs; a namespace without pods has none."""
    pod = manifest(f"{person.prefix}-pod", f"{person.prefix}-claim")
    person.apply(pod)
    try:
        found = {one.name: one for one in connected.connection.observe_pods("default")}[pod["metadata"]["name"]]
        assert found.name in [one.name for one in connected.connection.observe_pods()]
    finally:
        person.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    assert (found.namespace, found.phase, found.claims) == ("default", "Pending", (f"{person.prefix}-claim",))
    assert [(one.name, one.claims) for one in found.containers] == [("db", found.claims), ("side", ())]
    assert connected.connection.observe_pods(f"{person.prefix}-no-such-namespace") == ()


def test_a_running_pod_is_read_whole() -> None:
    """What pausing its containers takes: their ids, which of them run, and which mount the claim."""
    raw = manifest("pod", "claim")
    raw["metadata"] |= {"uid": "u", "annotations": {"a": "b", "c": 1}}
    raw["spec"] |= {
        "nodeName": "node",
        "initContainers": [{"name": "init", "volumeDevices": [{"name": "data"}]}],
        "volumes": [*raw["spec"]["volumes"], {"name": "own", "ephemeral": {}}],
    }
    raw["status"] = {
        "phase": "Running",
        "initContainerStatuses": [{"name": "init", "containerID": "containerd://1", "state": {"terminated": {}}}],
        "containerStatuses": [{"name": "db", "containerID": "containerd://2", "state": {"running": {}}}],
    }
    pod = parse_pod(raw)
    assert pod is not None
    assert not pod.is_over
    assert pod == ObservedPod(
        "default",
        "pod",
        "u",
        "node",
        "Running",
        ("claim", "pod-own"),
        (
            ObservedContainer("init", "containerd://1", is_running=False, claims=("claim",), is_over=True),
            ObservedContainer("db", "containerd://2", is_running=True, claims=("claim",)),
            ObservedContainer("side", "", is_running=False, claims=(), host_paths=("/mnt/pv/web",)),
        ),
        {"a": "b"},
        ("/mnt/pv/web",),
    )


@pytest.mark.parametrize("broken", [{}, {"metadata": {"name": 7}}, {"metadata": []}])
def test_what_is_no_pod_is_left_out(broken: Any) -> None:
    """One malformed item spoils no list."""
    assert parse_pod(broken) is None
    assert parse_pod({"metadata": {"name": "x"}, "spec": [], "status": {"containerStatuses": None}}) is not None

"""End to end on a whole node: save, the claim binds, a pod writes, the file is in the volume."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.node]

POD_IMAGE = "hostk8s.local/busybox:1"


@pytest.fixture
def node_site(
    tmp_path: Path, wait_until: Callable[..., None], node: Any, site_on: Callable[..., Any]
) -> Iterator[tuple[Any, Any, Any]]:
    """A workspace on the whole node and its volume, with the cluster and the engine as a person sees them."""
    site, cluster, docker_engine = site_on(tmp_path, wait_until, node)
    yield site, cluster, docker_engine
    try:
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")
    finally:
        cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false")
        cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "--all", "--wait=true", "--grace-period=1", check=False)
        cluster.remove(site.prefix)


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

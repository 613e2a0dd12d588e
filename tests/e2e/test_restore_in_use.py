"""A restore under pods that run, on the whole node: what they see afterwards, and how many there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.browsing import choose_port, chromium, shows, visit

from hostk8s_agent.cluster.connection import ClusterConnection
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.plan.observed import OwnerReference
from hostk8s_agent.snapshot.errors import TargetInUseError
from hostk8s_agent.snapshot.scaling import ANNOTATION, ScaledDown, Scaler, find_workloads
from hostk8s_agent.snapshot.users import find_users
from hostk8s_agent.workspace import Workspace, state_folder

# A fixture that these tests ask for by name.
__all__ = ["chromium"]

pytestmark = [pytest.mark.engine, pytest.mark.node]

REPLICAS = 2


@dataclass
class Ground:
    """An agent, a stack with a directory, and a Deployment whose pods write into it without a pause."""

    site: Any
    cluster: Any
    stack: str
    folder: Path
    wait_until: Callable[..., None]

    def restore(self, *options: str) -> Any:
        """What `snapshot restore` says."""
        return self.site.run("snapshot", "restore", self.stack, "--yes", "-o", "json", *options)

    def pods(self) -> list[dict[str, Any]]:
        """The pods that are not on their way out."""
        found = json.loads(self.cluster.kubectl("-n", self.site.prefix, "get", "pods", "-o", "json"))["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def wait_until_all_run(self) -> None:
        """Until each of them runs."""

        def do_all_run() -> bool:
            statuses = [status for one in self.pods() for status in one["status"].get("containerStatuses", ())]
            return len(statuses) == REPLICAS and all("running" in one["state"] for one in statuses)

        self.wait_until(do_all_run, "all pods run")

    def restarts(self) -> list[int]:
        """How often each pod's container was started anew."""
        return [status["restartCount"] for one in self.pods() for status in one["status"].get("containerStatuses", ())]

    def seen_by_pods(self) -> set[str]:
        """What the pods read at /data/word."""
        names = [one["metadata"]["name"] for one in self.pods()]
        return {self.cluster.kubectl("-n", self.site.prefix, "exec", name, "--", "cat", "/data/word") for name in names}

    def deployment(self) -> dict[str, Any]:
        """The Deployment as it is."""
        found: dict[str, Any] = self.cluster.get("deployment", "web", "-n", self.site.prefix)
        return found


@pytest.fixture
def ground(tmp_path: Path, wait_until: Callable[..., None], node: Any, site_on: Any) -> Iterator[Ground]:
    """The pods run, and a snapshot has the word that they see."""
    site, cluster, engine = site_on(tmp_path, wait_until, node)
    stack = f"{site.prefix}-web"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_SCHEDULE"] = "off"
    choose_port(site)
    site.start()
    site.save(stack, owner="0:0", permissions="0755")
    site.wait_for(stack, "Ready")
    folder = engine.mountpoint(node.volume) / site.prefix / stack / "one"
    (folder / "word").write_text("precious", encoding="utf-8")
    container = {
        "name": "web",
        "image": "hostk8s.local/busybox:1",
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "while true; do echo more >> /data/log-$HOSTNAME; sleep 0.05; done"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
    }
    mine = {"namespace": site.prefix}
    labels = {"app": "web"}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{site.prefix}-{stack}",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    deployment = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.prefix}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {**mine, "name": "claim"}, "spec": claim},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**mine, "name": "web"}, "spec": deployment},
    ]
    ground = Ground(site, cluster, stack, folder, wait_until)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        ground.wait_until_all_run()
        assert site.run("snapshot", "create", stack).returncode == 0
        (folder / "word").write_text("wrecked", encoding="utf-8")
        yield ground
    finally:
        cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false")
        cluster.kubectl("-n", site.prefix, "delete", "deploy,pod,pvc", "--all", "--wait=true", check=False)
        cluster.remove(site.prefix)
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")


def test_pods_that_run_see_what_was_restored_and_nothing_that_they_wrote_is_lost(ground: Ground) -> None:
    """Scaled down and back, or their containers started anew; of a file inside they see it with nothing of that."""
    refused = ground.restore()
    assert (refused.returncode, "--scale-down" in refused.stderr) == (2, True)
    assert ground.seen_by_pods() == {"wrecked"}

    outcome = json.loads(ground.restore("--scale-down").stdout)
    assert outcome["plan"]["stops"] == [
        f"Deployment/web in {ground.site.prefix} is scaled from {REPLICAS} to 0, and back"
    ]
    assert outcome["safety"]["quiesce"]["reached"] == "unused"
    assert ground.deployment()["spec"]["replicas"] == REPLICAS
    assert ANNOTATION not in ground.deployment()["metadata"]["annotations"]
    ground.wait_until_all_run()
    assert ground.seen_by_pods() == {"precious"}

    (ground.folder / "word").write_text("wrecked again", encoding="utf-8")
    before = {one["metadata"]["uid"] for one in ground.pods()}
    outcome = json.loads(ground.restore("--in-use", "--path", "one/word").stdout)
    assert ground.seen_by_pods() == {"precious"}
    assert ground.restarts() == [0] * REPLICAS

    (ground.folder / "word").write_text("wrecked once more", encoding="utf-8")
    outcome = json.loads(ground.restore("--in-use").stdout)
    assert all("started anew by their node" in words for words in outcome["plan"]["stops"])
    assert outcome["safety"]["quiesce"]["reached"] == "frozen"
    ground.wait_until(lambda: ground.restarts() == [1] * REPLICAS, "their containers are started anew")
    ground.wait_until_all_run()
    assert ground.seen_by_pods() == {"precious"}
    assert {one["metadata"]["uid"] for one in ground.pods()} == before
    ground.wait_until(lambda: list(ground.folder.glob("log-*")), "they write into the tree that is live")


@pytest.mark.tools
def test_the_page_offers_both_ways_with_what_each_does_and_its_command(ground: Ground, chromium: Browser) -> None:
    """Scaled down unless a person chooses otherwise; nothing is done before the stack's name was typed."""
    site, stack = ground.site, ground.stack
    before = {one["metadata"]["uid"] for one in ground.pods()}
    with visit(site, chromium) as visitor:
        row = visitor.row(stack)
        row.locator("summary").click()
        for option, label, stop in (
            ("--in-use", "Have their containers started anew", "started anew by their node"),
            ("--scale-down", "Scale them to zero meanwhile, and back", f"is scaled from {REPLICAS} to 0, and back"),
        ):
            (ground.folder / "word").write_text("wrecked", encoding="utf-8")
            row.get_by_role("button", name="Restore …", exact=True).last.click()
            dialog = visitor.page.get_by_role("dialog")
            shows(dialog, f"✗ In use by {ground.site.prefix}/web-")
            shows(dialog, stop)
            expect(dialog.get_by_role("radio", name="Scale them to zero")).to_be_checked()
            dialog.get_by_role("radio", name=label).check()
            expect(dialog.locator("code", has_text=f" {option}")).to_have_count(1)
            assert {one["metadata"]["uid"] for one in ground.pods()} == before
            dialog.get_by_role("textbox").fill(stack)
            dialog.get_by_role("button", name="Restore", exact=True).click()
            shows(visitor.page.locator("#note"), "What was there before is the snapshot")
            restarts = [1 if option == "--in-use" else 0] * REPLICAS
            # What is said of containers that were killed is old for a moment.
            ground.wait_until(lambda expected=restarts: ground.restarts() == expected, "they are started anew")
            ground.wait_until_all_run()
            assert ground.seen_by_pods() == {"precious"}
            is_same = {one["metadata"]["uid"] for one in ground.pods()} == before
            assert is_same == (option == "--in-use")
    assert ground.deployment()["spec"]["replicas"] == REPLICAS


def test_a_crash_while_it_is_scaled_down_is_put_right_and_never_over_somebody_else(
    ground: Ground, node: Any, tmp_path: Path
) -> None:
    """The next start scales back to what it was; whoever scaled it meanwhile is told and left; only owners scale."""
    text = ground.site.stacks.joinpath(ground.stack, "hostk8s.storage.yaml").read_bytes()
    contract = parse_contract(text, file="f", stack=ground.stack)
    connection = ClusterConnection(
        source=KubeconfigSource((node.kubeconfig,), "KUBECONFIG"),
        scratch_folder=tmp_path / "keys",
        on_change=lambda: None,
        on_object=lambda _key: None,
    )
    connection.start()
    try:
        ground.wait_until(lambda: connection.state().state == "Connected", "connected")
        ground.wait_until(lambda: find_users(connection, ground.stack, contract.directories), "the pods are found")
        assert ground.site.stop() == 0
        scaler = Scaler(lambda: connection, state_folder(Workspace(ground.site.root.resolve())))

        def crash() -> None:
            with suppress(KeyboardInterrupt), scaler.scaled_down(contract, ScaledDown(is_swapping=True)):
                assert not find_users(connection, ground.stack, contract.directories)
                raise KeyboardInterrupt

        crash()
        assert ground.deployment()["spec"]["replicas"] == 0
        ground.site.start()
        ground.wait_until(lambda: ground.deployment()["spec"]["replicas"] == REPLICAS, "the next start scales it back")
        ground.wait_until(lambda: not scaler.has_left(), "and knows so")
        ground.wait_until_all_run()
        assert ground.site.stop() == 0

        crash()
        ground.cluster.kubectl("-n", ground.site.prefix, "scale", "deployment", "web", "--replicas=1")
        assert scaler.recover() == [
            f"Deployment/web in {ground.site.prefix} was scaled to 1 by somebody else, and stays so"
        ]
        assert (ground.deployment()["spec"]["replicas"], scaler.has_left()) == (1, False)
        # Whoever scales it to zero afterwards means it.
        ground.wait_until(lambda: find_users(connection, ground.stack, contract.directories), "it runs")
        [use, *_] = find_users(connection, ground.stack, contract.directories)
        ground.cluster.kubectl("-n", ground.site.prefix, "scale", "deployment", "web", "--replicas=0")
        assert (scaler.recover(), ground.deployment()["spec"]["replicas"]) == ([], 0)

        for owner, words in ((None, "stands by itself"), (OwnerReference("Job", "j", "u"), "Job/j")):
            orphan = replace(use, pod=replace(use.pod, owner=owner))
            with pytest.raises(TargetInUseError, match=words):
                find_workloads(connection, [orphan])
    finally:
        connection.stop()

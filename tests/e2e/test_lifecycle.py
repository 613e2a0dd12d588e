"""What changes, breaks or goes away, on the real engine and the real API server: put right, and no data lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.contract.naming import persistent_volume_name

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

Wait = Callable[..., None]


@pytest.fixture
def pruning_site(real_site: Any) -> Any:
    """A workspace on the real components whose grace period is a second."""
    real_site.environment["HOSTK8S_AGENT_PRUNE_GRACE_SECONDS"] = "1"
    return real_site


def claim(site: Any, volume: str, stack: str, name: str = "claim") -> str:
    """The manifest of a claim of this test's own that asks for the volume."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"{site.prefix}-{name}", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": f"{site.prefix}-{stack}",
                "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )


def phase(cluster: Any, volume: str) -> str:
    """The volume's phase, empty when it does not exist."""
    found = cluster.get("pv", volume).get("status", {}).get("phase", "")
    return str(found)


def is_settled(cluster: Any, volume: str) -> bool:
    """Whether both controllers have written what they write of a new volume: its phase, and its finalizer."""
    found = cluster.get("pv", volume)
    return found["status"].get("phase") == "Available" and bool(found["metadata"].get("finalizers"))


def test_a_changed_path_replaces_the_volume_and_keeps_the_data(
    pruning_site: Any, cluster: Any, docker_engine: Any, wait_until: Wait
) -> None:
    """Kubernetes lets nobody change a path: the agent makes the volume anew while no claim holds it."""
    site, stack = pruning_site, "app"
    volume = persistent_volume_name(stack := f"{site.prefix}-{stack}", "one")
    site.save(stack)
    site.start()
    site.wait_for(stack, "Ready")
    wait_until(lambda: phase(cluster, volume) == "Available", "the volume is Available")
    kept = docker_engine.mountpoint(f"hostk8s-{site.prefix}") / site.prefix / stack / "one/data"
    kept.write_text("precious", encoding="utf-8")
    site.save(stack, path=f"/mnt/pv/{site.prefix}/moved")
    wait_until(
        lambda: cluster.get("pv", volume).get("spec", {}).get("hostPath", {}).get("path", "").endswith("/moved"),
        "the volume leads to the new path",
    )
    site.wait_for(stack, "Ready")
    assert kept.read_text(encoding="utf-8") == "precious"
    assert "drift" not in {event["type"] for event in json.loads(site.run("events", "-o", "json").stdout)["events"]}


def test_a_storage_class_of_the_script_with_another_binding_mode_is_replaced(pruning_site: Any, cluster: Any) -> None:
    """HostK8s' own objects are adopted; one of a foreign provisioner stays, and is told with its maker."""
    site = pruning_site
    ours, theirs = f"{site.prefix}-ours", f"{site.prefix}-theirs"
    for name, provisioner in ((ours, "kubernetes.io/no-provisioner"), (theirs, "example.com/other")):
        manifest = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"{site.prefix}-{name}"},
            "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    site.save(ours)
    site.save(theirs)
    site.start()
    site.wait_for(ours, "Ready")
    stack = site.wait_for(theirs, "Blocked")
    assert cluster.get("sc", f"{site.prefix}-{ours}")["volumeBindingMode"] == "Immediate"
    foreign = cluster.get("sc", f"{site.prefix}-{theirs}")
    assert (foreign["provisioner"], foreign["volumeBindingMode"]) == ("example.com/other", "WaitForFirstConsumer")
    assert "kubectl-client-side-apply" in stack["problems"][0]["message"]


def test_a_volume_in_use_waits_for_its_claim_and_then_goes(
    pruning_site: Any, cluster: Any, docker_engine: Any, wait_until: Wait
) -> None:
    """A stack that is removed while a claim holds its volume is Removing; its data outlives both."""
    site = pruning_site
    stack = f"{site.prefix}-app"
    volume = persistent_volume_name(stack, "one")
    file = site.save(stack)
    site.start()
    site.wait_for(stack, "Ready")
    cluster.kubectl("apply", "-f", "-", stdin=claim(site, volume, stack))
    wait_until(lambda: phase(cluster, volume) == "Bound", "the claim is bound")
    kept = docker_engine.mountpoint(f"hostk8s-{site.prefix}") / site.prefix / stack / "one/data"
    kept.write_text("precious", encoding="utf-8")
    shutil.rmtree(file.parent)
    status = site.wait_for_codes(stack, "ContractGone", "VolumeInUse", "ObjectInUse")
    assert status["state"] == "Removing"
    assert [one["state"] for one in status["volumes"]] == ["Removing"]
    shown = site.run("prune")
    assert (shown.returncode, "held: VolumeInUse" in shown.stdout) == (1, True), shown.stdout
    cluster.kubectl("delete", "pvc", f"{site.prefix}-claim")
    wait_until(lambda: site.stack(stack)["state"] == "Unknown", "nothing is left of the stack")
    assert (cluster.get("pv", volume), cluster.get("sc", f"{site.prefix}-{stack}")) == ({}, {})
    assert kept.read_text(encoding="utf-8") == "precious"
    assert site.run("prune").stdout.startswith("Nothing to prune")


def test_a_directory_that_a_claim_uses_is_no_other_stacks(
    pruning_site: Any, cluster: Any, docker_engine: Any, wait_until: Wait
) -> None:
    """A stack's folder is renamed while its volume is bound: nobody gets a second volume there, or another owner."""
    site = pruning_site
    old, new = f"{site.prefix}-old", f"{site.prefix}-new"
    volume, path = persistent_volume_name(old, "one"), f"/mnt/pv/{site.prefix}/data"
    file = site.save(old, path=path, owner="11:11")
    site.start()
    site.wait_for(old, "Ready")
    cluster.kubectl("apply", "-f", "-", stdin=claim(site, volume, old))
    wait_until(lambda: phase(cluster, volume) == "Bound", "the claim is bound")
    folder = docker_engine.mountpoint(f"hostk8s-{site.prefix}") / site.prefix / "data"
    shutil.rmtree(file.parent)
    site.save(new, path=path, owner="12:12")
    site.wait_for(old, "Removing")
    assert site.wait_for_codes(new, "DirectoryInUse")["state"] == "Blocked"
    assert site.run("reconcile", "--wait").returncode == 1
    assert (folder.stat().st_uid, cluster.get("pv", persistent_volume_name(new, "one"))) == (11, {})
    cluster.kubectl("delete", "pvc", f"{site.prefix}-claim")
    site.wait_for(new, "Ready")
    assert folder.stat().st_uid == 12
    wait_until(lambda: site.stack(old)["state"] == "Unknown", "nothing is left of the old stack")


def test_an_annotation_keeps_an_object(pruning_site: Any, cluster: Any, wait_until: Wait) -> None:
    """Whoever wrote it is asked first, and told how to take it back. A finalizer that is stuck is waited for calmly."""
    site = pruning_site
    stack = f"{site.prefix}-app"
    volume = persistent_volume_name(stack, "one")
    file = site.save(stack)
    site.start()
    site.wait_for(stack, "Ready")
    cluster.kubectl("annotate", "pv", volume, "hostk8s.io/prune=disabled")
    shutil.rmtree(file.parent)
    site.wait_for_codes(stack, "ContractGone", "PruneDisabled", "ObjectInUse")
    finalizers = '{"metadata":{"finalizers":["example.com/stuck"]}}'
    cluster.kubectl("patch", "pv", volume, "--type=merge", "-p", finalizers)
    cluster.kubectl("annotate", "pv", volume, "hostk8s.io/prune-")
    site.wait_for_codes(stack, "ContractGone", "ObjectTerminating")
    assert site.run("reconcile", stack, "--wait").returncode == 1
    cluster.kubectl("patch", "pv", volume, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    wait_until(lambda: site.stack(stack)["state"] == "Unknown", "nothing is left of the stack")
    events = json.loads(site.run("events", "--stack", stack, "-o", "json").stdout)["events"]
    pruned = sorted(event["message"].partition(" ")[0] for event in events if event["type"] == "pruned")
    assert pruned == [f"PersistentVolume/{volume}", f"StorageClass/{site.prefix}-{stack}"], "each is deleted once"


def test_a_claim_that_is_made_again_gets_its_volume_back(pruning_site: Any, cluster: Any, wait_until: Wait) -> None:
    """And another claim only when a person says so."""
    site = pruning_site
    stack = f"{site.prefix}-app"
    volume = persistent_volume_name(stack, "one")
    site.save(stack)
    site.start()
    site.wait_for(stack, "Ready")
    for _ in range(2):
        cluster.kubectl("apply", "-f", "-", stdin=claim(site, volume, stack))
        wait_until(lambda: phase(cluster, volume) == "Bound", "the claim is bound")
        cluster.kubectl("delete", "pvc", f"{site.prefix}-claim")
        wait_until(lambda: phase(cluster, volume) == "Available", "the volume can be bound again")
    reference = cluster.get("pv", volume)["spec"]["claimRef"]
    assert (reference["name"], "uid" in reference) == (f"{site.prefix}-claim", False)
    released = site.run("release", volume, "--for", f"default/{site.prefix}-other")
    assert released.returncode == 0, released.stderr
    cluster.kubectl("apply", "-f", "-", stdin=claim(site, volume, stack, "other"))
    wait_until(lambda: phase(cluster, volume) == "Bound", "the other claim is bound")
    refused = site.run("release", volume, "--for", f"default/{site.prefix}-claim")
    assert (refused.returncode, f"is held by the claim default/{site.prefix}-other" in refused.stderr) == (2, True)
    cluster.kubectl("delete", "pvc", f"{site.prefix}-other")


def git(site: Any, *arguments: str) -> None:
    """Run git in the workspace."""
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=site.root, env=site.environment, check=True, capture_output=True)


def test_what_git_and_slips_of_the_hand_take_away_is_not_pruned(real_site: Any, cluster: Any, wait_until: Wait) -> None:
    """Rows W3 and W4: a branch checked out and back, the stacks folder removed, renamed, replaced: 0 wrong removals."""
    site = real_site
    site.environment["HOSTK8S_AGENT_PRUNE_GRACE_SECONDS"] = "3"
    stacks = [f"{site.prefix}-{name}" for name in ("a", "b", "c")]
    for stack in stacks:
        site.save(stack)
    git(site, "init", "-q", "-b", "main")
    git(site, "add", "software")
    git(site, "commit", "-q", "-m", "all")
    git(site, "checkout", "-q", "-b", "empty")
    git(site, "rm", "-q", "-r", "software/stacks")
    git(site, "commit", "-q", "-m", "none")
    git(site, "checkout", "-q", "main")
    site.start()
    for stack in stacks:
        site.wait_for(stack, "Ready")
    volumes = [persistent_volume_name(stack, "one") for stack in stacks]
    wait_until(lambda: all(is_settled(cluster, one) for one in volumes), "nothing changes by itself any more")
    before = [cluster.get("pv", one)["metadata"]["resourceVersion"] for one in volumes]

    git(site, "checkout", "-q", "empty")
    git(site, "checkout", "-q", "main")
    (site.root / ".git/index.lock").touch()
    shutil.rmtree(site.stacks / stacks[0])
    wait_until(lambda: "PruneWaitsForGit" in [one["code"] for one in site.status()["problems"]], "git holds it")
    (site.root / ".git/index.lock").unlink()
    git(site, "checkout", "-q", "--", "software")
    aside = site.root / "elsewhere"
    site.stacks.rename(aside)
    site.stacks.mkdir()
    wait_until(lambda: "StacksFolderReplacedEmpty" in [one["code"] for one in site.status()["problems"]], "it is told")
    site.stacks.rmdir()
    wait_until(lambda: "StacksFolderMissing" in [one["code"] for one in site.status()["problems"]], "that too")
    aside.rename(site.stacks)
    wait_until(lambda: site.status()["problems"] == [], "its return is seen")
    # The first one's contract was away when the folder went: it is read again a moment after the folder is back.
    for stack in stacks:
        site.wait_for(stack, "Ready")
    assert [cluster.get("pv", one)["metadata"]["resourceVersion"] for one in volumes] == before

    for stack in stacks:
        shutil.rmtree(site.stacks / stack)
    wait_until(lambda: "PruneBrake" in [one["code"] for one in site.status()["problems"]], "the brake holds")
    shown = site.run("prune")
    assert shown.returncode == 1
    assert shown.stdout.count("held: PruneBrake") == 6, shown.stdout
    assert site.run("prune", "--confirm").returncode == 0
    wait_until(lambda: site.status()["stacks"] == [], "all is pruned")
    assert [cluster.get("pv", one) for one in volumes] == [{}, {}, {}]


def test_what_was_removed_while_the_agent_was_away_is_pruned_when_it_is_back(
    pruning_site: Any, cluster: Any, wait_until: Wait
) -> None:
    """The inventory is on disk: a crash, and a contract that vanishes before the next start, leave nothing behind."""
    site = pruning_site
    stack = f"{site.prefix}-app"
    file = site.save(stack)
    site.start()
    site.wait_for(stack, "Ready")
    [database] = Path(site.environment["XDG_STATE_HOME"]).rglob("state.db")
    wait_until(lambda: f"hostk8s-{stack}-one-pv".encode() in database.read_bytes(), "the inventory is on disk")
    site.kill()
    shutil.rmtree(file.parent)
    site.start()
    # Before its first scan an agent shows no stack at all, so the cluster is asked first.
    wait_until(lambda: cluster.get("pv", persistent_volume_name(stack, "one")) == {}, "the volume is pruned")
    wait_until(lambda: site.stack(stack)["state"] == "Unknown", "nothing is left of the stack")

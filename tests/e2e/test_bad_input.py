"""Bad input gets a clear error, loses nothing, and holds nobody else up. On the real components."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

PATH_UNDER_TEST = "/mnt/pv/{prefix}/shared"


def directory_of(site: Any, docker_engine: Any, stack: str) -> Path:
    """Where the stack's directory is on this machine."""
    mountpoint = docker_engine.mountpoint(site.environment["HOSTK8S_AGENT_VOLUME_NAME"])
    return Path(mountpoint, site.prefix, stack, "one")


def require_neighbour(site: Any, name: str) -> None:
    """Save another stack and wait until it is Ready: the bad one holds nobody up."""
    neighbour = f"{site.prefix}-{name}"
    site.save(neighbour)
    site.wait_for(neighbour, "Ready")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "FileEmpty"),
        ("apiVersion: hostk8s.io/v1\nkind: StorageContract\nmetadata:\n  na", None),
        ("spec: [1, 2\n", "YamlSyntax"),
        ("a: &a [1]\nb: *a\n", None),
        ("\0\1\2\3", None),
        ("[" * 100_000, "YamlTooDeep"),
    ],
)
def test_a_bad_file_leaves_the_good_version_in_force(
    real_site: Any, docker_engine: Any, text: str, code: str | None
) -> None:
    """Each problem has its place and a hint, and what was in force is kept up."""
    real_site.start()
    stack = f"{real_site.prefix}-bad"
    real_site.save(stack)
    real_site.wait_for(stack, "Ready")
    real_site.save(stack, text=text)
    invalid = real_site.wait_for(stack, "Invalid")
    assert all(one["file"] and one["line"] and one["column"] and one["hint"] for one in invalid["problems"])
    assert code is None or code in [one["code"] for one in invalid["problems"]]
    directory = directory_of(real_site, docker_engine, stack)
    directory.rmdir()
    real_site.run("reconcile", stack, "--wait")
    assert directory.is_dir()
    require_neighbour(real_site, "well")
    real_site.save(stack, permissions="0700")
    real_site.wait_for(stack, "Ready")


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "dangling", "endless", "huge"])
def test_what_is_no_file_is_refused_without_reading_it(real_site: Any, kind: str) -> None:
    """A FIFO does not block, a device is not read, a link to /dev/zero has no end, 100 MB are not loaded."""
    real_site.start()
    stack = f"{real_site.prefix}-odd"
    file = real_site.stacks / stack / "hostk8s.storage.yaml"
    file.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        os.mknod(file, 0o20666, os.makedev(1, 5))
    elif kind == "folder":
        file.mkdir()
    elif kind == "dangling":
        file.symlink_to("nowhere")
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as large:
            large.truncate(100 * 1024 * 1024)
    invalid = real_site.wait_for(stack, "Invalid")
    assert invalid["problems"][0]["hint"]
    require_neighbour(real_site, "well")


@pytest.mark.parametrize(
    "path",
    [
        "/mnt/pv/../etc",
        "/mnt/pv/a/../../../etc",
        "/etc",
        "/mnt/pv",
        "/mnt/pv/",
        "/mnt/pvx/a",
        "/mnt/pv/x; rm -rf /",
        "/mnt/pv/$(touch /tmp/owned)",
        "/mnt/pv/`id`",
        "mnt/pv/a",
    ],
)
def test_a_path_outside_the_volume_is_refused(real_site: Any, docker_engine: Any, path: str) -> None:
    """No contract text reaches a shell, and no path leaves the volume."""
    stack = f"{real_site.prefix}-out"
    real_site.save(stack, path=json.dumps(path))
    assert real_site.run("run", "--once").returncode == 1
    assert real_site.stack(stack)["problems"][0]["line"] == 8
    mountpoint = docker_engine.mountpoint(real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"])
    # The agent's own folder says which workspace holds what.
    assert {one.name for one in mountpoint.iterdir()} <= {".hostk8s-agent"}
    assert not Path("/tmp/owned").exists()


@pytest.mark.parametrize("access", ["direct", "helper-container"])
@pytest.mark.parametrize("place", ["at the path", "above the path"])
def test_a_symlink_in_the_volume_is_neither_followed_nor_removed(
    real_site: Any, docker_engine: Any, cluster: Any, access: str, place: str
) -> None:
    """Blocked in words, no volume leads to it, and neither the link nor what it points to is touched."""
    real_site.environment["HOSTK8S_AGENT_VOLUME_ACCESS"] = access
    real_site.start()
    real_site.wait_until_connected()
    stack = f"{real_site.prefix}-link"
    volume = real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"]
    directory = directory_of(real_site, docker_engine, stack)
    outside = real_site.root / "outside"
    outside.mkdir(mode=0o711)
    link = directory if place == "at the path" else directory.parent
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    real_site.save(stack)
    blocked = real_site.wait_for(stack, "Blocked")
    assert [one["code"] for one in blocked["problems"]] == ["DirectoryObstructed"]
    assert "symbolic link" in blocked["message"]
    assert link.is_symlink()
    assert (oct(outside.stat().st_mode), list(outside.iterdir())) == ("0o40711", [])
    assert cluster.get("pv", f"hostk8s-{stack}-one-pv") == {}
    link.unlink()
    assert real_site.run("reconcile", stack, "--wait").returncode in {0, 1}
    real_site.wait_for(stack, "Ready")
    assert docker_engine.mountpoint(volume)


@pytest.mark.parametrize("nested", ["", "/inner"])
def test_two_stacks_that_claim_one_path_are_both_told(
    real_site: Any, docker_engine: Any, cluster: Any, nested: str
) -> None:
    """The first by name has it, also when both are there at the start; the other is Blocked; no volume of its own."""
    path = PATH_UNDER_TEST.format(prefix=real_site.prefix)
    first, second = f"{real_site.prefix}-a", f"{real_site.prefix}-b"
    real_site.save(first, path=path, owner="70:70")
    real_site.save(second, path=path + nested, owner="999:999", size="5Gi")
    real_site.start()
    real_site.wait_for(first, "Ready")
    blocked = real_site.wait_for(second, "Blocked")
    [told] = real_site.stack(first)["problems"]
    [held] = blocked["problems"]
    assert (told["code"], held["code"]) == ("PathConflict", "PathConflict")
    assert second in told["message"]
    assert first in held["message"]
    assert (held["line"], told["line"]) == (8, 8)
    mountpoint = docker_engine.mountpoint(real_site.environment["HOSTK8S_AGENT_VOLUME_NAME"])
    assert (mountpoint / real_site.prefix / "shared").stat().st_uid == 70
    assert cluster.get("pv", f"hostk8s-{second}-one-pv") == {}


def test_who_has_the_path_keeps_it_through_a_restart(real_site: Any) -> None:
    """A newcomer whose name sorts first takes nothing from the holder."""
    path = PATH_UNDER_TEST.format(prefix=real_site.prefix)
    holder, newcomer = f"{real_site.prefix}-z", f"{real_site.prefix}-a"
    real_site.save(holder, path=path)
    real_site.start()
    real_site.wait_for(holder, "Ready")
    assert real_site.stop() == 0
    real_site.save(newcomer, path=path)
    real_site.start()
    real_site.wait_for(newcomer, "Blocked")
    real_site.wait_for(holder, "Ready")


def test_names_that_fold_into_one_volume_name_are_a_conflict(real_site: Any, cluster: Any) -> None:
    """`x-a` + `b` and `x` + `a-b` would fight for one object without end."""
    first, second = f"{real_site.prefix}", f"{real_site.prefix}-a"
    real_site.save(first, directory="a-b")
    real_site.save(second, directory="b")
    real_site.start()
    real_site.wait_for(first, "Ready")
    blocked = real_site.wait_for(second, "Blocked")
    assert [one["code"] for one in blocked["problems"]] == ["PersistentVolumeNameConflict"]
    assert cluster.get("pv", f"hostk8s-{first}-a-b-pv")["spec"]["hostPath"]["path"].endswith("/a-b")


def test_a_foreign_volume_of_the_same_name_is_left_alone(real_site: Any, cluster: Any) -> None:
    """Blocked, with its maker's name, and byte for byte as it was."""
    stack = f"{real_site.prefix}-foreign"
    name = f"hostk8s-{stack}-one-pv"
    foreign = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "9Gi"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": f"{real_site.prefix}-other",
            "hostPath": {"path": "/srv/elsewhere"},
        },
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(foreign))
    before = cluster.get("pv", name)
    real_site.start()
    real_site.save(stack)
    blocked = real_site.wait_for(stack, "Blocked")
    [problem] = blocked["problems"]
    assert problem["code"] == "ObjectForeign"
    assert "kubectl-create" in problem["message"]
    after = cluster.get("pv", name)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert "labels" not in after["metadata"]


def test_no_permission_is_said_in_words(real_site: Any, limited_kubeconfig: Path, docker_engine: Any) -> None:
    """A 403 is named, with what would mend it, and the directories are made all the same."""
    real_site.environment["KUBECONFIG"] = str(limited_kubeconfig)
    real_site.start()
    stack = f"{real_site.prefix}-limited"
    real_site.save(stack)
    real_site._wait_until(lambda: real_site.status()["cluster"]["state"] == "Refused", "refused")
    real_site._wait_until(lambda: "ClusterForbidden" in real_site.codes(stack), "the problem is told")
    assert real_site.run("status").returncode == 1
    assert directory_of(real_site, docker_engine, stack).is_dir()


@pytest.mark.parametrize("cut", [0, 40, 200])
def test_a_kubeconfig_that_is_cut_short_is_named_and_recovered_from(real_site: Any, cluster: Any, cut: int) -> None:
    """The tool that writes it may be in the middle of it."""
    whole = cluster.kubeconfig.read_text(encoding="utf-8")
    file = real_site.root / "kubeconfig"
    file.write_text(whole[:cut], encoding="utf-8")
    real_site.environment["KUBECONFIG"] = str(file)
    real_site.start()
    stack = f"{real_site.prefix}-cut"
    real_site.save(stack)
    real_site._wait_until(
        lambda: real_site.codes(stack) and all(code.startswith("Kubeconfig") for code in real_site.codes(stack)),
        "the kubeconfig is named",
    )
    assert real_site.stack(stack)["state"] == "Pending"
    file.write_text(whole, encoding="utf-8")
    real_site.wait_for(stack, "Ready")


def test_docker_that_is_not_there_is_waited_for(real_site: Any, docker_engine: Any, cluster: Any) -> None:
    """The stack is Pending with the reason, no volume is made before its directory, and Docker's start is enough."""
    late = real_site.root / "docker.sock"
    real_site.environment["DOCKER_HOST"] = f"unix://{late}"
    real_site.start()
    stack = f"{real_site.prefix}-nodocker"
    real_site.save(stack)
    real_site.wait_for(stack, "Pending")
    real_site.wait_for_codes(stack, "EngineUnreachable")
    assert cluster.get("pv", f"hostk8s-{stack}-one-pv") == {}
    late.symlink_to(docker_engine.host.removeprefix("unix://"))
    real_site.wait_for(stack, "Ready")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("storageClass:", "storageclass:", "ContractFieldUnknown"),
        ("size: 1Gi", "size: -1Gi", "SizeOutOfRange"),
        ("owner: 26:26", "owner: postgres", "OwnerInvalid"),
        ("name: {stack}", "name: other", "NameMismatch"),
    ],
)
def test_a_slip_is_told_with_its_line_by_status_and_validate_alike(
    real_site: Any, old: str, new: str, code: str
) -> None:
    """The same words wherever a person looks."""
    real_site.start()
    stack = f"{real_site.prefix}-slip"
    text = real_site.render(stack)
    old = old.format(stack=stack)
    file = real_site.save(stack, text=text.replace(old, new))
    line = text[: text.index(old)].count("\n") + 1
    invalid = real_site.wait_for(stack, "Invalid")
    [problem] = [one for one in invalid["problems"] if one["code"] == code]
    assert problem["line"] == line
    validated = real_site.run("validate", str(file), "-o", "json")
    assert validated.returncode == 1
    assert code in {one["code"] for one in json.loads(validated.stdout)}

"""The doctor: what is well, what is not, and what mends it; on a bare machine, with Docker, with a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostk8s_agent.doctor.examining import examine
from hostk8s_agent.doctor.findings import Finding
from hostk8s_agent.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of one contract."""
    folder = tmp_path / "software/stacks/one"
    folder.mkdir(parents=True)
    (folder / "hostk8s.storage.yaml").write_text("kind: StorageContract\n", encoding="utf-8")
    return Workspace(tmp_path)


def find(workspace: Workspace) -> dict[str, Finding]:
    """All findings by check; no check has two."""
    findings = list(examine(workspace))
    by_check = {one.check: one for one in findings}
    assert len(by_check) == len(findings)
    assert all(bool(one.command) == (one.verdict != "ok") for one in findings), "what is not well has what mends it"
    return by_check


def test_a_bare_machine_is_told_what_it_lacks(workspace: Workspace) -> None:
    """Nothing runs, nothing is broken: no agent is the one failure, and a cluster's stand-in is a warning."""
    found = find(workspace)
    assert found["agent"].verdict == "failure"
    assert found["kubeconfig"] == Finding(
        "kubeconfig", "warning", "no cluster: data/manifests/ stands in for it", "make start"
    )
    well = ("settings", "version", "lock", "socket", "stacks folder", "inotify")
    assert {found[check].verdict for check in well} == {"ok"}


def test_what_is_wrong_with_files_is_found(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Settings that are no settings, a socket folder that others may use, a stacks folder that is gone."""
    (workspace.root / "hostk8s-agent.toml").write_text("workers = 0\n", encoding="utf-8")
    others = tmp_path / "run/hostk8s-agent"
    others.mkdir(parents=True)
    others.chmod(0o777)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    workspace.stacks_root.rename(tmp_path / "elsewhere")
    found = find(workspace)
    broken = ("settings", "socket", "stacks folder", "Docker engine", "kubeconfig")
    assert {found[check].verdict for check in broken} == {"failure"}
    assert found["socket"].command == f"chmod 700 {others}"
    assert "workers" in found["settings"].message


@pytest.mark.engine
def test_the_engine_is_looked_at(workspace: Workspace, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one: it answers, its clock is right, and a volume of another name is not there."""
    monkeypatch.setenv("DOCKER_HOST", engine)
    monkeypatch.setenv("HOSTK8S_AGENT_VOLUME_NAME", "hostk8s-doctor-none")
    monkeypatch.setenv("HOSTK8S_AGENT_CLUSTER_NAME", "hostk8s-doctor-none")
    found = find(workspace)
    assert {found[check].verdict for check in ("Docker endpoint", "Docker engine", "engine in use", "clock")} == {"ok"}
    assert {found[check].verdict for check in ("volume", "node")} == {"warning"}


@pytest.mark.cluster
def test_each_permission_is_asked_for(
    workspace: Workspace, kubeconfig: Path, limited_kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server itself says what a user may; what is missing is named, verb by verb."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    found = find(workspace)
    assert {found[check].verdict for check in ("kubeconfig", "API server", "API version", "permissions")} == {"ok"}
    monkeypatch.setenv("KUBECONFIG", str(limited_kubeconfig))
    denied = find(workspace)["permissions"]
    assert denied.verdict == "failure"
    assert "patch persistentvolumes" in denied.message
    assert "watch persistentvolumeclaims" in denied.message

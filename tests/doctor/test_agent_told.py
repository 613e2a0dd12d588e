"""What the doctor says of what a running agent tells, and of an engine and a cluster that are not the agent's."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.doctor.agent_checks import check_agent
from hostk8s_agent.doctor.circumstances import Circumstances
from hostk8s_agent.doctor.cluster_checks import check_cluster, check_mount
from hostk8s_agent.doctor.docker_checks import check_docker
from hostk8s_agent.doctor.machine_checks import check_machine
from hostk8s_agent.errors import Problem
from hostk8s_agent.settings import Settings
from hostk8s_agent.status.model import render_agent_status
from hostk8s_agent.workspace import Workspace

_spec = spec_from_file_location("control_fixtures", Path(__file__).parents[1] / "control/conftest.py")
assert _spec is not None
assert _spec.loader is not None
_fixtures = module_from_spec(_spec)
sys.modules[_spec.name] = _fixtures
_spec.loader.exec_module(_fixtures)
place, workspace, agent = _fixtures.place, _fixtures.workspace, _fixtures.agent


@pytest.fixture
def told(agent: Any, workspace: Workspace) -> Circumstances:
    """What a well agent tells of one stack that is Ready."""
    agent.board.remove_stack("sample", "gone")
    return Circumstances(workspace, Settings(), None, render_agent_status(agent.status()), None)


def judge(told: Circumstances, check: str, **parts: Any) -> tuple[str, str]:
    """The verdict of a check, and its words, when the agent tells these parts of the status."""
    assert told.status is not None
    for part, fields in parts.items():
        told.status[part] = {**told.status[part], **fields} if isinstance(fields, dict) else fields
    findings = [*check_agent(told), *check_machine(told), *check_mount(told)]
    (found,) = (one for one in findings if one.check == check)
    return found.verdict, found.message


def render(code: str) -> dict[str, Any]:
    """A problem as the status has it."""
    return {"code": code, "message": "told", "hint": "do", "file": None, "line": None, "column": None}


CHANNEL = {"channel": "webhook", "target": "host", "state": "Delivered", "message": ""}


@pytest.mark.parametrize(
    ("check", "parts", "verdict"),
    [
        ("agent", {}, "ok"),
        ("agent", {"stacks": [{"state": "Blocked", "problems": []}]}, "warning"),
        ("version", {}, "ok"),
        ("version", {"agent": {"version": "0.0.1"}}, "warning"),
        ("settings", {"problems": [render("SettingsInvalid")]}, "failure"),
        ("notifications", {"notifications": []}, "warning"),
        ("notifications", {"notifications": [CHANNEL]}, "ok"),
        ("notifications", {"notifications": [{**CHANNEL, "state": "Failing"}]}, "warning"),
        ("watcher", {}, "ok"),
        ("watcher", {"watch": {"backend": "polling"}}, "warning"),
        ("mount probe", {"cluster": {"mount": "the node has it"}}, "ok"),
        ("mount probe", {"cluster": {"mount": "one has it"}, "problems": [render("NodeMountPartial")]}, "warning"),
        ("mount probe", {"cluster": {"mount": "none has it"}, "problems": [render("NodeMountMissing")]}, "failure"),
    ],
)
def test_what_the_agent_tells_is_judged(told: Circumstances, check: str, parts: dict[str, Any], verdict: str) -> None:
    """Each check that goes by the agent's own words."""
    assert judge(told, check, **parts)[0] == verdict


def test_an_agent_that_holds_the_workspace_and_does_not_answer_is_found(workspace: Workspace) -> None:
    """A second one could not start: its lock is there, its socket is not."""
    silent = Circumstances(workspace, Settings(), None, None, Problem("AgentNotRunning", "none", "start it"))
    with WorkspaceLock(workspace):
        assert judge_alone(silent, "lock") == "failure"
    assert judge_alone(silent, "lock") == "ok"
    assert judge_alone(silent, "notifications") == "ok"


def test_without_a_service_manager_the_agent_is_started_by_hand(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A container has none: a command that cannot work mends nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    silent = Circumstances(workspace, Settings(), None, None, Problem("AgentNotRunning", "none", "start it"))
    commands = {one.check: one.command for one in (*check_agent(silent), *check_machine(silent))}
    assert (commands["agent"], commands["watcher"]) == ("hostk8s-agent run", "hostk8s-agent run")


def test_a_state_folder_that_cannot_be_made_is_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent would not start."""
    monkeypatch.setattr("os.access", lambda _path, mode: not mode & 2)
    silent = Circumstances(workspace, Settings(), None, None, None)
    assert {one.check: one.verdict for one in check_machine(silent)}["disk of the agent's state"] == "failure"


def judge_alone(found: Circumstances, check: str) -> str:
    """The verdict of a check of the agent itself."""
    return next(one.verdict for one in check_agent(found) if one.check == check)


@pytest.mark.engine
def test_another_engine_than_the_agents_is_found(
    told: Circumstances, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context was changed under a running agent."""
    monkeypatch.setenv("DOCKER_HOST", engine)
    assert told.status is not None
    told.status["docker"]["engineId"] = "another"
    assert {one.check: one.verdict for one in check_docker(told)}["engine in use"] == "failure"


@pytest.mark.cluster
def test_another_cluster_than_the_agents_is_found(
    told: Circumstances, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that the agent is connected to, too, is its own."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert {one.check: one.verdict for one in check_cluster(told)}["API server"] == "failure"


def test_a_kubeconfig_that_the_agent_does_not_follow_is_not_called_good(
    told: Circumstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which context the workspace was connected before, the file does not say; the agent does."""
    file = tmp_path / "other"
    file.write_text(
        "current-context: other\ncontexts: [{name: other, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert told.status is not None
    told.status["problems"] = [render("KubeconfigContext")]
    assert [(one.check, one.verdict, one.message) for one in check_cluster(told)] == [("kubeconfig", "failure", "told")]

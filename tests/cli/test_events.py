"""`events`, as a process of its own against a real socket, and against what an agent left."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from hostk8s_agent.cli.events import SinceInvalidError, parse_since
from hostk8s_agent.status.board import Event
from hostk8s_agent.status.records import Records
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.control.server import ControlServer
    from hostk8s_agent.workspace import Workspace

NOW = 1_738_310_400.0  # 2025-01-31T08:00:00Z


def test_events_are_shown_the_newest_last(server: ControlServer, agent: Any, run: Callable[..., Any]) -> None:
    """A person reads from the end, where the prompt is."""
    assert server.place.exists()
    agent.board.record_event("drift", "its size was put back", "sample", subject="PersistentVolume/a")
    shown = run("events")
    assert (shown.code, shown.err) == (0, "")
    head, blocked, drift = shown.out.splitlines()
    assert head.split() == ["AT", "TYPE", "STACK", "SUBJECT", "MESSAGE"]
    assert "PathConflict" not in blocked
    assert blocked.split()[1:4] == ["blocked", "sample", "/mnt/pv/airflow/logs"]
    assert drift.split()[1:4] == ["drift", "sample", "PersistentVolume/a"]
    assert drift.endswith("its size was put back")


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_scripts_get_a_document(
    server: ControlServer, agent: Any, run: Callable[..., Any], output: str, load: Callable[[str], Any]
) -> None:
    """The keys are those of the events that are followed."""
    assert server.place.exists()
    agent.board.record_event("cluster.state", "Connected")
    document = load(run("events", "-o", output).out)
    assert document["apiVersion"] == "agent.hostk8s.io/v1"
    assert [(one["type"], one["stack"]) for one in document["events"]] == [("blocked", "sample"), ("cluster.state", "")]
    of_one = load(run("events", "--stack", "sample", "-o", output).out)
    assert [one["type"] for one in of_one["events"]] == ["blocked"]
    assert load(run("events", "--since", "2999-01-01", "-o", output).out)["events"] == []


def test_without_an_agent_what_the_last_one_left_is_shown(workspace: Workspace, run: Callable[..., Any]) -> None:
    """What happened does not depend on who runs now; that nobody does is said."""
    with closing(Records(state_folder(workspace))) as records:
        records.save_events([Event(7, "2025-01-31T08:00:00.000Z", "pruned", "old", "its contract is gone")])
    shown = run("events")
    assert (shown.code, shown.out.splitlines()[1].split()[:3]) == (0, ["2025-01-31T08:00:00.000Z", "pruned", "old"])
    assert "no agent is running" in shown.err
    assert run("events", "--since", "1h").out == "Nothing happened that is kept.\n"
    assert run("events", "--follow").code == 3


def test_what_happens_from_now_on_is_followed(
    server: ControlServer, agent: Any, workspace: Workspace, wait_until: Callable[..., None]
) -> None:
    """First what was, then what comes, one object a line, until the agent ends."""
    command = [sys.executable, "-m", "hostk8s_agent", "events", "--follow", "-o", "json"]
    with subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["type"] == "blocked"
        agent.board.record_event("drift", "put back", "sample")
        assert json.loads(follower.stdout.readline())["message"] == "put back"
        server.stop()
        assert follower.stdout.read() == ""
        assert follower.wait(20) == 3
    wait_until(lambda: not server.place.exists())


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("", ""),
        ("90s", "2025-01-31T07:58:30.000Z"),
        ("10m", "2025-01-31T07:50:00.000Z"),
        ("2h", "2025-01-31T06:00:00.000Z"),
        ("7d", "2025-01-24T08:00:00.000Z"),
        ("999999999d", "1970-01-01T00:00:00.000Z"),
        ("2025-01-31T08:00:00Z", "2025-01-31T08:00:00.000Z"),
        ("2025-01-31T08:00:00+01:00", "2025-01-31T07:00:00.000Z"),
    ],
)
def test_a_beginning_is_a_span_or_a_time(text: str, time: str) -> None:
    """As people say it, and as programs do."""
    assert parse_since(text, NOW) == time


@pytest.mark.parametrize("text", ["yesterday", "10", "m", "-5m", "1.5h", "2025-13-01", "9999-12-31T23:59:59-23:00"])
def test_a_beginning_that_is_none_is_told(text: str) -> None:
    """With what could have been meant."""
    with pytest.raises(SinceInvalidError, match="neither a span nor a time"):
        parse_since(text, NOW)

"""`status` without an agent: what the contracts say, and what was last known."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from hostk8s_agent.status.model import render_agent_status
from hostk8s_agent.status.records import Records, StackRecord
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.workspace import Workspace


def remember(workspace: Workspace, *stacks: dict[str, Any]) -> None:
    """Keep stacks as an agent would have kept them."""
    with closing(Records(state_folder(workspace))) as records:
        records.save_stacks([StackRecord(stack["name"], stack, b"") for stack in stacks], [])


def test_without_an_agent_the_contracts_and_the_last_known_state_are_shown(
    run: Callable[..., Any], workspace: Workspace, agent: Any, write_contract: Callable[..., Path]
) -> None:
    """Exit 3, as of when, how to start one, and nothing Ready: nobody looks."""
    write_contract("foundation/airflow", path="/mnt/pv/airflow/logs")
    write_contract("new")
    write_contract("bad", text="kind: x\n")
    ready, blocked = render_agent_status(agent.status())["stacks"]
    remember(workspace, ready, blocked)
    done = run("status", "-o", "json")
    assert done.code == 3
    assert f"no agent is running for {workspace.root}; start it with: hostk8s-agent run" in done.err
    assert "last known, at 2025-01-31T08:00:01.000Z" in done.err
    document = json.loads(done.out)
    assert document["agent"]["state"] == "NotRunning"
    assert [(stack["name"], stack["state"]) for stack in document["stacks"]] == [
        ("bad", "Invalid"),
        ("foundation/airflow", "Pending"),
        ("new", "Pending"),
        ("sample", "Removing"),
    ]
    airflow = document["stacks"][1]
    assert airflow["message"] == "was Ready at 2025-01-31T08:00:00.000Z; no agent is running"
    assert document["stacks"][2]["message"] == "never seen by an agent; no agent is running"
    assert {part["state"] for stack in document["stacks"] for part in stack["directories"]} == {"Pending"}
    assert document["stacks"][0]["problems"][0]["file"] == "software/stacks/bad/hostk8s.storage.yaml"
    # The same keys as with an agent, so that a script needs no second reader.
    live = render_agent_status(agent.status())
    assert set(document) == set(live)
    assert set(airflow) == set(live["stacks"][0])


def test_without_an_agent_a_conflict_is_decided_by_who_held_what(
    run: Callable[..., Any], workspace: Workspace, agent: Any, write_contract: Callable[..., Path]
) -> None:
    """The stack that had the path keeps it, as the agent would decide; only the other is Blocked."""
    write_contract("foundation/airflow", path="/mnt/pv/airflow/logs")
    write_contract("aaa", path="/mnt/pv/airflow/logs")
    remember(workspace, render_agent_status(agent.status())["stacks"][0])
    stacks = json.loads(run("status", "-o", "json").out)["stacks"]
    assert [(stack["name"], stack["state"], len(stack["problems"])) for stack in stacks] == [
        ("aaa", "Blocked", 1),
        ("foundation/airflow", "Pending", 1),
    ]
    assert stacks[1]["message"] == "was Ready at 2025-01-31T08:00:00.000Z; no agent is running"


def test_without_an_agent_a_damaged_state_is_no_obstacle(
    run: Callable[..., Any], workspace: Workspace, write_contract: Callable[..., Path]
) -> None:
    """What cannot be read is not known; the contracts still are."""
    write_contract("sample")
    state_folder(workspace).mkdir(parents=True)
    (state_folder(workspace) / "state.db").write_bytes(b"not a database" * 100)
    done = run("status")
    assert done.code == 3
    assert "never seen by an agent" in done.out


def test_without_an_agent_an_unknown_stack_is_an_error(
    run: Callable[..., Any], write_contract: Callable[..., Path]
) -> None:
    """The same answer as with an agent."""
    write_contract("sample")
    done = run("status", "sampl")
    assert done.code == 2
    assert "did you mean sample?" in done.err

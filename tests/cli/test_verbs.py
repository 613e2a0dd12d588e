"""The other verbs as processes of their own, and what all verbs have in common."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from hostk8s_agent.cli.exit_codes import ExitCode, find_exit_code
from hostk8s_agent.cli.quick import parse_quick_status
from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.errors import (
    AgentAlreadyRunningError,
    AgentError,
    AgentNotRunningError,
    ClusterError,
    ContractError,
    Problem,
    SettingsError,
    VolumeError,
    WorkspaceError,
)
from hostk8s_agent.plan.actions import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.control.server import ControlServer
    from hostk8s_agent.workspace import Workspace

VERBS = ("run", "status", "validate", "plan", "reconcile", "schema")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_begins_with_examples(run: Callable[..., Any], verb: str) -> None:
    """Who asks for help wants a line to copy."""
    done = run(verb, "--help")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()[:2]
    assert (first, second.split()[:2]) == ("Examples:", ["hostk8s-agent", verb])


def test_the_command_alone_shows_its_help(run: Callable[..., Any]) -> None:
    """On stdout and as a success: nothing went wrong."""
    done = run()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Examples:")
    assert all(f"\n  {verb} " in done.out for verb in VERBS)


def test_the_version_is_told(run: Callable[..., Any]) -> None:
    """One line that a script can cut."""
    done = run("--version")
    assert (done.code, done.out.split()[0], done.err) == (0, "hostk8s-agent", "")


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("status", "--help"), ("completion", "bash")])
def test_what_cannot_be_written_is_told_in_a_line(arguments: tuple[str, ...]) -> None:
    """The help and the version as well: a full disk is no traceback."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hostk8s_agent", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "hostk8s-agent: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("status", "--bogus"), ("status", "-o", "xml"), ("status", "a", "b")]
)
def test_a_mistake_on_the_command_line_is_two(run: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    """Told on stderr, and nothing on stdout."""
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "--help" in done.err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AgentAlreadyRunningError("x"), 75),
        (AgentNotRunningError("x"), 3),
        (ContractError((Problem("x", "x", "x"),)), 1),
        (WorkspaceError("x"), 2),
        (SettingsError("x"), 2),
        (VolumeError("x"), 2),
        (ClusterError("x"), 2),
        (AgentError("x"), 2),
    ],
)
def test_every_error_has_its_exit_code(error: AgentError, expected: int) -> None:
    """One map, for every verb."""
    assert find_exit_code(error) == expected


def as_typer_reads(arguments: list[str]) -> dict[str, Any]:
    """What typer makes of a command line, without doing it."""
    import typer.main  # noqa: PLC0415 - slow, and for one test

    from hostk8s_agent.cli.app import app  # noqa: PLC0415 - the same

    group: Any = typer.main.get_command(app)
    verb = group.commands[arguments[0]]
    read: dict[str, Any] = verb.make_context(arguments[0], list(arguments[1:])).params
    return read


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status a/b",
        "status -o json",
        "status --output yaml a/b",
        "status --output=table",
        "status --workspace /x a",
        "status a --workspace=/x -w",
        "status --watch -o json --workspace /x a/b",
    ],
)
def test_the_quick_reading_of_status_is_typers(words: str) -> None:
    """There are two readers of one command line, and they must never differ."""
    quick = parse_quick_status(words.split())
    assert quick is not None
    read = as_typer_reads(words.split())
    assert (read["stack"], read["output"], read["workspace"], read["watch"]) == (
        quick.stack,
        quick.output,
        quick.workspace,
        quick.is_watching,
    )


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--version",
        "plan",
        "status --help",
        "status -o",
        "status -o xml",
        "status -ojson",
        "status -o=json",
        "status --out json",
        "status a b",
        "status --",
        "status -- a",
        "status --workspace",
        "status --workspace= a",
        "status --watch=1",
        "status -wo json",
    ],
)
def test_what_is_not_plain_is_left_to_typer(words: str) -> None:
    """The quick reader guesses nothing."""
    assert parse_quick_status(words.split()) is None


# -- plan and reconcile --------------------------------------------------------------------------------------------


def test_a_plan_is_shown_with_its_reasons(run: Callable[..., Any], server: ControlServer) -> None:
    """What, why, each field that differs, what is held back and what to do about it."""
    assert server.place.exists()
    done = run("plan", "sample")
    assert done.code == 1
    assert done.out.splitlines() == [
        "sample: 3 to do, 1 held back",
        "  create /mnt/pv/sample: it does not exist",
        "  change /mnt/pv/old: its owner differs",
        "      owner: 0:0 → 1:2",
        "  apply PersistentVolume/hostk8s-sample-logs-pv: its size differs",
        "      spec.capacity.storage: 1Gi → 2Gi (held by kubectl)",
        "  held back: /mnt/pv/file: a file is there",
        "      hint: move it away",
    ]


def test_nothing_to_do_is_zero(run: Callable[..., Any], server: ControlServer) -> None:
    """And an error is two, so that a script can tell the three apart."""
    assert server.place.exists()
    assert run("plan", "foundation/airflow").code == 0
    assert run("plan", "nowhere").code == 2


def test_a_contract_that_is_not_valid_cannot_be_planned(
    run: Callable[..., Any], server: ControlServer, agent: Any
) -> None:
    """An error, with the contract's problems: "nothing to do" would be a lie."""
    assert server.place.exists()
    problem = Problem("KindUnknown", "the kind is X", "write StorageContract", "a/hostk8s.storage.yaml", 2, 7)
    agent.plans = (Plan("sample", invalid=(problem,)),)
    done = run("plan")
    assert (done.code, done.out.splitlines()) == (
        2,
        [
            "sample: its contract is not valid",
            "  a/hostk8s.storage.yaml:2:7: the kind is X; write StorageContract",
        ],
    )


def test_a_plan_as_json_is_the_agents_own(run: Callable[..., Any], server: ControlServer) -> None:
    """The same document as /v1/plan."""
    assert server.place.exists()
    (plan,) = json.loads(run("plan", "-o", "json").out)["plans"]
    assert [action["kind"] for action in plan["actions"]] == ["CreateDirectory", "ChangeDirectory", "ApplyObject"]


def test_reconcile_asks_and_does_not_wait(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """Without --wait it ends at once, whatever state the stacks are in."""
    assert server.place.exists()
    done = run("reconcile")
    assert (done.code, done.out) == (0, "")
    assert "asked for a reconcile of 2 stacks" in done.err
    assert agent.requests == [(None, None)]


def test_reconcile_waits_and_tells_what_came_of_it(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """The code is that of the stacks that were asked for."""
    assert server.place.exists()
    agent.gate.set()
    done = run("reconcile", "foundation/airflow", "--wait", "--timeout", "7")
    assert (done.code, done.out.split()) == (
        0,
        ["STACK", "STATE", "MESSAGE", "foundation/airflow", "Ready", "1", "directory,", "1", "volume,", "1", "bound"],
    )
    assert run("reconcile", "--wait", "-o", "json").code == 1
    assert agent.requests == [(("foundation/airflow",), 7.0), (None, 120.0)]


def test_reconcile_needs_an_agent(run: Callable[..., Any]) -> None:
    """Three, and how to start one."""
    done = run("reconcile")
    assert (done.code, done.out) == (3, "")
    assert "start it with: hostk8s-agent run" in done.err


# -- run and schema ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("run",), ("run", "--once")])
def test_a_second_agent_says_who_holds_the_workspace(
    run: Callable[..., Any], workspace: Workspace, arguments: tuple[str, ...]
) -> None:
    """Seventy-five, EX_TEMPFAIL: a service manager may try again later."""
    with WorkspaceLock(workspace):
        done = run(*arguments)
    assert (done.code, done.out) == (75, "")
    assert f"process {os.getpid()} of " in done.err


def test_a_wrong_setting_is_told(run: Callable[..., Any]) -> None:
    """By its name, without a traceback."""
    done = run("run", HOSTK8S_AGENT_WORKERS="many")
    assert (done.code, done.out) == (2, "")
    assert "workers" in done.err
    assert "Traceback" not in done.err


def test_a_traceback_is_for_those_who_ask(run: Callable[..., Any], place: Path) -> None:
    """Level debug shows where it came from."""
    done = run("status", cwd=place, HOSTK8S_AGENT_LOG_LEVEL="debug")
    assert done.code == 2
    assert "Traceback" in done.err


def test_the_schema_is_one_and_knows_a_good_contract(
    run: Callable[..., Any], write_contract: Callable[..., Path]
) -> None:
    """What editors are given accepts what the agent accepts."""
    schema = json.loads(run("schema").out)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    jsonschema.validate(yaml.safe_load(write_contract("sample").read_text(encoding="utf-8")), schema)
    assert yaml.safe_load(run("schema", "-o", "yaml").out) == schema


def test_ctrl_c_is_a_hundred_and_thirty(
    server: ControlServer, agent: Any, workspace: Workspace, wait_until: Callable[..., None]
) -> None:
    """Quietly, as every command ends that a person has stopped."""
    assert server.place.exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "hostk8s_agent", "reconcile", "--wait"], cwd=workspace.root, stderr=subprocess.PIPE
    )
    wait_until(lambda: agent.requests)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (ExitCode.INTERRUPTED, b"")

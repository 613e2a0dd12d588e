"""`status`, as a process of its own against a real socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import hostk8s_agent
from hostk8s_agent.cli.columns import render_age
from hostk8s_agent.cli.output import Screen
from hostk8s_agent.cli.readiness import UNSEEN_CODES
from hostk8s_agent.cli.status_page import render_stack_page, render_status_page
from hostk8s_agent.cli.status_past import render_past
from hostk8s_agent.errors import Problem
from hostk8s_agent.status.model import (
    DirectoryProtection,
    DriftStatus,
    LeftDirectory,
    SnapshotsStatus,
    render_agent_status,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.control.server import ControlServer
    from hostk8s_agent.workspace import Workspace

PACKAGE = Path(hostk8s_agent.__file__).parent
# Each takes longer to import than everything that `status` does.
HEAVY = (
    "pydantic",
    "kubernetes",
    "docker",
    "watchdog",
    "apscheduler",
    "starlette",
    "uvicorn",
    "structlog",
    "typer",
    "click",
    "rich",
    "yaml",
    "http.client",
    "asyncio",
    "sqlite3",
)

SHOW_MODULES = """
import atexit, sys
atexit.register(lambda: print(" ".join(sys.modules), file=sys.stderr))
sys.argv = ["hostk8s-agent", *sys.argv[1:]]
from hostk8s_agent.__main__ import main
main()
"""


@pytest.mark.parametrize("arguments", [("status",), ("status", "sample"), ("status", "-o", "json")])
def test_status_imports_nothing_heavy(server: ControlServer, workspace: Workspace, arguments: tuple[str, ...]) -> None:
    """The rule that keeps `status` fast, held where it counts: in the process."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *arguments],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert server.place.exists()
    assert done.returncode == 1, done.stderr
    assert set(HEAVY).intersection(done.stderr.split()) == set()


def test_the_table_shows_everything_on_one_screen_worst_first(
    run: Callable[..., Any], server: ControlServer, agent: Any, workspace: Workspace
) -> None:
    """Connections, a row for each stack with its counts, and what is wrong with a place and a hint."""
    assert server.place.exists()
    done = run("status")
    story = agent.board.stack("sample").message
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines() == [
        f"Agent       Running, version 0.1.0, process 4711, since 2025-01-31T07:59:00.000Z, {workspace.root}",
        "Docker      Connected, unix:///var/run/docker.sock, hostk8s-pv-data, helper-container",
        "Cluster     Connected, kind-hostk8s, https://127.0.0.1:6443",
        f"Watch       inotify, {workspace.root}/software/stacks, last scan 2025-01-31T08:00:00.000Z",
        "",
        "STACK               STATE    DIRECTORIES  VOLUMES  CLAIMS  CHANGED  PROTECTED  MESSAGE",
        f"sample              Blocked  0/1          0/1      0/1     -        -          {story}",
        "foundation/airflow  Ready    1/1          1/1      1/1     -        -          1 directory, 1 volume, 1 bound",
        "",
        "Problems",
        "  PathConflict  software/stacks/sample/hostk8s.storage.yaml:9:13",
        "    the path /mnt/pv/airflow/logs is foundation/airflow's",
        "    hint: choose another path",
    ]


def test_a_row_shows_when_it_was_changed_and_since_when_it_is_protected(agent: Any) -> None:
    """As ages, for a glance; as times where there is room for everything."""
    changed = replace(agent.board.stack("sample"), last_changed_at="2025-01-31T08:00:00.000Z")
    protected = DirectoryProtection(
        "sample", "logs", is_protected=True, snapshots=1, last_verified_at="2025-01-31T08:00:00.000Z"
    )
    document = render_agent_status(
        replace(agent.status(), stacks=(changed,), snapshots=SnapshotsStatus(directories=(protected,)))
    )
    row = render_status_page(document, Screen())[6].split()
    assert row[:5] == ["sample", "Blocked", "0/1", "0/1", "0/1"]
    assert [cell[-1] for cell in row[5:7]] == ["d", "d"]
    assert render_status_page(document, Screen(), is_wide=True)[6].count("2025-01-31T08:00:00.000Z") == 2
    assert [render_age("2025-01-31T08:00:00Z", 1738310400 + seconds) for seconds in (-5, 59, 60, 7200, 172800)] == [
        *("0s", "59s", "1m"),
        *("2h", "2d"),
    ]


@pytest.mark.parametrize(
    ("width", "headers"),
    [
        (120, "STACK STATE DIRECTORIES VOLUMES CLAIMS CHANGED PROTECTED MESSAGE"),
        (80, "STACK STATE DIRECTORIES VOLUMES PROTECTED MESSAGE"),
        (60, "STACK STATE PROTECTED MESSAGE"),
        (40, "STACK STATE PROTECTED"),
        (16, "STACK STATE"),
    ],
)
def test_a_narrow_terminal_does_without_what_matters_least(agent: Any, width: int, headers: str) -> None:
    """Name and state stay, and no row is wider than the terminal."""
    agent.board.update_stack(replace(agent.board.stack("sample"), message="a long story " * 20))
    lines = render_status_page(render_agent_status(agent.status()), Screen(width=width))
    table = lines[5:8]
    assert " ".join(table[0].split()) == headers
    assert max(map(len, table)) <= width
    assert [row.split()[0][:4] for row in table[1:]] == ["samp", "foun"]


def test_one_stack_fits_a_narrow_terminal_too(agent: Any) -> None:
    """Its tables do without columns; wide, and where it is no terminal, they have all of them."""
    document = render_agent_status(agent.status())
    document["stacks"] = [stack for stack in document["stacks"] if stack["name"] == "foundation/airflow"]
    narrow = render_stack_page(document, Screen(width=40))
    assert max(map(len, narrow)) <= 40
    assert [line.split() for line in narrow if line.startswith("VOLUME ")] == [["VOLUME", "STATE"]]
    assert any("STORAGECLASS" in line for line in render_stack_page(document, Screen()))


def test_a_problem_without_a_place_is_told_with_its_stack(agent: Any) -> None:
    """With a thousand stacks nobody knows else whose contract is gone; what is wrong with the cluster is of none."""
    gone, away = (
        Problem("ContractGone", "the contract is gone", "bring it back"),
        Problem("Away", "the server is away", ""),
    )
    for name in ("sample", "foundation/airflow"):
        stack = agent.board.stack(name)
        agent.board.update_stack(replace(stack, problems=(away, gone) if name == "sample" else (away,)))
    lines = render_status_page(render_agent_status(agent.status()), Screen())
    assert "  ContractGone  sample" in lines
    assert "  Away" in lines


def test_json_and_yaml_are_the_agents_own_document(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """What scripts read is what the model renders, in both spellings."""
    assert server.place.exists()
    expected = render_agent_status(agent.status())
    assert json.loads(run("status", "-o", "json").out) == expected
    assert yaml.safe_load(run("status", "--output=yaml").out) == expected


def test_one_stack_is_shown_whole_and_judged_alone(run: Callable[..., Any], server: ControlServer) -> None:
    """The exit code is that of the stack that was asked for, whatever the others do."""
    assert server.place.exists()
    done = run("status", "foundation/airflow")
    assert done.code == 0
    assert "logs       /mnt/pv/airflow/logs  50000:0  775          Ready" in done.out
    assert "hostk8s-foundation-airflow-logs-pv  Bound  airflow-storage  5Gi       airflow/airflow-logs" in done.out
    assert "sample" not in done.out
    assert "What the directories hold is not measured: only a helper container leads" in done.out


def test_all_ready_is_zero(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """Nothing wrong, nothing said."""
    assert server.place.exists()
    agent.board.remove_stack("sample", "gone")
    done = run("status")
    assert (done.code, done.err) == (0, "")
    assert "Problems" not in done.out


@pytest.mark.parametrize("phase", ["Starting", "Stopping"])
def test_an_agent_that_starts_has_not_seen_everything(
    run: Callable[..., Any], server: ControlServer, agent: Any, phase: str
) -> None:
    """Ready is never claimed for stacks that the agent has not looked for yet."""
    assert server.place.exists()
    agent.board.remove_stack("sample", "gone")
    agent.phase = phase
    assert run("status").code == 1


def test_stacks_that_nobody_can_see_are_not_ready(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """Without the stacks folder there is nothing that is not Ready, and nothing that is."""
    assert server.place.exists()
    agent.board.remove_stack("sample", "gone")
    agent.problems = (Problem("StacksFolderMissing", "the stacks folder does not exist", "create it"),)
    done = run("status")
    assert done.code == 1
    assert "hint: create it" in done.out


def test_an_unknown_stack_is_an_error_with_an_offer(run: Callable[..., Any], server: ControlServer) -> None:
    """Two lines: what is wrong, and what was probably meant."""
    assert server.place.exists()
    done = run("status", "sampl")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == "hostk8s-agent: there is no stack sampl"
    assert "did you mean sample?" in done.err


def test_the_workspace_is_found_upwards_or_named(
    run: Callable[..., Any], server: ControlServer, workspace: Workspace, place: Path
) -> None:
    """From any folder in it, and from anywhere with --workspace."""
    assert server.place.exists()
    assert run("status", "foundation/airflow", cwd=workspace.stacks_root).code == 0
    assert run("status", "foundation/airflow", "--workspace", str(workspace.root), cwd=place).code == 0
    outside = run("status", cwd=place)
    assert (outside.code, outside.out) == (2, "")
    assert "--workspace DIR" in outside.err


def test_text_cannot_paint_the_terminal(run: Callable[..., Any], server: ControlServer, agent: Any) -> None:
    """Messages quote files that anyone may write."""
    assert server.place.exists()
    message = "\x1b[2Jgone\u202e \udc80 \n next"
    agent.board.update_stack(replace(agent.board.stack("sample"), message=message))
    done = run("status")
    assert r"\x1b[2Jgone\x202e" in done.out
    assert "\x1b" not in done.out
    assert json.loads(run("status", "-o", "json").out)["stacks"][1]["message"] == message


def test_a_reader_that_goes_away_is_no_error(server: ControlServer, agent: Any, workspace: Workspace) -> None:
    """`status | head -1` ends quietly, however much there is to say."""
    assert server.place.exists()
    # More than any pipe holds (/proc/sys/fs/pipe-max-size).
    agent.board.update_stack(replace(agent.board.stack("sample"), message="a long story " * 200_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "hostk8s_agent", "status"],
        cwd=workspace.root,
        # Unbuffered, Python itself swallows what a pipe did not take, and the error with it.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_every_code_that_hides_stacks_is_one_that_the_watch_tells() -> None:
    """A code that is misspelt here would let `status` say 0 while stacks are not seen."""
    told = "\n".join(one.read_text(encoding="utf-8") for one in (PACKAGE / "watch").glob("*.py"))
    assert {code for code in UNSEEN_CODES if f'"{code}"' not in told} == set()
    assert "StacksFolderReplacedEmpty" in UNSEEN_CODES


def test_what_is_each_stacks_problem_is_told_once(agent: Any) -> None:
    """A thousand stacks that wait for the cluster are one problem."""
    problem = Problem("ClusterUnreachable", "the cluster hostk8s was deleted", "create it again")
    stacks = tuple(replace(one, problems=(problem,)) for one in agent.board.stacks())
    document = render_agent_status(replace(agent.status(), stacks=stacks, problems=(problem,)))
    assert render_status_page(document, Screen()).count("    hint: create it again") == 1


def test_what_was_put_back_and_left_behind_lately_is_told_in_a_sentence_each(agent: Any) -> None:
    """A person who removed something by mistake reads that it is back, or how it comes back; and later no more."""
    drift = (
        DriftStatus("PersistentVolume/pv", "existence", "present", None, "", "2025-01-31T08:00:00.000Z"),
        DriftStatus(
            "PersistentVolume/pv", "spec.capacity.storage", "5Gi", "9Gi", "kubectl", "2025-01-31T08:00:01.000Z"
        ),
        DriftStatus("/mnt/pv/sample/logs", "existence", "present", None, "", "2025-01-31T08:00:02.000Z"),
    )
    left = LeftDirectory("old", "software/stacks/old/hostk8s.storage.yaml", "/mnt/pv/old", "2025-01-31T08:00:00.000Z")
    stack = replace(agent.board.stack("sample"), drift=drift)
    document = render_agent_status(replace(agent.status(), stacks=(stack,), left_behind=(left,)))
    now = datetime.fromisoformat("2025-01-31T08:00:03Z").timestamp()
    again = "was removed, and was made again at 2025-01-31"
    assert list(render_past(document, now, Screen())) == [
        "",
        "Put back",
        (
            f"  sample: /mnt/pv/sample/logs {again}T08:00:02.000Z, empty; what a snapshot has of it comes back with "
            "hostk8s-agent snapshot restore sample"
        ),
        (
            "  sample: spec.capacity.storage of PersistentVolume/pv was made 9Gi by kubectl, and was put back to 5Gi "
            "at 2025-01-31T08:00:01.000Z; nothing is to be done"
        ),
        f"  sample: PersistentVolume/pv {again}T08:00:00.000Z; its data stays, nothing is to be done",
        "",
        "Left behind",
        (
            f"  old: its contract is gone, and nothing was changed in /mnt/pv/old; bring {left.file} back, and it is "
            "used again, or see what it holds: hostk8s-agent orphans"
        ),
    ]
    assert list(render_past(document, now + 8 * 86_400, Screen())) == []

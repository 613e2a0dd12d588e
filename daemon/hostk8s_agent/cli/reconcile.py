"""`reconcile`: ask the agent for a run now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace, find_readiness
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


def reconcile(stack: str | None, output: OutputFormat, workspace: Path | None, wait_seconds: float | None) -> ExitCode:
    """Ask for a run of the stack (None: all), and wait for it that long (None: not at all).

    Returns OK at once when it does not wait; else OK only when all that was asked for is Ready after the run.
    """
    client = ControlClient(choose_workspace(workspace))
    answer = client.reconcile(None if stack is None else [stack], wait_seconds=wait_seconds)
    stacks = answer["stacks"]
    if output != "table":
        write_document(answer, output)
    elif wait_seconds is not None:
        rows = [[Cell(one["name"]), Cell(one["state"]), Cell(one["message"])] for one in stacks]
        write("\n".join(render_table(("STACK", "STATE", "MESSAGE"), rows, find_screen())))
    if wait_seconds is None:
        what = stack or (f"{len(stacks)} stacks" if len(stacks) != 1 else "1 stack")
        say(f"asked for a reconcile of {what}; hostk8s-agent status shows what comes of it")
        return ExitCode.OK
    return find_readiness(stacks)

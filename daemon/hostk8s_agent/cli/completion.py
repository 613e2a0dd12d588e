"""What a shell completes: names of stacks; and the script that teaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

# What typer's script sets for the program (its own convention: the name in capitals).
COMPLETE_VARIABLE = "_HOSTK8S_AGENT_COMPLETE"


def show_completion_script(shell: str, program: str) -> ExitCode:
    """Print the script for a shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # noqa: PLC0415 - typer exports it by no __all__

    write(get_completion_script(prog_name=program, complete_var=COMPLETE_VARIABLE, shell=shell))
    return ExitCode.OK


def list_stack_names(directory: Path | None) -> list[str]:
    """Return the stacks' names: the agent's, else those of the contracts that are there; none when that fails."""
    try:
        workspace = choose_workspace(directory)
    except AgentError:
        return []
    try:
        return [stack["name"] for stack in ControlClient(workspace).status()["stacks"]]
    except AgentError:
        from hostk8s_agent.watch.scan import scan_contract_files  # noqa: PLC0415 - without an agent alone

        return sorted(scan_contract_files(workspace.stacks_root).files)

"""What a shell completes: names of stacks and of snapshots; and the script that teaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.snapshot.model import SnapshotManifest

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


def list_snapshot_names(directory: Path | None) -> list[str]:
    """Return the snapshots' ids and names, the newest first; none when the repository cannot be read."""
    return [word for one in _list_snapshots(directory) for word in (one.id, one.name) if word]


def list_references(directory: Path | None, stack: str) -> list[str]:
    """Return the stack's snapshots as `STACK@WHICH`, the newest first."""
    own = (one for one in _list_snapshots(directory) if one.stack == stack)
    return [f"{stack}@latest", *(f"{stack}@{word}" for one in own for word in (one.id, one.name) if word)]


def _list_snapshots(directory: Path | None) -> list[SnapshotManifest]:
    from hostk8s_agent.cli.snapshot_looking import find_repository  # noqa: PLC0415 - of this one question

    try:
        repository = find_repository(choose_workspace(directory))
        return list(reversed(repository.load_all()[0]))
    except AgentError:
        return []

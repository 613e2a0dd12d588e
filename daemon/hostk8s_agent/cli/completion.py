"""What a shell completes: names of stacks and of snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.snapshot.model import SnapshotManifest


def list_stack_names(directory: Path | None) -> list[str]:
    """Return the stacks' names: the agent's, else those of the contracts that are there; none when that fails."""
    try:
        workspace = choose_workspace(directory)
    except AgentError:
        return []
    try:
        names = [stack["name"] for stack in ControlClient(workspace).status()["stacks"]]
    except AgentError:
        from hostk8s_agent.watch.scan import scan_contract_files  # noqa: PLC0415 - without an agent alone

        names = sorted(scan_contract_files(workspace.stacks_root).files)
    # A folder may be called anything; what a terminal would take for a command of its own is typed by nobody.
    return [name for name in names if name.isprintable()]


def list_snapshot_names(directory: Path | None) -> list[str]:
    """Return the snapshots' ids and names, the newest first; none when the repository cannot be read."""
    return [word for one in _list_snapshots(directory) for word in _words(one)]


def list_references(directory: Path | None, stack: str) -> list[str]:
    """Return the stack's snapshots as `STACK@WHICH`, the newest first."""
    own = (one for one in _list_snapshots(directory) if one.stack == stack)
    return [f"{stack}@latest", *(f"{stack}@{word}" for one in own for word in _words(one))]


def _words(one: SnapshotManifest) -> list[str]:
    return [word for word in (one.id, one.name) if word and word.isprintable()]


def _list_snapshots(directory: Path | None) -> list[SnapshotManifest]:
    from hostk8s_agent.cli.snapshot_looking import find_repository  # noqa: PLC0415 - of this one question

    try:
        repository = find_repository(choose_workspace(directory))
        return list(reversed(repository.load_all()[0]))
    except AgentError:
        return []

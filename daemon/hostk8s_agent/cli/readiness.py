"""Whether all is Ready, of a status document; and the workspace that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.errors import WorkspaceError
from hostk8s_agent.workspace import find_workspace, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.workspace import Workspace

# With one of these, there may be stacks that nobody has seen: what is shown is not all.
UNSEEN_CODES = frozenset(
    {
        "FolderUnreadable",
        "StackNameNotText",
        "StacksFolderMissing",
        "StacksFolderReplacedEmpty",
        "StacksFolderUnreadable",
        "TooManyFolders",
    }
)


def find_readiness(stacks: Iterable[Mapping[str, Any]], problems: Iterable[Mapping[str, Any]] = ()) -> ExitCode:
    """Return OK when every stack is Ready and every stack was seen, else NOT_READY."""
    is_ready = all(stack["state"] == "Ready" for stack in stacks)
    is_seen = not any(problem["code"] in UNSEEN_CODES for problem in problems)
    return ExitCode.OK if is_ready and is_seen else ExitCode.NOT_READY


def find_status_code(document: Mapping[str, Any]) -> ExitCode:
    """Return the exit code of `status` for what an agent answered: one that is starting has not seen everything."""
    if document["agent"]["state"] == "NotRunning":
        return ExitCode.NO_AGENT
    if document["agent"]["state"] != "Running":
        return ExitCode.NOT_READY
    return find_readiness(document["stacks"], document["problems"])


def choose_workspace(directory: Path | None) -> Workspace:
    """Return the workspace at `directory`, or the one that the current folder lies in. Raises `WorkspaceError`."""
    if directory is not None:
        return open_workspace(directory)
    try:
        here = Path.cwd()
    except OSError as error:
        raise WorkspaceError(
            "the folder that you are in is gone",
            hint="change into another one, or name a workspace with --workspace DIR",
        ) from error
    return find_workspace(here)

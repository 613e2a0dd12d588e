"""`status`: what is true of the workspace, in words or as data.

This module's imports are what `status` costs: nothing but the standard library and our own light modules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.output import StatusFormat, escape_controls, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace, find_status_code
from hostk8s_agent.cli.status_page import render_stack_page, render_status_page
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentNotRunningError

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.exit_codes import ExitCode
    from hostk8s_agent.cli.output import Screen
    from hostk8s_agent.workspace import Workspace


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What was asked of `status`. None for `stack` means all, for `workspace` the one upwards from here."""

    stack: str | None = None
    output: StatusFormat = "table"
    workspace: Path | None = None
    is_watching: bool = False


def show_status(options: StatusOptions) -> ExitCode:
    """Show the status, and return OK when all that is shown is Ready."""
    workspace = choose_workspace(options.workspace)
    if options.is_watching:
        from hostk8s_agent.cli.watching import watch_status  # noqa: PLC0415 - status must start fast

        return watch_status(workspace, options)
    document = load_status(workspace, options.stack)
    if options.output == "json" or options.output == "yaml":  # noqa: PLR1714 - mypy narrows this one
        write_document(document, options.output)
    elif lines := render_page(document, options, find_screen()):
        write("\n".join(lines))
    return find_status_code(document)


def load_status(workspace: Workspace, stack: str | None) -> dict[str, Any]:
    """Return what the agent answers, or what the contracts and the last known state say when none runs.

    Says on stderr which of the two it is, where it is not the agent's answer.
    """
    try:
        return ControlClient(workspace).status(stack)
    except AgentNotRunningError as error:
        from hostk8s_agent.cli.last_known import load_last_known_status  # noqa: PLC0415 - status must start fast

        document, as_of = load_last_known_status(workspace, stack)
        say(f"hostk8s-agent: {error.message}; {error.hint}")
        say(f"  shown is what the contracts say{f', and what was last known, at {as_of}' if as_of else ''}")
        return document


def render_page(document: dict[str, Any], options: StatusOptions, screen: Screen) -> list[str]:
    """Return the lines for people: of one stack when one was asked for, else of everything; or the names alone."""
    if options.output == "name":
        return [escape_controls(stack["name"]) for stack in document["stacks"]]
    if options.stack is not None:
        return render_stack_page(document, replace(screen, width=None) if options.output == "wide" else screen)
    return render_status_page(document, screen, is_wide=options.output == "wide")

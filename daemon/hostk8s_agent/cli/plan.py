"""`plan`: what a reconcile would do, and why; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import wrap
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import escape_controls, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentNotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat, Screen
    from hostk8s_agent.workspace import Workspace

Document = dict[str, Any]

_VERBS = {
    "CreateDirectory": "create",
    "ChangeDirectory": "change",
    "ApplyObject": "apply",
    "ReplaceObject": "replace",
    "ReleaseVolume": "release",
    "DeleteObject": "prune",
}


def show_plan(stack: str | None, output: OutputFormat, workspace: Path | None, timeout_seconds: float) -> ExitCode:
    """Show the plans, and return OK when there is nothing to do, ERROR when a contract cannot be planned."""
    plans = _load_plans(choose_workspace(workspace), stack, timeout_seconds)
    if output == "table":
        for line in _render_plans(plans["plans"], find_screen()):
            write(line)
    else:
        write_document(plans, output)
    if any(plan["invalid"] for plan in plans["plans"]):
        return ExitCode.ERROR
    is_empty = not any(plan["actions"] or plan["blocked"] for plan in plans["plans"])
    return ExitCode.OK if is_empty else ExitCode.NOT_READY


def _load_plans(workspace: Workspace, stack: str | None, timeout_seconds: float) -> Document:
    """Ask the agent; without one, observe and plan here, which takes the connections that an agent would have."""
    try:
        return ControlClient(workspace).plan(stack)
    except AgentNotRunningError as error:
        say(f"hostk8s-agent: {error.message}: looking for itself")
    # Half a second of imports, which the agent's answer spares.
    from hostk8s_agent.control.rendering import render_plans  # noqa: PLC0415 - as said
    from hostk8s_agent.logs import configure_logging  # noqa: PLC0415 - as said
    from hostk8s_agent.running import plan_once  # noqa: PLC0415 - as said
    from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - as said

    settings = load_settings(workspace)
    configure_logging(_choose_level(settings.log_level), settings.log_format)
    return render_plans(plan_once(workspace, settings, stack, timeout_seconds))


def _choose_level(level: str) -> str:
    """A command tells its result: what happens on the way is for those who ask for it."""
    return level if level == "debug" else "error"


def _render_plans(plans: list[Document], screen: Screen) -> Iterator[str]:
    for plan in plans:
        actions, blocked = plan["actions"], plan["blocked"]
        if not (actions or blocked or plan["informed"] or plan["invalid"]):
            continue
        counts = [f"{len(actions)} to do"] if actions or not blocked else []
        counts += [f"{len(blocked)} held back"] if blocked else []
        told = "its contract is not valid" if plan["invalid"] else ", ".join(counts)
        yield f"{screen.paint(escape_controls(plan['stack']), 'bold')}: {told}"
        for problem in plan["invalid"]:
            place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem[part] is not None)
            yield from wrap(f"{place}: {problem['message']}; {problem['hint']}", "  ", screen)
        for action in actions:
            yield from wrap(f"{_VERBS[action['kind']]} {action['subject']}: {action['reason']}", "  ", screen)
            yield from _render_drift(action["drift"], screen)
        for one in blocked:
            waits = "waits" if one["isWaiting"] else "held back"
            yield from wrap(f"{waits}: {one['subject']}: {one['reason']}", "  ", screen)
            yield from wrap(f"hint: {one['problem']['hint']}", "      ", screen)
            yield from _render_drift(one["drift"], screen)
        for problem in plan["informed"]:
            yield from wrap(f"note: {problem['message']}; {problem['hint']}", "  ", screen)
    if not any(plan["actions"] or plan["blocked"] or plan["invalid"] for plan in plans):
        yield "Nothing to do: everything is as the contracts ask."


def _render_drift(drift: list[Document], screen: Screen) -> Iterator[str]:
    for one in drift:
        observed = "absent" if one["observed"] is None else one["observed"]
        manager = f" (held by {one['manager']})" if one["manager"] else ""
        yield from wrap(f"{one['field']}: {observed} → {one['desired']}{manager}", "      ", screen)

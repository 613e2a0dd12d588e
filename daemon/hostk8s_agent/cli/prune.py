"""`prune`: what no contract asks for any more, what holds it, and a person's word that it may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_table, wrap
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import OutputFormat, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.cli.output import Screen

Document = dict[str, Any]


def prune(output: OutputFormat, workspace: Path | None, *, is_confirmed: bool) -> ExitCode:
    """Show what no contract asks for; with `is_confirmed` let it go. Returns OK when nothing waits for a person."""
    client = ControlClient(choose_workspace(workspace))
    found = client.confirm_pruning() if is_confirmed else client.preview_pruning()
    if output == "table":
        for line in _render(found, find_screen()):
            write(line)
    else:
        write_document(found, output)
    if is_confirmed and found["objects"]:
        is_any_free = any(_find_hold(one, found) is None for one in found["objects"])
        what = "what is not held is pruned now" if is_any_free else "nothing is pruned: all of it is held"
        say(f"{what}; hostk8s-agent status shows what is left. The data stays.")
    return ExitCode.OK if is_confirmed or not found["objects"] else ExitCode.NOT_READY


def _render(found: Document, screen: Screen) -> Iterator[str]:
    objects = found["objects"]
    if not objects:
        yield "Nothing to prune: a contract asks for everything that the agent has made."
        return
    rows = [[Cell(one["stack"]), Cell(one["subject"]), Cell(_describe(one, found))] for one in objects]
    yield from render_table(("STACK", "OBJECT", "WHAT BECOMES OF IT"), rows, screen)
    problems = [found["problem"], *(one["problem"] for one in objects)]
    seen: list[Document] = []
    for problem in problems:
        if problem is not None and problem not in seen:
            seen.append(problem)
            yield ""
            yield from wrap(f"{problem['code']}: {problem['message']}", "", screen)
            yield from wrap(f"hint: {problem['hint']}", "  ", screen)


def _find_hold(one: Document, found: Document) -> Document | None:
    problem: Document | None = one["problem"] or found["problem"]
    return problem


def _describe(one: Document, found: Document) -> str:
    if problem := _find_hold(one, found):
        return f"held: {problem['code']}"
    return f"pruned in {one['afterSeconds']:g} s" if one["afterSeconds"] else "pruned now"

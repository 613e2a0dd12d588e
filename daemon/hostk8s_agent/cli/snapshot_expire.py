"""`snapshot expire`: what the policies keep, with the reasons, shown or carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot import reach_snapshots

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


def expire(stack: str | None, output: OutputFormat, workspace: Path | None, *, is_dry_run: bool) -> ExitCode:
    """Let the snapshots of a stack (None: of each) expire, or show which would. NOT_READY while expiry is held."""
    fields: dict[str, Any] = {"dryRun": is_dry_run}
    if stack:
        fields["stack"] = stack
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        document = snapshots.answer("expire", fields)
    if output != "table":
        write_document(document, output)
    else:
        _show(document, "would expire" if is_dry_run else "expired")
    return ExitCode.NOT_READY if any(one["held"] for one in document["stacks"]) else ExitCode.OK


def _show(document: dict[str, Any], gone: str) -> None:
    rows = [
        [
            Cell(one["id"]),
            Cell(stack["stack"]),
            Cell("kept" if one["isKept"] else gone, "green" if one["isKept"] else "yellow"),
            Cell(", ".join(one["reasons"]) or "-"),
        ]
        for stack in document["stacks"]
        for one in stack["snapshots"]
    ]
    if rows:
        write("\n".join(render_table(("ID", "STACK", "OUTCOME", "WHY"), rows, find_screen())))
    else:
        say("there is no snapshot yet; take one: hostk8s-agent snapshot create STACK")
    for stack in document["stacks"]:
        if stack["held"]:
            say(f"nothing of {stack['stack']} expires: {stack['held']}")

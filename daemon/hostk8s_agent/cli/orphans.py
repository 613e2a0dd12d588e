"""`orphans`: directories that no contract asks for any more, and what is in the trash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def show_orphans(output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show both. OK whether there are any or not."""
    client = ControlClient(choose_workspace(workspace))
    document = {**client.orphans(), **client.trash()}
    if output != "table":
        write_document(document, output)
        return ExitCode.OK
    screen = find_screen()
    lines = render_table(("ORPHAN", "STACK", "SIZE", "SINCE", ""), [_row(one) for one in document["orphans"]], screen)
    trash = render_table(("IN THE TRASH", "STACK", "SIZE", "PURGED", "ID"), list(map(_item, document["trash"])), screen)
    write("\n".join([*lines, *([""] if lines and trash else []), *trash]) or "no orphans, and nothing in the trash")
    if document["orphans"]:
        say("hostk8s-agent purge PATH moves one into the trash; purge --undo PATH brings it back")
    return ExitCode.OK


def render_size(size_bytes: int | None) -> str:
    """Return a size as people read it, for instance `1.5 GiB`; `?` when it is not known."""
    if size_bytes is None:
        return "?"
    size, unit = float(size_bytes), 0
    while size >= _STEP and unit + 1 < len(_UNITS):
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} B"


def _row(one: dict[str, Any]) -> list[Cell]:
    since = one["unwantedSince"][:19].replace("T", " ")
    changed = f"last changed {one['modifiedAt'][:10]}" if one["modifiedAt"] else one["message"]
    reason = f"kept: {one['keptBecause']}" if one["keptBecause"] else changed
    return [
        Cell(one["path"]),
        Cell(one["stack"]),
        Cell(render_size(one["sizeBytes"])),
        Cell(since),
        Cell(reason, "yellow" if one["keptBecause"] else "dim"),
    ]


def _item(one: dict[str, Any]) -> list[Cell]:
    purged = one["purgedAt"][:19].replace("T", " ")
    return [
        Cell(one["path"]),
        Cell(one["stack"]),
        Cell(render_size(one["sizeBytes"])),
        Cell(purged),
        Cell(one["id"], "dim"),
    ]

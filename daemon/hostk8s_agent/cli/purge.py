"""`purge`: an orphaned directory into the trash, back out of it, or for good."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.orphans import render_size
from hostk8s_agent.cli.output import say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot import WORK_SECONDS
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.control.errors import RequestInvalidError

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


@dataclass(frozen=True, slots=True)
class PurgeOptions:
    """What was asked for beside the path."""

    undoes: bool
    empties: bool
    is_bare: bool
    is_confirmed: bool
    output: OutputFormat
    workspace: Path | None


def purge(path: str | None, options: PurgeOptions) -> ExitCode:
    """Do what the options say. Raises `RequestInvalidError` for a PATH too many or too few."""
    client = ControlClient(choose_workspace(options.workspace))
    if options.empties:
        if path is not None or options.undoes:
            raise RequestInvalidError("--empty-trash takes no PATH and no --undo", hint=_USAGE)
        return _empty(client, options)
    if not path:
        raise RequestInvalidError("PATH is missing", hint=_USAGE)
    if options.undoes:
        answer = client.care_for("purge/undo", path=path)
    else:
        answer = client.purge(path, WORK_SECONDS, without_snapshot=options.is_bare)
    if options.output != "table":
        write_document(answer, options.output)
    elif options.undoes:
        write(f"{answer['restored']['path']} is back")
    else:
        write(f"{answer['purged']['path']} is in the trash")
        say(f"bring it back with: hostk8s-agent purge --undo {answer['purged']['path']}")
        secured = answer["secured"]
        if secured["snapshot"]:
            say(f"once the trash is emptied, the snapshot {secured['snapshot']} still has it")
        else:
            say(f"no snapshot was taken before: {secured['reason']}")
    return ExitCode.OK


def _empty(client: ControlClient, options: PurgeOptions) -> ExitCode:
    items = client.trash()["trash"]
    if items and not options.is_confirmed and not _ask(len(items), [one["sizeBytes"] for one in items]):
        say("nothing was deleted")
        return ExitCode.NOT_READY
    answer = client.care_for("purge/empty") if items else {"deleted": []}
    if options.output != "table":
        write_document(answer, options.output)
    else:
        write("\n".join(f"deleted: {one['path']}" for one in answer["deleted"]) or "the trash is empty")
    return ExitCode.OK


def _ask(number: int, sizes: list[int | None]) -> bool:
    """Ask the person in front of the terminal; without one, nobody agreed."""
    if not sys.stdin.isatty():
        raise RequestInvalidError("nobody is there to be asked", hint="add --yes to delete without being asked")
    total = sum(size or 0 for size in sizes)
    noun = "directory" if number == 1 else "directories"
    say(f"delete {number} {noun} ({render_size(total)}) for good? Nothing can bring them back. Type yes:")
    return sys.stdin.readline().strip().lower() in ("yes", "y")


_USAGE = "see hostk8s-agent purge --help"

"""`snapshot restore`: show what would be replaced, ask, and have it done."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_bytes, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot import agree, reach_snapshots
from hostk8s_agent.cli.snapshot_progress import answer_showing, showing

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What was asked for. `reference` is `STACK[@WHICH]`, `to` a folder of this machine, None for the volume."""

    reference: str
    fields: dict[str, Any]
    to: Path | None
    is_agreed: bool


def restore(options: RestoreOptions, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Restore; ERROR when the person did not agree, or asked for what contradicts itself."""
    if words := _find_emptiness(options) or _find_contradiction(options):
        say(f"hostk8s-agent: {words}")
        return ExitCode.ERROR
    if options.to is not None:
        return _copy(options, output, workspace)
    stack, _, which = options.reference.partition("@")
    fields = {"stack": stack, "which": which.strip() or "latest", **options.fields}
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        plan = snapshots.answer("plan", fields)["plan"]
        _show_plan(plan)
        if not options.is_agreed and not agree("replace them?"):
            return ExitCode.ERROR
        if not fields["undo"]:
            # What was shown, whatever has been taken while the question was being thought about.
            fields["which"] = plan["snapshot"]["id"]
        outcome = answer_showing(snapshots, "restore", fields, output)
    if output != "table":
        write_document(outcome, output)
        return ExitCode.OK
    snapshot, safety = outcome["plan"]["snapshot"], outcome["safety"]
    path = options.fields.get("path")
    say(f"{path or outcome['plan']['target']} is what it was in {snapshot['id']}")
    if safety is not None:
        only = f" --path {shlex.quote(path)}" if path else ""
        say(f"what was there before is {safety['id']}")
        say(f"  bring it back with: hostk8s-agent snapshot restore {outcome['plan']['target']} --undo{only}")
    for note in outcome["notes"]:
        say(note)
    return ExitCode.OK


def _find_emptiness(options: RestoreOptions) -> str:
    """Return which word is empty, if one is: a variable of a script that is not set never means everything."""
    stack, at, which = options.reference.partition("@")
    if not stack.strip():
        return "no stack is named; write STACK, or STACK@WHICH"
    if at and not which.strip():
        return f"nothing follows the @; write {stack} alone for the newest good snapshot"
    empty = [
        option for name, option in (("target", "--as"), ("path", "--path")) if not options.fields.get(name, "-").strip()
    ]
    return f"{empty[0]} is empty; leave it out where everything is meant" if empty else ""


def _find_contradiction(options: RestoreOptions) -> str:
    """Return what is wrong with the options taken together, empty when nothing is: none is left out silently."""
    fields = options.fields
    if fields["scaleDown"] and fields["inUse"]:
        return "--scale-down and --in-use exclude each other; give one of them"
    if fields["undo"] and "@" in options.reference:
        return "--undo brings back what the last restore replaced, and no other; leave out what follows the @"
    given = (("target", "--as"), ("undo", "--undo"), ("scaleDown", "--scale-down"), ("inUse", "--in-use"))
    if options.to is not None and (more := [option for name, option in given if fields.get(name)]):
        return f"--to only copies a snapshot to a folder; leave out {', '.join(more)}"
    return ""


def _copy(options: RestoreOptions, output: OutputFormat, workspace: Path | None) -> ExitCode:
    from hostk8s_agent.cli.snapshot_looking import find_snapshot  # noqa: PLC0415 - reads the repository itself
    from hostk8s_agent.snapshot.documents import describe_manifest  # noqa: PLC0415 - the same
    from hostk8s_agent.snapshot.exporting import export_snapshot  # noqa: PLC0415 - the same
    from hostk8s_agent.snapshot.selecting import split_reference  # noqa: PLC0415 - the same

    stack, which = split_reference(options.reference)
    repository, snapshot = find_snapshot(which, choose_workspace(workspace), stack)
    if options.to is not None:
        with showing("copy", output) as meter:
            export_snapshot(repository, snapshot, options.to, path=options.fields.get("path", ""), meter=meter)
    if output != "table":
        write_document({"snapshot": describe_manifest(snapshot), "folder": str(options.to)}, output)
    else:
        size = f"{render_bytes(snapshot.byte_count)} in {snapshot.files} files"
        say(f"{options.fields.get('path') or size} of {snapshot.id} is in {options.to}")
    return ExitCode.OK


def _show_plan(plan: dict[str, Any]) -> None:
    snapshot = plan["snapshot"]
    say(f"{snapshot['id']} of {snapshot['stack']}, taken at {snapshot['takenAt']}, {snapshot['state']}")
    rows = [
        [
            Cell(one["name"]),
            Cell(one["path"]),
            Cell("nothing" if one["isRemoved"] else render_bytes(one["bytes"])),
            Cell(str(one["files"])),
        ]
        for one in plan["directories"]
    ]
    say("\n".join(render_table(("DIRECTORY", "IS REPLACED", "BY", "FILES"), rows, find_screen())))
    for path in plan["leftAlone"]:
        say(f"{path} stays as it is: the snapshot does not have it")
    for user in plan["users"]:
        say(f"in use by {user}")
    for words in plan["stops"]:
        say(words)

"""`snapshot create`, `list`, `show`, `verify`, `pin`, `accept`, `forget`: through the agent, or without one."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_bytes, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import escape_controls, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot_progress import answer_showing
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentNotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hostk8s_agent.cli.output import Color, OutputFormat
    from hostk8s_agent.control.ports import Snapshots
    from hostk8s_agent.workspace import Workspace

Document = dict[str, Any]

# A restore of terabytes takes its time, and the agent's end ends the wait as well.
WORK_SECONDS = 7 * 86400.0
_COLORS: dict[str, Color] = {"good": "green", "suspect": "yellow", "damaged": "red", "unverified": "dim"}
MAX_SHOWN = 5


class _Remote:
    """The agent's snapshots, over its socket."""

    is_agents = True

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def list(self, stack: str | None) -> Document:
        return self._client.snapshots(stack)

    def answer(
        self, verb: str, fields: Mapping[str, Any], on_progress: Callable[[Document], None] | None = None
    ) -> Document:
        if on_progress is None:
            return self._client.ask_of_snapshots(verb, fields, WORK_SECONDS)
        return self._client.follow_work(verb, fields, on_progress)


@contextmanager
def reach_snapshots(workspace: Workspace) -> Iterator[Snapshots]:
    """Give what answers for the workspace's snapshots: its agent, or this process while none runs."""
    client = ControlClient(workspace)
    try:
        client.status()
    except AgentNotRunningError:
        from hostk8s_agent.agentless_snapshots import open_snapshots  # noqa: PLC0415 - the same
        from hostk8s_agent.logs import configure_logging  # noqa: PLC0415 - imports every adapter
        from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - the same

        settings = load_settings(workspace)
        configure_logging("error", settings.log_format)
        with open_snapshots(workspace, settings) as answers:
            yield answers
    else:
        yield _Remote(client)


def create(fields: Document, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Take a snapshot and show it, or have the agent begin with it."""
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        if not fields["wait"]:
            return _begin(snapshots, fields, output)
        snapshot = answer_showing(snapshots, "create", fields, output)["snapshot"]
    _show_snapshot(snapshot, output)
    return ExitCode.OK if snapshot["state"] == "good" else ExitCode.NOT_READY


def _begin(snapshots: Snapshots, fields: Document, output: OutputFormat) -> ExitCode:
    if not snapshots.is_agents:
        raise AgentNotRunningError(
            "no agent runs that could go on with the snapshot", hint="leave --no-wait out: then this command takes it"
        )
    answer = snapshots.answer("create", fields)
    if output == "table":
        say(f"begun; hostk8s-agent snapshot list {fields['stack']} shows it once it is there and was read back")
    else:
        write_document(answer, output)
    return ExitCode.OK


def show_list(stack: str | None, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show the snapshots of a stack (None: of all)."""
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        document = snapshots.list(stack)
    if output != "table":
        write_document(document, output)
    else:
        if document["snapshots"]:
            write("\n".join(render_rows(document["snapshots"])))
        else:
            of_stack = f" of {escape_controls(stack)}" if stack else ""
            say(f"there is no snapshot{of_stack} yet; take one: hostk8s-agent snapshot create STACK")
        for problem in document["problems"]:
            say(f"hostk8s-agent: {problem['message']}; {problem['hint']}")
        say(f"kept in {document['repository']}{_name_restic(document)}, {render_bytes(document['bytes'])}")
    return ExitCode.NOT_READY if document["problems"] else ExitCode.OK


def show_one(which: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show one snapshot."""
    from hostk8s_agent.cli.snapshot_looking import find_snapshot  # noqa: PLC0415 - reads the repository itself
    from hostk8s_agent.snapshot.documents import describe_manifest  # noqa: PLC0415 - the same

    _repository, manifest = find_snapshot(which, choose_workspace(workspace))
    _show_snapshot(describe_manifest(manifest), output)
    return ExitCode.OK


def verify(which: str | None, output: OutputFormat, workspace: Path | None, *, is_all: bool) -> ExitCode:
    """Read one snapshot back, or all of them."""
    if (which is None) != is_all:
        say("hostk8s-agent: name one snapshot, or say --all")
        return ExitCode.ERROR
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        document = answer_showing(snapshots, "verify", {} if which is None else {"ids": [which]}, output)
    if output != "table":
        write_document(document, output)
    else:
        if document["snapshots"]:
            write("\n".join(render_rows(document["snapshots"])))
        for problem in document["problems"]:
            say(f"hostk8s-agent: {problem['message']}; {problem['hint']}")
        for snapshot in document["snapshots"]:
            if snapshot["reason"]:
                say(f"{snapshot['id']}: {snapshot['reason']}")
    return ExitCode.OK if document["isWhole"] else ExitCode.NOT_READY


def change(verb: str, fields: Document, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Pin or accept one, and show it."""
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        _show_snapshot(snapshots.answer(verb, fields)["snapshot"], output)
    return ExitCode.OK


def forget(which: str, output: OutputFormat, workspace: Path | None, *, is_agreed: bool) -> ExitCode:
    """Remove one, after asking."""
    chosen = choose_workspace(workspace)
    if not is_agreed:
        which, words = _identify(which, chosen)
        if not agree(f"remove the snapshot {which}{words} for good?"):
            return ExitCode.ERROR
    with reach_snapshots(chosen) as snapshots:
        document = snapshots.answer("forget", {"id": which})
    if output == "table":
        say(f"{document['forgotten']} is forgotten")
    else:
        write_document(document, output)
    return ExitCode.OK


def _identify(which: str, workspace: Workspace) -> tuple[str, str]:
    """Return the id of the snapshot that is meant, and what a person should know of it before it goes."""
    from hostk8s_agent.cli.snapshot_looking import find_snapshot  # noqa: PLC0415 - reads the repository itself
    from hostk8s_agent.snapshot.errors import SnapshotError  # noqa: PLC0415 - the same
    from hostk8s_agent.snapshot.selecting import LATEST, select_snapshot  # noqa: PLC0415 - the same

    try:
        repository, one = find_snapshot(which, workspace)
    except SnapshotError:
        # It may be one that cannot be read any more; whoever forgets it knows, and says so.
        return which, ""
    words = f" of {one.stack}, {one.state.value}, {one.name!r}" if one.name else f" of {one.stack}, {one.state.value}"
    with suppress(SnapshotError):
        newest = select_snapshot(repository.load_all()[0], LATEST, one.taken_at, one.stack)
        words += ", the newest good one" * (newest.id == one.id)
    return one.id, f" ({words.strip()})"


def agree(question: str) -> bool:
    """Ask a person, who has to say yes; where nobody can be asked, say how to go on."""
    if not sys.stdin.isatty():
        say(f"hostk8s-agent: {question} Say --yes to go on without being asked.")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    is_agreed = sys.stdin.readline().strip().lower() in {"y", "yes"}
    if not is_agreed:
        say("hostk8s-agent: nothing was changed")
    return is_agreed


def _show_snapshot(snapshot: Document, output: OutputFormat) -> None:
    if output != "table":
        write_document(snapshot, output)
        return
    write("\n".join(render_rows([snapshot])))
    reached = snapshot["quiesce"]
    checks = {"unverified": "not read back yet", "damaged": "not what was written"}
    checked = checks.get(snapshot["state"], "read back whole")
    say(f"{checked}; consistency: {reached['reached']} (asked: {reached['asked']}){_after(reached['note'])}")
    if snapshot["reason"]:
        say(f"{snapshot['state']}: {snapshot['reason']}")
    for directory in snapshot["directories"]:
        for words in directory["lost"]:
            say(f"{directory['name']}: not kept: {words}")
        if changed := directory["changed"]:
            more = " and more" * (len(changed) > MAX_SHOWN)
            say(f"{directory['name']}: changed while it was read: {', '.join(changed[:MAX_SHOWN])}{more}")


def render_rows(snapshots: list[Document]) -> list[str]:
    """Return a table of snapshots, a line each."""
    rows = [
        [
            Cell(one["id"]),
            Cell(one["stack"]),
            Cell(one["state"], _COLORS.get(one["state"])),
            Cell(render_bytes(one["bytes"])),
            Cell(str(one["files"])),
            Cell(" ".join(filter(None, (one["name"], *one["tags"], "pinned" * one["pinned"]))) or "-"),
        ]
        for one in snapshots
    ]
    return render_table(("ID", "STACK", "STATE", "SIZE", "FILES", "NAME, TAGS"), rows, find_screen())


def _name_restic(document: Document) -> str:
    address = document.get("resticRepository", "")
    return f", and their content in {address}" if address else ""


def _after(note: str) -> str:
    return f"; {note}" if note else ""

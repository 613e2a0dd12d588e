"""`events`: what happened, from the agent, or from the records that the last one left."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import OutputFormat, escape_controls, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError, AgentNotRunningError
from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.history import load_last_events
from hostk8s_agent.status.model import API_VERSION, render_json
from hostk8s_agent.status.records import DATABASE_NAME
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.workspace import Workspace

FOLLOW_SECONDS = 1.0
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_HEADERS = ("AT", "TYPE", "STACK", "SUBJECT", "MESSAGE")

Document = dict[str, Any]


class SinceInvalidError(AgentError):
    """What was given as the beginning is no time."""

    code = "SinceInvalid"


@dataclass(frozen=True, slots=True)
class EventsOptions:
    """What was asked of `events`. An empty `stack` means all, an empty `since` from the first that is kept."""

    stack: str = ""
    since: str = ""
    output: OutputFormat = "table"
    workspace: Path | None = None
    is_following: bool = False


def show_events(options: EventsOptions) -> ExitCode:
    """Show the events. Raises `AgentNotRunningError` when they are to be followed and no agent runs."""
    workspace = choose_workspace(options.workspace)
    earliest = parse_since(options.since, time.time())
    client = ControlClient(workspace)
    try:
        # Without the stack: what is followed goes on from the newest of all.
        events = client.history()["events"]
    except AgentNotRunningError as error:
        if options.is_following:
            raise
        events = _load_left_events(workspace)
        say(f"hostk8s-agent: {error.message}; shown is what the last one left")
    chosen = _choose(events, options.stack, earliest)
    if not options.is_following:
        _show(chosen, options.output)
        return ExitCode.OK
    view = _Lines(options.output)
    view.show(chosen)
    try:
        _follow(client, options.stack, events[-1]["sequence"] if events else 0, view)
    except KeyboardInterrupt:
        # How one leaves: no failure.
        return ExitCode.OK
    return ExitCode.NO_AGENT


def parse_since(text: str, now: float) -> str:
    """Given what `--since` says, return the time as RFC 3339 in UTC; empty for no beginning.

    For instance `90s`, `10m`, `2h`, `7d`, `2025-01-31`, `2025-01-31T08:00:00+01:00`. A time without an offset is this
    machine's. Raises `SinceInvalidError` for anything else.
    """
    if not text:
        return ""
    if match := _DURATION.fullmatch(text):
        return render_time(max(0.0, now - int(match[1]) * _UNIT_SECONDS[match[2]]))
    try:
        return render_time(datetime.fromisoformat(text).astimezone(UTC).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise SinceInvalidError(
            f"--since {text!r} is neither a span nor a time", hint="for instance 10m, 2h, 7d, or 2025-01-31T08:00:00Z"
        ) from error


def _load_left_events(workspace: Workspace) -> list[Document]:
    loaded: list[Document] = render_json(load_last_events(state_folder(workspace) / DATABASE_NAME))
    return loaded


def _choose(events: Iterable[Document], stack: str, earliest: str) -> list[Document]:
    # Times of one form in one zone compare as text.
    return [event for event in events if (not stack or event["stack"] == stack) and event["at"] >= earliest]


def _show(events: Sequence[Document], output: OutputFormat) -> None:
    if output == "table":
        lines = render_table(_HEADERS, [_render_cells(event) for event in events], find_screen())
        write("\n".join(lines) or "Nothing happened that is kept.")
    else:
        write_document({"apiVersion": API_VERSION, "events": list(events)}, output)


def _render_cells(event: Mapping[str, Any]) -> list[Cell]:
    color = "yellow" if event["severity"] == "Warning" else None
    texts = (event["at"], event["type"], event["stack"] or "-", event["subject"] or "-", event["message"])
    return [Cell(text, color if index == 1 else None) for index, text in enumerate(texts)]  # type: ignore[arg-type]


class _Lines:
    """Events one after the other, as they come: nobody knows how wide the next one is."""

    def __init__(self, output: OutputFormat) -> None:
        self._output = output

    def show(self, events: Iterable[Document]) -> None:
        """Write them, and let whoever reads a pipe have them now."""
        for event in events:
            if self._output == "json":
                write(json.dumps(event, separators=(",", ":")))
            elif self._output == "yaml":
                write("---")
                write_document(event, "yaml")
            else:
                parts = (event["at"], event["type"], event["stack"], event["subject"], event["message"])
                write("  ".join(escape_controls(part) for part in parts if part))
        sys.stdout.flush()


def _follow(client: ControlClient, stack: str, after: int, view: _Lines) -> None:
    """Show the events after a number until the agent ends. What is not kept is not shown: it comes in masses."""
    for event in client.follow_events(timeout_seconds=FOLLOW_SECONDS, after=after):
        if event is not None and event["type"] != "stack.state":
            view.show(_choose([event], stack, ""))

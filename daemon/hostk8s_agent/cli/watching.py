"""`status --watch`: the status, drawn anew whenever it changes.

The agent's events tell at once that something happened; asking each second besides shows what no event tells,
and serves alone where the events cannot be followed.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.output import find_screen, write, write_document
from hostk8s_agent.cli.readiness import find_status_code
from hostk8s_agent.cli.status import load_status, render_page
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.control.errors import ControlError
from hostk8s_agent.errors import AgentNotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.cli.exit_codes import ExitCode
    from hostk8s_agent.cli.status import StatusOptions
    from hostk8s_agent.workspace import Workspace

POLL_SECONDS = 1.0
# A burst of events is one change for whoever looks.
SETTLE_SECONDS = 0.05

_UP = "\x1b[{}F"
_ERASE_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"

Document = dict[str, Any]


def watch_status(workspace: Workspace, options: StatusOptions) -> ExitCode:
    """Show the status again and again until Ctrl-C; return the exit code of what was shown last."""
    client = ControlClient(workspace)
    shown: Document = load_status(workspace, options.stack)
    view = _View(options)
    try:
        view.show(shown)
        for _ in _follow(client):
            try:
                document = client.status(options.stack)
            except AgentNotRunningError:
                document = _mark_not_running(shown)
            if document != shown or view.is_resized():
                shown = document
                view.show(document)
    except KeyboardInterrupt:
        # How one leaves: no failure.
        view.leave()
    return find_status_code(shown)


def _follow(client: ControlClient) -> Iterator[None]:
    """Give one turn for each change that is told, and one each second."""
    while True:
        try:
            for event in client.follow_events(timeout_seconds=POLL_SECONDS):
                if event is not None:
                    time.sleep(SETTLE_SECONDS)
                yield
        except (AgentNotRunningError, ControlError, OSError):
            pass
        time.sleep(POLL_SECONDS)
        yield


def _mark_not_running(document: Document) -> Document:
    """Return what was shown last as what it is now: no longer vouched for by anyone."""
    agent = {**document["agent"], "state": "NotRunning", "pid": 0, "startedAt": ""}
    stacks = [
        {**stack, "state": "Pending", "message": f"was Ready at {stack['lastReconciledAt']}; no agent is running"}
        if stack["state"] == "Ready"
        else stack
        for stack in document["stacks"]
    ]
    told = {"code": "AgentNotRunning", "message": "no agent is running", "hint": "start it with: hostk8s-agent run"}
    problems = [one for one in document["problems"] if one["code"] != told["code"]]
    return {**document, "agent": agent, "stacks": stacks, "problems": [told, *problems]}


class _View:
    """Where the status is drawn: over itself on a terminal, one after the other elsewhere."""

    def __init__(self, options: StatusOptions) -> None:
        self._options = options
        self._screen = find_screen()
        self._drawn = 0

    def is_resized(self) -> bool:
        """Whether the terminal's width is another than that of the last drawing."""
        return find_screen() != self._screen

    def show(self, document: Document) -> None:
        """Draw one status."""
        self._screen = find_screen()
        if self._options.output == "json":
            # One object a line, for whoever reads them as they come.
            write(json.dumps(document, separators=(",", ":")))
        elif self._options.output == "yaml":
            write("---")
            write_document(document, "yaml")
        elif self._screen.is_terminal:
            self._draw(render_page(document, self._options, self._screen))
        else:
            write("\n".join((*render_page(document, self._options, self._screen), "")))
        sys.stdout.flush()

    def leave(self) -> None:
        """Leave the cursor on a line of its own, behind the `^C` that the terminal echoes."""
        if self._screen.is_terminal:
            write("")

    def _draw(self, lines: list[str]) -> None:
        # Each line is written over the old one and only its rest erased: nothing is ever blank in between. What does
        # not fit is left out, because a line that has scrolled away can never be drawn over.
        fitting = lines[: max(shutil.get_terminal_size().lines - 1, 1)]
        up = _UP.format(self._drawn) if self._drawn else ""
        sys.stdout.write(up + "".join(f"{line}{_ERASE_LINE}\n" for line in fitting) + _ERASE_BELOW)
        self._drawn = len(fitting)

"""`dashboard`: open the agent's page in a browser."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import say, write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path


def open_dashboard(workspace: Path | None, *, opens_browser: bool) -> ExitCode:
    """Open the page, or print the link where no browser is to be opened, or none can be."""
    link = ControlClient(choose_workspace(workspace)).dashboard_link()
    if opens_browser and _has_screen():
        import webbrowser  # noqa: PLC0415 - not everybody who asks for help

        if webbrowser.open(link):
            say("the dashboard opens in your browser; if it does not: hostk8s-agent dashboard --no-browser")
            return ExitCode.OK
        say("no browser could be opened; this link works once, and for five minutes:")
    elif opens_browser:
        say("there is no screen here; this link works once, and for five minutes, in a browser on this machine:")
    else:
        say("this link works once, and for five minutes:")
    write(link)
    return ExitCode.OK


def _has_screen() -> bool:
    # Without one, webbrowser would open the link in a text browser, which shows nothing of the page and uses it up.
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

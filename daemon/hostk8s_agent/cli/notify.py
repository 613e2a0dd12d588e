"""`notify`: whether anybody can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentNotRunningError
from hostk8s_agent.status.model import API_VERSION, render_json

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.workspace import Workspace


def test_notifications(output: OutputFormat, directory: Path | None) -> ExitCode:
    """Send a test by every channel, and return OK when there is one and all got through."""
    workspace = choose_workspace(directory)
    try:
        answer = ControlClient(workspace).test_notifications()
    except AgentNotRunningError:
        say("no agent runs: tried from here, with this shell's environment")
        answer = _try_from_here(workspace)
    channels = answer["channels"]
    if output != "table":
        write_document(answer, output)
    elif channels:
        rows = [
            [Cell(one["channel"]), Cell(one["target"]), Cell(one["state"]), Cell(one["message"])] for one in channels
        ]
        write("\n".join(render_table(("CHANNEL", "TARGET", "STATE", "MESSAGE"), rows, find_screen())))
    if not channels:
        say("nobody is told: set notify_webhook_url or notify_command, or install notify-send (docs/notifications.md)")
    is_told = bool(channels) and all(one["state"] == "Delivered" for one in channels)
    return ExitCode.OK if is_told else ExitCode.NOT_READY


def _try_from_here(workspace: Workspace) -> dict[str, Any]:
    from hostk8s_agent.notification.channels import build_channels  # noqa: PLC0415 - without an agent alone
    from hostk8s_agent.notification.delivering import Courier  # noqa: PLC0415 - the same
    from hostk8s_agent.notification.service import try_couriers  # noqa: PLC0415 - the same
    from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - the same

    couriers = [Courier(one, lambda _status, _failure: None) for one in build_channels(load_settings(workspace))]
    tried = try_couriers(couriers, workspace.root.name)
    return {"apiVersion": API_VERSION, "channels": render_json(tried)}

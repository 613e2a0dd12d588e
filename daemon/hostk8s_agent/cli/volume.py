"""`volume`: which one, accept its loss, let go of it."""

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


def show(output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show the volume as the agent has it. NOT_READY unless it, or what stands in for it, is in use."""
    client = ControlClient(choose_workspace(workspace))
    docker = client.status()["docker"]
    holders = client.holders()["holders"]
    if output != "table":
        write_document({**docker, "holders": holders}, output)
    else:
        rows = [_row(one, path) for one in holders for path in one["paths"]]
        write(", ".join(filter(None, (f"{docker['volume']}: {docker['state']}", docker["access"]))))
        write("\n".join(["", *render_table(("PATH", "WORKSPACE", "CLUSTER", "LAST HEARD OF"), rows, find_screen())]))
        if docker["message"]:
            say(docker["message"])
    return ExitCode.OK if docker["state"] in ("Connected", "Absent") else ExitCode.NOT_READY


def take_over(path: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Take a path from silent workspaces. NOT_READY when nobody else holds it."""
    answer = ControlClient(choose_workspace(workspace)).care_for("volume/take-over", path=path)
    if output != "table":
        write_document(answer, output)
    elif answer["takenFrom"]:
        write(f"{path} was taken over from {', '.join(answer['takenFrom'])}")
    else:
        write(f"no other workspace holds {path}")
    return ExitCode.OK if answer["takenFrom"] else ExitCode.NOT_READY


def accept_loss(output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Begin anew with an empty volume. NOT_READY when none is lost."""
    answer = ControlClient(choose_workspace(workspace)).care_for("volume/accept-loss")
    if output != "table":
        write_document(answer, output)
    elif answer["accepted"]:
        write("the loss is accepted: the agent makes what the contracts ask for anew")
    else:
        write("no volume is lost")
    return ExitCode.OK if answer["accepted"] else ExitCode.NOT_READY


def release(output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Remove the container that keeps the volume; its data stays. Raises when the workspace's agent runs."""
    from hostk8s_agent.logs import configure_logging  # noqa: PLC0415 - as the next two
    from hostk8s_agent.running import release_volume  # noqa: PLC0415 - imports every adapter
    from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - the same

    chosen = choose_workspace(workspace)
    settings = load_settings(chosen)
    configure_logging("warning", settings.log_format)
    removed = release_volume(chosen, settings)
    if output != "table":
        write_document({"released": removed}, output)
    else:
        write("the volume is not kept any more; its data stays" if removed else "nothing kept the volume")
    return ExitCode.OK


def _row(holder: dict[str, Any], path: str) -> list[Cell]:
    heard = holder["heartbeatAt"][:19].replace("T", " ") or "now"
    silent = Cell(f"{heard}, silent", "yellow") if holder["isSilent"] else Cell(heard)
    return [Cell(path), Cell(holder["workspace"]), Cell(holder["cluster"]), silent]

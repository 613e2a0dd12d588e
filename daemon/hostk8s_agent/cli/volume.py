"""`volume`: which one, accept its loss, let go of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


def show(output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show the volume as the agent has it. NOT_READY unless it, or what stands in for it, is in use."""
    docker = ControlClient(choose_workspace(workspace)).status()["docker"]
    if output != "table":
        write_document(docker, output)
    else:
        write(", ".join(filter(None, (f"{docker['volume']}: {docker['state']}", docker["access"]))))
        if docker["message"]:
            say(docker["message"])
    return ExitCode.OK if docker["state"] in ("Connected", "Absent") else ExitCode.NOT_READY


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
    from hostk8s_agent.running import release_volume  # noqa: PLC0415 - imports every adapter
    from hostk8s_agent.settings import load_settings  # noqa: PLC0415 - the same

    chosen = choose_workspace(workspace)
    removed = release_volume(chosen, load_settings(chosen))
    if output != "table":
        write_document({"released": removed}, output)
    else:
        write("the volume is not kept any more; its data stays" if removed else "nothing kept the volume")
    return ExitCode.OK

"""`release`: give a PersistentVolume that no claim holds to one claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import OutputFormat, escape_controls, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path


def release(volume: str, claim: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Ask the agent to make the volume bindable for the claim `namespace/name`, and show what was done."""
    answer = ControlClient(choose_workspace(workspace)).release(volume, claim)
    if output == "table":
        write(escape_controls(answer["message"]))
    else:
        write_document(answer, output)
    return ExitCode.OK

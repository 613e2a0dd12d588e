"""`doctor`: is everything as the agent needs it?"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.cli.columns import wrap
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import escape_controls, find_screen, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.doctor.examining import examine
from hostk8s_agent.status.model import render_json

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import Color, OutputFormat, Screen
    from hostk8s_agent.doctor.findings import Finding

_COLORS: dict[str, Color] = {"ok": "green", "warning": "yellow", "failure": "red"}
_WIDTH = len("warning")


def show_findings(output: OutputFormat, directory: Path | None) -> ExitCode:
    """Show what is found, as it is found; return OK when nothing fails."""
    workspace = choose_workspace(directory)
    # What the rooms log is for an agent; a finding says it already.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    findings = []
    for finding in examine(workspace):
        findings.append(finding)
        if output == "table":
            _show(finding, find_screen())
    if output != "table":
        write_document(render_json(findings), output)
    return ExitCode.NOT_READY if any(one.verdict == "failure" for one in findings) else ExitCode.OK


def _show(finding: Finding, screen: Screen) -> None:
    verdict = screen.paint(finding.verdict, _COLORS[finding.verdict]) + " " * (_WIDTH - len(finding.verdict))
    first, *rest = wrap(f"{escape_controls(finding.check)}: {finding.message}", " " * (_WIDTH + 2), screen)
    write(f"{verdict}  {first.lstrip()}")
    for line in rest:
        write(line)
    if finding.command:
        write("\n".join(wrap(f"mend it: {finding.command}", " " * (_WIDTH + 4), screen)))
    # A check may take seconds: what is known is shown before it.
    sys.stdout.flush()

"""`run`: be the agent of the workspace, until told to stop or for one pass."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace, find_readiness
from hostk8s_agent.cli.status_page import render_status_page
from hostk8s_agent.live_settings import LiveSettings
from hostk8s_agent.logs import configure_logging
from hostk8s_agent.running import run_agent, run_once
from hostk8s_agent.settings import load_settings
from hostk8s_agent.snapshot.policies import load_default_policy
from hostk8s_agent.status.model import render_agent_status

GUIDANCE = "agent.guidance"

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat


def run_service(workspace: Path | None, flags: Mapping[str, str]) -> ExitCode:
    """Be the agent until SIGTERM or SIGINT."""
    chosen = choose_workspace(workspace)
    live = LiveSettings(chosen, flags, judge=load_default_policy)
    settings = live.current
    configure_logging(settings.log_level, settings.log_format)
    # Whoever reads JSON lines must get nothing else.
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    run_agent(chosen, live, say if is_text else _log)
    return ExitCode.OK


def run_one_pass(
    output: OutputFormat, workspace: Path | None, timeout_seconds: float, flags: Mapping[str, str]
) -> ExitCode:
    """Reconcile everything once, show what is true then, and return OK when all is Ready."""
    chosen = choose_workspace(workspace)
    settings = load_settings(chosen, flags)
    configure_logging(settings.log_level, settings.log_format)
    document = render_agent_status(run_once(chosen, settings, timeout_seconds))
    if output == "table":
        write("\n".join(render_status_page(document, find_screen())))
    else:
        write_document(document, output)
    return find_readiness(document["stacks"], document["problems"])


def _log(message: str) -> None:
    structlog.get_logger().info(GUIDANCE, message=message)

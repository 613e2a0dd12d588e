"""`service ...`: the agent as a service."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.errors import AgentError
from hostk8s_agent.service.choosing import choose_service
from hostk8s_agent.settings import load_settings
from hostk8s_agent.snapshot.policies import load_default_policy
from hostk8s_agent.status.model import render_json

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.workspace import Workspace

RUNNING_STATES = frozenset({"active", "reloading", "running"})


def install_service(directory: Path | None, *, is_system: bool, is_dry_run: bool) -> ExitCode:
    """Install and start the service, or show the files that an installation would write."""
    workspace = choose_workspace(directory)
    # Settings that are not valid would only be told by a service that does not start.
    load_settings(workspace, judge=load_default_policy)
    service = choose_service(workspace, is_system=is_system)
    if is_dry_run:
        for file in service.render_files():
            write(f"# --- {file.path}\n{file.text}".rstrip("\n"))
        return ExitCode.OK
    for line in service.install():
        say(line)
    return ExitCode.OK


def uninstall_service(directory: Path | None, *, is_system: bool) -> ExitCode:
    """Stop the service, remove its files and what keeps the Docker volume, and say what is left."""
    workspace = choose_workspace(directory)
    for line in choose_service(workspace, is_system=is_system).uninstall():
        say(line)
    _release_volume(workspace)
    return ExitCode.OK


def _release_volume(workspace: Workspace) -> None:
    """Let go of the volume: the container that keeps it must not outlive the agent. What fails is only said."""
    # Without the workspace's lock, which would leave files of root's: an agent run by hand makes the container again.
    from hostk8s_agent.connections import release_volume  # noqa: PLC0415 - imports every adapter
    from hostk8s_agent.logs import configure_logging  # noqa: PLC0415 - the same

    try:
        settings = load_settings(workspace)
        configure_logging("warning", settings.log_format)
        if release_volume(workspace, settings):
            say("removed: the container that kept the Docker volume")
    except AgentError as error:
        say(f"what keeps the Docker volume is left: {error.message}; later: hostk8s-agent volume --release")


def control_service(directory: Path | None, verb: str, *, is_system: bool) -> ExitCode:
    """Start, stop or restart the service."""
    choose_service(choose_workspace(directory), is_system=is_system).control(verb)
    return ExitCode.OK


def show_service(directory: Path | None, output: OutputFormat, *, is_system: bool) -> ExitCode:
    """Show how the service is, and return OK when it runs."""
    report = choose_service(choose_workspace(directory), is_system=is_system).report()
    if output == "table":
        at_boot = {True: "yes", False: "at login", None: "unknown"}[report.starts_at_boot]
        rows = [
            ("Service", report.name),
            ("Manager", report.manager),
            ("Installed", f"yes, {report.file}" if report.is_installed else "no: hostk8s-agent service install"),
            ("Starts", f"at boot: {at_boot}" if report.is_enabled else "by hand"),
            ("State", f"{report.state}{f', since {report.since}' if report.since else ''}"),
            ("Says", report.message or "-"),
            ("Process", str(report.pid or "-")),
            ("Restarts", str(report.restarts)),
        ]
        for line in render_table(("", ""), [[Cell(name), Cell(text)] for name, text in rows], find_screen())[1:]:
            write(line)
    else:
        write_document(render_json(report), output)
    return ExitCode.OK if report.state in RUNNING_STATES else ExitCode.NOT_READY


def show_logs(directory: Path | None, *, lines: int, follows: bool, is_system: bool) -> ExitCode:
    """Become the program that shows the log."""
    command = choose_service(choose_workspace(directory), is_system=is_system).logs_command(
        lines=lines, follows=follows
    )
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell; the words are ours
    except OSError as error:
        say(f"hostk8s-agent: {command[0]} cannot be started: {error.strerror}")
    return ExitCode.ERROR

"""`dump`: a support bundle. What is in it is chosen, and secrets in it are hidden all the same.

No contract, no kubeconfig and no environment as a whole goes into it: what is wrong with them is in the status.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import os
import platform
import subprocess
import sys
import tarfile
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from hostk8s_agent import __version__
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.last_known import load_last_known_status
from hostk8s_agent.cli.output import say, write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.doctor.examining import examine
from hostk8s_agent.errors import AgentError, AgentNotRunningError, SettingsError
from hostk8s_agent.logs import hide_secrets
from hostk8s_agent.service.choosing import choose_service
from hostk8s_agent.settings import find_origins, load_settings
from hostk8s_agent.status.model import render_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.workspace import Workspace

LOG_LINES = 2000
LOG_SECONDS = 20
FILE_MODE = 0o600
# The variables that say where things are; of all others not even the name is told.
TOLD_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "KUBECONFIG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")


class DumpUnwritableError(AgentError):
    """The bundle cannot be written where it should be."""

    code = "DumpUnwritable"


def write_dump(to: Path | None, directory: Path | None) -> ExitCode:
    """Write the bundle, and its path alone to stdout. A part that cannot be had says why in its place."""
    workspace = choose_workspace(directory)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    now = dt.datetime.now(dt.UTC)
    path = to or Path(f"hostk8s-agent-dump-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE) if to is None else _open_given(path)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
            for name, text in collect(workspace).items():
                member = tarfile.TarInfo(f"hostk8s-agent-dump/{name}")
                content = text.encode("utf-8", "backslashreplace")
                member.size, member.mtime, member.mode = len(content), int(now.timestamp()), FILE_MODE
                bundle.addfile(member, io.BytesIO(content))
    except OSError as error:
        raise DumpUnwritableError(
            f"{path} cannot be written: {error.strerror}", hint="name another file with --to FILE"
        ) from error
    write(str(path))
    say("read it before you send it: names of stacks, paths and addresses are in it, secrets are hidden")
    return ExitCode.OK


def collect(workspace: Workspace) -> dict[str, str]:
    """Return the parts by name, each with its secrets hidden."""
    parts: dict[str, Callable[[], Any]] = {
        "about.json": lambda: _describe(workspace),
        "status.json": lambda: _find_status(workspace),
        "history.json": lambda: ControlClient(workspace).history(),
        "doctor.json": lambda: render_json(tuple(examine(workspace))),
        "settings.json": lambda: _find_settings(workspace),
        "service.json": lambda: render_json(choose_service(workspace, is_system=False).report()),
        "log.txt": lambda: _find_log(workspace),
    }
    return {name: _render(part) for name, part in parts.items()}


def _render(part: Callable[[], Any]) -> str:
    try:
        found = part()
    except AgentError as error:
        found = {"problem": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - one part that breaks must not take the others with it
        found = {"fault": f"{type(error).__name__}: {error}"}
    cleaned = hide_secrets(found)
    return cleaned if isinstance(cleaned, str) else json.dumps(cleaned, indent=2) + "\n"


def _describe(workspace: Workspace) -> dict[str, Any]:
    packages = sorted(f"{one.metadata['Name']} {one.version}" for one in distributions())
    return {
        "version": __version__,
        "workspace": str(workspace.root),
        "python": sys.version,
        "system": platform.platform(),
        "uid": os.geteuid(),
        "environment": {name: os.environ[name] for name in TOLD_VARIABLES if name in os.environ},
        "packages": packages,
    }


def _find_status(workspace: Workspace) -> Any:  # noqa: ANN401 - a document
    try:
        return ControlClient(workspace).status()
    except AgentNotRunningError:
        return load_last_known_status(workspace, None)[0]


def _find_settings(workspace: Workspace) -> dict[str, Any]:
    try:
        values = load_settings(workspace).model_dump(mode="json")
    except SettingsError as error:
        return {"problem": error.message}
    origins = find_origins(workspace)
    return {name: {"value": value, "origin": origins[name]} for name, value in values.items()}


def _find_log(workspace: Workspace) -> str:
    command = choose_service(workspace, is_system=False).logs_command(lines=LOG_LINES, follows=False)
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, ours
            command, capture_output=True, text=True, errors="replace", check=False, timeout=LOG_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no log: {error}\n"
    return done.stdout or f"no log: {done.stderr}"


def _open_given(path: Path) -> int:
    """Open a file that the person has named, anew: what stood there, and who could read it, goes."""
    if path.exists() and not path.is_file():
        # A folder; or a device, which root would take from the whole machine.
        raise DumpUnwritableError(f"{path} is not a file", hint="name another file with --to FILE")
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)

"""launchd: a LaunchAgent of the user, one a workspace (launchd.plist(5), launchctl(1))."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from hostk8s_agent.service.errors import ServiceError, ServiceNotInstalledError
from hostk8s_agent.service.installing import (
    MACOS_PATH,
    InstalledFile,
    ServiceReport,
    choose_environment,
    find_owner,
    find_program,
    list_kept_places,
    remove_file,
    write_files,
)
from hostk8s_agent.service.templates import fill_in, read_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.workspace import Workspace

TEMPLATE = "launchd/io.hostk8s.agent.plist"
CONTROL_SECONDS = 90.0

# `state = running` and `pid = 123` in what `launchctl print` says; its output is for people and changes.
_STATE = re.compile(r"^\s*state = (.+)$", re.MULTILINE)
_PID = re.compile(r"^\s*pid = (\d+)$", re.MULTILINE)


def render_plist(
    workspace: Workspace, program: Sequence[str], environment: Mapping[str, str], home: Path
) -> InstalledFile:
    """Return the LaunchAgent of the workspace."""
    label = _label(workspace)
    variables = {**environment, "HOSTK8S_AGENT_WATCHDOG": "exit", "HOSTK8S_AGENT_LOG_FORMAT": "json"}
    values = {
        "LABEL": escape(label),
        "WORKSPACE": escape(str(workspace.root)),
        "LOG": escape(str(_log_file(workspace, home))),
        "ARGUMENTS": "\n".join(
            f"    <string>{escape(word)}</string>" for word in (*program, "run", "--workspace", str(workspace.root))
        ),
        "ENVIRONMENT": "\n".join(
            f"    <key>{escape(name)}</key>\n    <string>{escape(value)}</string>" for name, value in variables.items()
        ),
    }
    return InstalledFile(
        home / "Library/LaunchAgents" / f"{label}.plist", fill_in(read_template(TEMPLATE), values), is_private=True
    )


def _label(workspace: Workspace) -> str:
    return f"io.hostk8s.agent.{workspace.identity}"


def _log_file(workspace: Workspace, home: Path) -> Path:
    return home / "Library/Logs/hostk8s-agent" / f"{workspace.identity}.log"


class LaunchdService:
    """The service of one workspace under launchd."""

    def __init__(
        self, workspace: Workspace, *, is_system: bool = False, environment: Mapping[str, str] = os.environ
    ) -> None:
        if is_system:
            raise ServiceError(
                "--system is for systemd: Docker on macOS belongs to the user who is logged in",
                hint="leave --system out",
            )
        self._workspace = workspace
        self._environment = environment
        self._owner = find_owner(os.geteuid())
        self._domain = f"gui/{self._owner.uid}"
        self._label = _label(workspace)

    def render_files(self) -> tuple[InstalledFile, ...]:
        """Return the property list."""
        environment = choose_environment(self._environment, MACOS_PATH)
        return (render_plist(self._workspace, find_program(), environment, self._owner.home),)

    def install(self) -> tuple[str, ...]:
        """Write the file and load it anew; launchd reads a property list only then."""
        (file,) = self.render_files()
        _log_file(self._workspace, self._owner.home).parent.mkdir(parents=True, exist_ok=True)
        if write_files((file,)) or not self._is_loaded():
            self._unload()
            self._ask("bootstrap", self._domain, str(file.path))
        return (f"installed and started: {self._label}",)

    def uninstall(self) -> tuple[str, ...]:
        """Unload, and remove the file."""
        self._unload()
        remove_file(self._file())
        return (f"stopped and removed: {self._label}", *list_kept_places(self._workspace, self._owner))

    def control(self, verb: str) -> None:
        """Carry out `start`, `stop` or `restart`. A stopped one stays so until the next login or start."""
        if not self._file().exists():
            raise ServiceNotInstalledError(
                f"{self._workspace.root} has no service", hint="install it with: hostk8s-agent service install"
            )
        if verb == "stop":
            self._unload()
        elif not self._is_loaded():
            self._ask("bootstrap", self._domain, str(self._file()))
        elif verb == "restart":
            self._ask("kickstart", "-k", f"{self._domain}/{self._label}")

    def report(self) -> ServiceReport:
        """Return what `launchctl print` says."""
        done = self._run("print", f"{self._domain}/{self._label}")
        state, pid = _STATE.search(done.stdout), _PID.search(done.stdout)
        is_installed = self._file().exists()
        return ServiceReport(
            manager="launchd",
            name=self._label,
            file=str(self._file()),
            is_installed=is_installed,
            is_enabled=is_installed,
            state=state[1] if state else "stopped",
            pid=int(pid[1]) if pid else 0,
            # A LaunchAgent starts at login.
            starts_at_boot=False,
        )

    def logs_command(self, *, lines: int, follows: bool) -> tuple[str, ...]:
        """Return the tail that shows the log."""
        following = ("-F",) if follows else ()
        return ("tail", "-n", str(lines), *following, str(_log_file(self._workspace, self._owner.home)))

    def _file(self) -> Path:
        return self._owner.home / "Library/LaunchAgents" / f"{self._label}.plist"

    def _is_loaded(self) -> bool:
        return self._run("print", f"{self._domain}/{self._label}").returncode == 0

    def _unload(self) -> None:
        # Fails for what is not loaded, which is what was wanted.
        self._run("bootout", f"{self._domain}/{self._label}")

    def _ask(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise ServiceError(
                f"launchctl {' '.join(arguments)} failed: {done.stderr.strip()}",
                hint="log in at the screen: a LaunchAgent needs a session there",
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - a list of words
                ("launchctl", *arguments),  # noqa: S607 - the system's own, wherever it is
                capture_output=True,
                text=True,
                check=False,
                timeout=CONTROL_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            hint = "see whether launchd answers: launchctl list"
            raise ServiceError(f"launchctl failed: {error}", hint=hint) from error

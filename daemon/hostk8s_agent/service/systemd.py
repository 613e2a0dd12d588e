"""systemd: a user unit, or a system unit that runs as the workspace's owner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.service.errors import ServiceError, ServiceManagerMissingError, ServiceNotInstalledError
from hostk8s_agent.service.installing import (
    SYSTEM_PATH,
    ServiceReport,
    choose_environment,
    find_data_folders,
    find_owner,
    find_program,
    list_kept_places,
    remove_file,
    write_files,
)
from hostk8s_agent.service.systemd_files import (
    DROP_IN,
    TEMPLATE,
    render_system_files,
    render_user_files,
    unit_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostk8s_agent.service.installing import InstalledFile
    from hostk8s_agent.workspace import Workspace

_RUNNING_MARK = Path("/run/systemd/system")
SYSTEM_FOLDER = Path("/etc/systemd/system")
# A start waits for READY (TimeoutStartSec of the unit), a stop for what is under way.
CONTROL_SECONDS = 180.0
ASK_SECONDS = 20.0
LOG_LINES = 15

_PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "StatusText",
    "MainPID",
    "ActiveEnterTimestamp",
    "NRestarts",
    "FragmentPath",
)


class SystemdService:
    """The service of one workspace under systemd."""

    def __init__(
        self, workspace: Workspace, *, is_system: bool = False, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._workspace = workspace
        self._is_system = is_system
        self._environment = environment
        self._owner = find_owner(workspace.root.stat().st_uid if is_system else os.geteuid())
        self._unit = unit_name(workspace)
        self._folder = SYSTEM_FOLDER if is_system else self._find_user_folder()

    def render_files(self) -> tuple[InstalledFile, ...]:
        """Return the template and the drop-in."""
        program, environment = find_program(), choose_environment(self._environment, SYSTEM_PATH, self._owner)
        if self._is_system:
            return render_system_files(self._folder, self._workspace, program, environment, self._owner)
        return render_user_files(self._folder, self._workspace, program, environment)

    def install(self) -> tuple[str, ...]:
        """Write the files and start the service; one that runs is restarted when a file has changed."""
        self._require_manager()
        if self._is_system:
            self._make_data_folders()
        is_changed = write_files(self.render_files())
        self._ask("daemon-reload")
        self._ask("enable", self._unit)
        self.control("restart" if is_changed else "start")
        return (f"installed and started: {self._unit}", *self._describe_boot())

    def uninstall(self) -> tuple[str, ...]:
        """Disable and stop; the template goes with its last instance."""
        self._require_manager()
        if self._drop_in().exists():
            self._ask("disable", "--now", self._unit, seconds=CONTROL_SECONDS)
            remove_file(self._drop_in())
            if not any(self._folder.glob(f"hostk8s-agent@*.service.d/{DROP_IN}")):
                remove_file(self._folder / TEMPLATE)
            self._ask("daemon-reload")
            # Only what has failed can be reset, and whether it has is of no interest.
            self._run("reset-failed", self._unit)
            told = f"stopped and removed: {self._unit}"
        else:
            told = f"was not installed: {self._unit}"
        return (told, *list_kept_places(self._workspace, self._owner))

    def control(self, verb: str) -> None:
        """Carry out `start`, `stop` or `restart`."""
        self._require_manager()
        if not self._drop_in().exists():
            raise ServiceNotInstalledError(
                f"{self._workspace.root} has no service", hint="install it with: hostk8s-agent service install"
            )
        if verb != "stop":
            # A unit that has failed too often is refused until this is forgotten; a person who asks has a reason.
            self._run("reset-failed", self._unit)
        done = self._run(verb, self._unit, seconds=CONTROL_SECONDS)
        if done.returncode != 0:
            raise ServiceError(
                f"systemctl {verb} {self._unit} failed: {_last_line(done.stderr)}{self._find_last_words()}",
                hint=f"see {' '.join(self.logs_command(lines=50, follows=False))}",
            )

    def report(self) -> ServiceReport:
        """Return what `systemctl show` says."""
        self._require_manager()
        done = self._run("show", self._unit, "--property", ",".join(_PROPERTIES))
        said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return ServiceReport(
            manager="systemd" if self._is_system else "systemd --user",
            name=self._unit,
            file=said.get("FragmentPath", ""),
            is_installed=self._drop_in().exists(),
            is_enabled=said.get("UnitFileState", "") == "enabled",
            state=said.get("ActiveState", ""),
            message=said.get("StatusText", ""),
            pid=int(said.get("MainPID") or 0),
            since=said.get("ActiveEnterTimestamp", ""),
            restarts=int(said.get("NRestarts") or 0),
            starts_at_boot=True if self._is_system else self.find_lingering(),
        )

    def logs_command(self, *, lines: int, follows: bool) -> tuple[str, ...]:
        """Return the journalctl that shows the unit's log."""
        scope = () if self._is_system else ("--user",)
        following = ("--follow",) if follows else ("--no-pager",)
        return ("journalctl", *scope, "--unit", self._unit, "--lines", str(lines), *following)

    def find_lingering(self) -> bool | None:
        """Whether the user's services start with the machine, and outlive the last logout; None when unknown."""
        program = shutil.which("loginctl")
        if program is None:
            return None
        done = _run_program((program, "show-user", self._owner.name, "--property=Linger", "--value"), ASK_SECONDS)
        # A user who has never logged in, and does not linger, is not known at all.
        return done.stdout.strip() == "yes"

    def _describe_boot(self) -> tuple[str, ...]:
        if self._is_system or self.find_lingering():
            return ()
        return (
            "it starts when you log in and ends when you log out",
            f"to have it run from boot on, while nobody is logged in too: loginctl enable-linger {self._owner.name}",
        )

    def _find_user_folder(self) -> Path:
        """Where the user's manager looks for units: by its own XDG_CONFIG_HOME, which a shell's need not be."""
        default = self._owner.home / ".config"
        if _RUNNING_MARK.is_dir() and (done := self._run("show-environment")).returncode == 0:
            said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
            # Odd values are shown as a shell would take them.
            given = said.get("XDG_CONFIG_HOME", "").removeprefix("$'").removesuffix("'")
            return Path(given or default) / "systemd/user"
        return Path(self._environment.get("XDG_CONFIG_HOME") or default) / "systemd/user"

    def _drop_in(self) -> Path:
        return self._folder / f"{self._unit}.d" / DROP_IN

    def _make_data_folders(self) -> None:
        """Make what the unit binds, as the owner's: a bind to what is not there would keep it from starting."""
        for folder in find_data_folders(self._owner):
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            for one in reversed(missing):
                one.mkdir(mode=0o700)
                os.chown(one, self._owner.uid, self._owner.gid)

    def _require_manager(self) -> None:
        # sd_booted(3): a container has systemctl and no systemd.
        if shutil.which("systemctl") is None or not _RUNNING_MARK.is_dir():
            raise ServiceManagerMissingError(
                "there is no systemd on this machine", hint="run the agent by hand: hostk8s-agent run"
            )
        if self._is_system and os.geteuid() != 0:
            raise ServiceError("a system service needs root", hint="use sudo, or leave --system out")
        done = self._run("is-system-running")
        # It also says `degraded`, `starting`, ...: any answer is one. `offline` is systemctl's own for none.
        if done.stdout.strip() in {"", "offline"}:
            reason = f": {_last_line(done.stderr)}" if done.stderr.strip() else ""
            raise ServiceManagerMissingError(
                f"systemd{'' if self._is_system else ' of this user'} does not answer{reason}",
                hint="log in as the user itself (sudo and su give no session), or use --system as root",
            )

    def _find_last_words(self) -> str:
        """What the service itself said last, which tells more than systemctl does."""
        done = _run_program((*self.logs_command(lines=LOG_LINES, follows=False), "--output=cat"), ASK_SECONDS)
        own = [line for line in done.stdout.splitlines() if line.startswith("hostk8s-agent:")]
        return f" ({own[-1]})" if own else ""

    def _ask(self, *arguments: str, seconds: float = ASK_SECONDS) -> None:
        done = self._run(*arguments, seconds=seconds)
        if done.returncode != 0:
            raise ServiceError(
                f"systemctl {' '.join(arguments)} failed: {_last_line(done.stderr)}",
                hint="see systemctl status, and the journal",
            )

    def _run(self, *arguments: str, seconds: float = ASK_SECONDS) -> subprocess.CompletedProcess[str]:
        return _run_program(("systemctl", *(() if self._is_system else ("--user",)), *arguments), seconds)


def _run_program(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        # No shell; C.UTF-8 because the words of another language would be nobody's.
        return subprocess.run(  # noqa: S603 - a list of words, the first ours
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "see whether systemd is well: systemctl status"
        raise ServiceError(f"{command[0]} failed: {error}", hint=hint) from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"

"""What every service manager has in common: the files, what they are made from, and writing them."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hostk8s_agent.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.workspace import Workspace

# In the order in which a person would look; none of it comes from a login shell, which a service does not have.
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
MACOS_PATH = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")

# What is taken over from the environment of whoever installs, because it says where Docker and the cluster are.
KEPT_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "KUBECONFIG")
# Where the commands of whoever installs look for state, snapshots and settings: the service must look there too.
_KEPT_FOLDERS = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
_KEPT_PREFIX = "HOSTK8S_AGENT_"


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of the service, whole. A private one is its owner's alone."""

    path: Path
    text: str
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose agent it is: the user as whom it runs."""

    uid: int
    gid: int
    name: str
    home: Path


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """How the service is, as the manager says. Texts are empty where it says nothing.

    `state` is `active`, `inactive`, `failed`, `activating`, ... (systemd) or `running`, `stopped` (launchd).
    `starts_at_boot` is None where it cannot be told.
    """

    manager: str
    name: str
    file: str
    is_installed: bool
    is_enabled: bool
    state: str
    message: str = ""
    pid: int = 0
    since: str = ""
    restarts: int = 0
    starts_at_boot: bool | None = None


class ServiceManager(Protocol):
    """systemd or launchd, for the service of one workspace. Every call may raise a `ServiceError`."""

    def render_files(self) -> tuple[InstalledFile, ...]:
        """Return the files that an installation writes."""

    def install(self) -> tuple[str, ...]:
        """Write the files, and have the service run now and at each start; return what a person should be told."""

    def uninstall(self) -> tuple[str, ...]:
        """Stop the service and remove its files; return what a person should be told. Data stays."""

    def control(self, verb: str) -> None:
        """Carry out `start`, `stop` or `restart`; returns when it is done."""

    def report(self) -> ServiceReport:
        """Return how the service is."""

    def logs_command(self, *, lines: int, follows: bool) -> tuple[str, ...]:
        """Return the command that shows the service's log."""


def find_program() -> tuple[str, ...]:
    """Return the command that starts us, absolute: what was installed, not where that link leads today."""
    started_as = shutil.which(sys.argv[0]) if sys.argv and sys.argv[0] else None
    if started_as and Path(started_as).name == "hostk8s-agent":
        return (str(Path(started_as).absolute()),)
    beside = Path(sys.executable).with_name("hostk8s-agent")
    return (str(beside),) if beside.exists() else (sys.executable, "-m", "hostk8s_agent")


def find_owner(uid: int) -> Owner:
    """Return the user of this id. Raises `ServiceError` when the system does not know it."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise ServiceError(
            f"the system knows no user with the id {uid}", hint="give the workspace to a user who exists: chown"
        ) from error
    return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name, Path(entry.pw_dir))


def choose_environment(
    environment: Mapping[str, str], base_path: Iterable[str], owner: Owner | None = None
) -> dict[str, str]:
    """Return the variables that the service gets, from those of whoever installs it.

    With an owner the XDG folders are among them, unless it is somebody else who installs.

    PATH is the system's, with the folder of the docker client before it where that is elsewhere (kubeconfigs may name
    programs that give credentials, and these are found like it).
    """
    folders = list(base_path)
    for program in ("docker", "kubectl"):
        found = shutil.which(program, path=environment.get("PATH"))
        folder = str(Path(found).absolute().parent) if found else ""
        if folder and folder not in folders:
            folders.append(folder)
    names = {*KEPT_VARIABLES, *(_KEPT_FOLDERS if owner is not None and owner.uid == os.geteuid() else ())}
    kept = {
        name: value for name, value in environment.items() if value and (name in names or name.startswith(_KEPT_PREFIX))
    }
    kept.pop("HOSTK8S_AGENT_LOG_FORMAT", None)
    return {"PATH": ":".join(folders), **dict(sorted(kept.items()))}


def write_files(files: Iterable[InstalledFile]) -> bool:
    """Write those that differ, each at once by renaming; return whether any did. Raises `ServiceError`."""
    is_changed = False
    for file in files:
        mode = 0o600 if file.is_private else 0o644
        try:
            if file.path.is_file() and file.path.read_text(encoding="utf-8", errors="replace") == file.text:
                file.path.chmod(mode)
                continue
            file.path.parent.mkdir(parents=True, exist_ok=True)
            beside = file.path.with_name(f".{file.path.name}.new")
            beside.unlink(missing_ok=True)
            beside.touch(mode=0o600, exist_ok=False)
            beside.write_text(file.text, encoding="utf-8")
            beside.chmod(mode)
            beside.replace(file.path)
        except OSError as error:
            raise ServiceError(
                f"{file.path} cannot be written ({error.strerror})", hint="a system service needs root: use sudo"
            ) from error
        is_changed = True
    return is_changed


def remove_file(path: Path) -> None:
    """Remove a file, and its folder where that is empty then. Raises `ServiceError`."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.name.endswith(".service.d") and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise ServiceError(
            f"{path} cannot be removed ({error.strerror})", hint="a system service needs root: use sudo"
        ) from error


def list_kept_places(workspace: Workspace, owner: Owner) -> tuple[str, ...]:
    """Return what an uninstallation leaves, a line each."""
    if sys.platform == "darwin":
        places = {"state, snapshots, settings": owner.home / "Library/Application Support/hostk8s-agent"}
    else:
        places = {
            "state": _find_base("XDG_STATE_HOME", owner, ".local/state") / workspace.identity,
            "snapshots": _find_base("XDG_DATA_HOME", owner, ".local/share") / workspace.identity,
            "settings": _find_base("XDG_CONFIG_HOME", owner, ".config"),
        }
    kept = [f"{what}: {place}" for what, place in places.items() if place.exists()]
    return ("left as it is: the Docker volume, the cluster's objects, the workspace's data/", *kept)


def find_data_folders(owner: Owner) -> tuple[Path, ...]:
    """Return the agent's own folders in the owner's home: those for state, snapshots and settings."""
    return (
        _find_base("XDG_STATE_HOME", owner, ".local/state"),
        _find_base("XDG_DATA_HOME", owner, ".local/share"),
        _find_base("XDG_CONFIG_HOME", owner, ".config"),
    )


def _find_base(variable: str, owner: Owner, default: str) -> Path:
    # Root's variables say nothing about somebody else's folders.
    given = os.environ.get(variable) if owner.uid == os.geteuid() else None
    return Path(given or owner.home / default) / "hostk8s-agent"

"""Where everything of one workspace is: a HostK8s checkout, and the agent's own folders for it.

Only the standard library is imported here: `hostk8s-agent status` must start fast.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.errors import Problem, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.errors import Problem

CONTRACT_FILE_NAME = "hostk8s.storage.yaml"
STACKS_FOLDER = Path("software/stacks")
DEFAULT_CLUSTER_NAME = "hostk8s"
# A path that is longer is a slip, and nobody needs to read all of it.
MAX_SHOWN_CHARACTERS = 200
DEFAULT_KUBECONFIG = Path("data/kubeconfig/config")

# HostK8s' .env is read by make and by python-dotenv: NAME=value, an optional export, optional quotes, comments.
_ENV_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Workspace:
    """One HostK8s checkout. `root` is absolute, with symbolic links resolved."""

    root: Path

    @property
    def stacks_root(self) -> Path:
        """The folder below which each stack has its contract."""
        return self.root / STACKS_FOLDER

    @property
    def identity(self) -> str:
        """A name for the agent's folders: the checkout's name and a short hash of its path."""
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.root.name) or "workspace"
        return f"{name[:40]}-{digest}"

    def contract_path(self, stack: str) -> Path:
        """The contract file of a stack (which need not exist)."""
        return self.stacks_root / stack / CONTRACT_FILE_NAME

    def relative(self, path: Path) -> str:
        """A path as people are shown it: relative to the workspace where it lies in it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def shorten(self, problem: Problem) -> Problem:
        """The problem with its file as people are shown it."""
        return replace(problem, file=self.relative(Path(problem.file))) if problem.file else problem


def find_workspace(start: Path) -> Workspace:
    """Return the workspace that `start` lies in: the nearest folder upwards that holds `software/stacks`.

    Where none does, the nearest one in which an agent has run before: its stacks folder may be gone for now.
    Raises `WorkspaceError` when there is neither up to the root of the file system.
    """
    resolved = start.resolve()
    upwards = [Workspace(folder) for folder in (resolved, *resolved.parents)]
    for workspace in upwards:
        if workspace.stacks_root.is_dir():
            return workspace
    for workspace in upwards:
        if state_folder(workspace).is_dir():
            return workspace
    raise WorkspaceError(
        f"no workspace here: neither {resolved} nor a folder above it holds {STACKS_FOLDER}/",
        hint="change into a HostK8s checkout, or name one with --workspace DIR",
    )


def open_workspace(directory: Path) -> Workspace:
    """Return the workspace at `directory`, which must exist; its `software/stacks` may come later."""
    reason = "is not a folder"
    try:
        resolved = directory.resolve()
        if resolved.is_dir():
            return Workspace(resolved)
    except OSError as error:
        # A name that is too long, a folder above it that is not ours to look into.
        reason = f"cannot be used: {error.strerror}"
    except RuntimeError:
        reason = "cannot be used: its symbolic links lead in a circle"
    shown = (
        str(directory) if len(str(directory)) <= MAX_SHOWN_CHARACTERS else f"{str(directory)[:MAX_SHOWN_CHARACTERS]}..."
    )
    raise WorkspaceError(
        f"the workspace {shown} {reason}", hint="name an existing HostK8s checkout with --workspace DIR"
    )


def read_environment_file(workspace: Workspace) -> dict[str, str]:
    """Return the variables of the workspace's `.env`; empty when there is none or it cannot be read."""
    try:
        text = (workspace.root / ".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _ENV_LINE.match(line):
            found[match[1]] = _unquote(match[2])
    return found


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":  # noqa: PLR2004 - a pair of quotes
        return value[1:-1]
    return value.split(" #", 1)[0].rstrip()


def find_home() -> Path:
    """Return the user's home folder. Raises `WorkspaceError` for a user who has none: no HOME, no entry in passwd."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise WorkspaceError("it cannot be told where your home folder is", hint="set HOME to it") from error


def state_folder(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the inventory, the history and the last known state are kept; not made by this call.

    `$STATE_DIRECTORY` is systemd's (systemd.exec(5), StateDirectory=), else the platform's own place.
    """
    if given := environment.get("STATE_DIRECTORY"):
        base = Path(given.split(":", 1)[0])
    elif sys.platform == "darwin":
        base = find_home() / "Library/Application Support/hostk8s-agent/state"
    else:
        default = find_home() / ".local/state"
        base = Path(environment.get("XDG_STATE_HOME") or default) / "hostk8s-agent"
    return base / workspace.identity


def data_folder(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> Path:
    """Where what must outlive the workspace is kept: its snapshots; not made by this call.

    Outside the workspace, because HostK8s' `make clean` removes its `data/` and the volume in one go.
    """
    if given := environment.get("STATE_DIRECTORY"):
        base = Path(given.split(":", 1)[0])
    elif sys.platform == "darwin":
        base = find_home() / "Library/Application Support/hostk8s-agent/data"
    else:
        default = find_home() / ".local/share"
        base = Path(environment.get("XDG_DATA_HOME") or default) / "hostk8s-agent"
    return base / workspace.identity


def runtime_folders(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where the agent's socket may be, the preferred folder first; not made by this call.

    An agent run as a system service and a command run by its user can see different `$XDG_RUNTIME_DIR`s,
    so that a client looks in all of them.
    """
    bases: list[Path] = []
    if of_service := environment.get("RUNTIME_DIRECTORY"):
        # systemd's, of the system unit: systemd.exec(5), RuntimeDirectory=.
        bases.append(Path(of_service.split(":", 1)[0]))
    if given := environment.get("XDG_RUNTIME_DIR"):
        bases.append(Path(given) / "hostk8s-agent")
    if os.geteuid() == 0 and sys.platform != "darwin":
        bases.append(Path("/run/hostk8s-agent"))
    elif not bases:
        import tempfile  # noqa: PLC0415 - its import is a tenth of the time of `status`, and seldom needed

        bases.append(Path(tempfile.gettempdir()) / f"hostk8s-agent-{os.geteuid()}")
    return tuple(base / workspace.identity for base in bases)

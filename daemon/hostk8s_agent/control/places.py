"""Where the control socket is: one a workspace, in a folder that is nobody else's.

Only the standard library is imported here: `hostk8s-agent status` must start fast.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.control.errors import ControlSocketError
from hostk8s_agent.workspace import Workspace, runtime_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOCKET_NAME = "agent.sock"
FOLDER_MODE = 0o700
SOCKET_MODE = 0o600

# sockaddr_un.sun_path less the closing NUL: unix(7) on Linux, sys/un.h on macOS and the BSDs.
MAX_ADDRESS_BYTES = 107 if sys.platform == "linux" else 103


def find_socket_paths(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where the workspace's socket may be, the preferred place first. The agent binds the first one.

    The others are for an agent that was started with another environment than the client's: by cron or over ssh there
    is no `$XDG_RUNTIME_DIR`, in a session there is (systemd's is `/run/user/<uid>`, pam_systemd(8)).
    """
    folders = (
        *runtime_folders(workspace, environment),
        Path(f"/run/user/{os.geteuid()}/hostk8s-agent/{workspace.identity}"),
        # Of an agent that runs as a system service: RuntimeDirectory= of its unit.
        Path(f"/run/hostk8s-agent-{os.geteuid()}/{workspace.identity}"),
        *runtime_folders(workspace, {}),
    )
    return tuple(folder / SOCKET_NAME for folder in dict.fromkeys(folders))


def find_place(path: Path) -> Path:
    """Return where the socket meant for `path` really is, the same for every process of the user.

    That is `path`, but for one beyond the kernel's limit on systems where nothing but a shorter path helps: on
    macOS the usual temporary folder alone takes half of the limit. The stand-in's name ends in a hash of the
    workspace's path (`Workspace.identity`), which tells workspaces apart.
    """
    if _fits(path) or sys.platform == "linux":
        return path
    digest = path.parent.name[-8:]
    return Path("/tmp") / f"hostk8s-agent-{os.geteuid()}" / digest / path.name  # noqa: S108 - made ours, and checked


@contextmanager
def open_address(place: Path) -> Iterator[str]:
    """Give, for as long as the block runs, an address by which `place` can be bound and connected.

    A path beyond the kernel's limit is reached through its folder's descriptor (proc(5), `/proc/self/fd`).
    Raises `FileNotFoundError` when such a path's folder does not exist, `ControlSocketError` when no address fits.
    """
    if _fits(place):
        yield str(place)
        return
    if sys.platform != "linux":
        raise ControlSocketError(
            f"the path of the control socket is too long: {place}", hint="set XDG_RUNTIME_DIR to a shorter folder"
        )
    descriptor = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{place.name}"
    finally:
        os.close(descriptor)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_ADDRESS_BYTES


def make_private_folder(folder: Path) -> None:
    """Make the folder and its parent ours alone (0700). Raises `ControlSocketError` where they are not.

    The parent too, because who owns it could put another folder in our folder's place.
    """
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for one in (folder.parent, folder):
            one.mkdir(mode=FOLDER_MODE, exist_ok=True)
            _require_ours(one)
    except OSError as error:
        raise ControlSocketError(
            f"the folder of the control socket cannot be made: {folder} ({error.strerror})",
            hint="set XDG_RUNTIME_DIR to a folder of your own",
        ) from error


def _require_ours(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ControlSocketError(
            f"{folder} is somebody else's, or no folder: whoever made it could answer in the agent's place",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        )
    if stat.S_IMODE(status.st_mode) != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)

"""The folders that HostK8s keeps in the workspace: made when they are missing, and put right when they drift.

Which ones is data, in `volume.mapping.NODE_MOUNTS`. No symbolic link below the workspace is followed, and nothing in
the folders is looked at. On a file share (macOS, Windows, a network) owner and mode are the other machine's, and are
never set there.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import Problem
from hostk8s_agent.volume.mapping import NODE_MOUNTS, NodeMount
from hostk8s_agent.watch.filesystem import find_filesystem_type, has_native_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path, PurePosixPath

log = structlog.get_logger()

MADE = "host_folder.made"
REPAIRED = "host_folder.repaired"

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_MODE = 0o755
_OWNER_ACCESS = 0o700
_PERMISSION_BITS = 0o7777


def is_file_share(folder: Path) -> bool:
    """Whether owners and modes below a folder are another machine's, or an emulation of them."""
    return sys.platform == "darwin" or not has_native_events(find_filesystem_type(folder))


class HostFolders:
    """Looks after the folders of one workspace. `start` and `stop` once each; the rest from any thread."""

    def __init__(
        self,
        root: Path,
        *,
        with_deprecated: bool,
        interval_seconds: float,
        is_share: Callable[[Path], bool] = is_file_share,
    ) -> None:
        """Remember what is to be there; nothing is made yet. `root` is the workspace's, and is never made."""
        self._root = root
        self._is_share = is_share
        self._mounts = [one for one in NODE_MOUNTS if one.host_folder and (with_deprecated or not one.is_deprecated)]
        self._interval_seconds = interval_seconds
        self._problems: tuple[Problem, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-folders", daemon=True)

    def start(self) -> None:
        """Begin to look after them."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def problems(self) -> tuple[Problem, ...]:
        """What could not be put right at the last look."""
        return self._problems

    def ensure(self) -> None:
        """Make what is missing, and put right what differs; what cannot be becomes a problem."""
        self._problems = tuple(filter(None, (self._ensure(one) for one in self._mounts)))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.ensure()
            self._stopping.wait(self._interval_seconds)

    def _ensure(self, mount: NodeMount) -> Problem | None:
        folder = mount.host_folder
        assert folder is not None  # noqa: S101 - chosen in the constructor
        try:
            current = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None  # the workspace itself is away: the watch tells it
        try:
            owner = os.fstat(current)
            for name in folder.parts:
                following = self._open_or_make(current, name, owner, folder)
                os.close(current)
                current = following
            self._repair(current, mount, owner)
        except OSError as error:
            return _explain(folder, error)
        finally:
            os.close(current)
        return None

    def _open_or_make(self, parent: int, name: str, owner: os.stat_result, folder: PurePosixPath) -> int:
        with suppress(FileNotFoundError):
            return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        with suppress(FileExistsError):
            os.mkdir(name, _NEW_MODE, dir_fd=parent)
            log.info(MADE, folder=str(folder))
        made = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        self._give(made, owner)
        return made

    def _repair(self, descriptor: int, mount: NodeMount, owner: os.stat_result) -> None:
        if self._is_share(self._root):
            return
        self._give(descriptor, owner)
        mode = os.fstat(descriptor).st_mode & _PERMISSION_BITS
        wanted = mode | _OWNER_ACCESS if mount.mode is None else mount.mode
        if mode != wanted:
            os.fchmod(descriptor, wanted)
            log.info(REPAIRED, folder=str(mount.host_folder), mode=f"{wanted:o}", former=f"{mode:o}")

    def _give(self, descriptor: int, owner: os.stat_result) -> None:
        """Give root's folder to the workspace's owner; every other owner was chosen by someone, a database perhaps.

        Docker makes the missing source of a mount, as root's, and so does an agent that runs as root.
        """
        if os.geteuid() != 0 or os.fstat(descriptor).st_uid != 0 or self._is_share(self._root):
            return
        if owner.st_uid != 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _explain(folder: PurePosixPath, error: OSError) -> Problem:
    return Problem(
        "HostFolderObstructed",
        f"the folder {folder} of the workspace cannot be made or used ({error.strerror}); it is left as it is",
        f"look what stands at {folder}, and move it away: a symbolic link is not followed there",
    )

"""One agent a workspace: a lock that dies with its process, and that nothing in the workspace can free.

What is locked is the workspace's root folder itself, by flock(2) on a descriptor of it: `make clean` removes
`data/` and frees nothing, and an agent of another user, or with other XDG folders, meets the same lock. The
lock file in the state folder is locked too. It tells who holds the workspace, stands in on file systems that
refuse flock on a folder (NFS), and excludes a second agent when the workspace was removed and checked out anew
at the same path, and so has another inode.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING, NoReturn, Self

from hostk8s_agent.control.holders import Holder, describe_ourselves, find_holder, is_locked, render_words
from hostk8s_agent.errors import AgentAlreadyRunningError, WorkspaceError
from hostk8s_agent.workspace import Workspace, state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

LOCK_FILE_NAME = "agent.lock"

# flock(2): somebody else has it. POSIX lets an implementation choose either.
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


class WorkspaceLock:
    """The right to be the workspace's agent. Not thread-safe; also a context manager, which acquires and releases.

    A lock ends with its process however that ends, so that no stale one is ever left.
    """

    def __init__(self, workspace: Workspace, environment: Mapping[str, str] = os.environ) -> None:
        self._workspace = workspace
        self._file = state_folder(workspace, environment) / LOCK_FILE_NAME
        self._descriptors: list[int] = []
        self._words: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise `AgentAlreadyRunningError` at once, saying who holds it.

        Raises `WorkspaceError` when neither the root folder nor the state folder can be locked.
        """
        try:
            is_root_locked = self._lock(self._workspace.root, os.O_RDONLY | os.O_DIRECTORY)
            self._make_state_folder(is_needed=not is_root_locked)
            is_file_locked = self._lock(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
            if not (is_root_locked or is_file_locked):
                self._refuse_unlockable()
            if is_file_locked:
                self._words = self._descriptors[-1]
                _write_words(self._words, render_words(describe_ourselves()))
        except BaseException:
            self._close()
            raise

    def release(self) -> None:
        """Give the lock back. Idempotent. The file stays: removing a lock file is a race that two can win."""
        if self._words is not None:
            _write_words(self._words, b"")
        self._close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lock(self, path: Path, flags: int) -> bool:
        """Lock one path; return whether it can be locked at all."""
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = find_holder(os.fstat(descriptor), self._file)
            os.close(descriptor)
            if error.errno in _HELD:
                raise self._already_running(holder) from error
            return False
        self._descriptors.append(descriptor)
        return True

    def _already_running(self, holder: Holder) -> AgentAlreadyRunningError:
        stop = f"kill {holder.pid}" if holder.pid else "stop it where it was started"
        return AgentAlreadyRunningError(
            f"an agent runs already for {self._workspace.root}: {holder}",
            hint=f"hostk8s-agent status shows what it does; to stop it: {stop}",
        )

    def _refuse_unlockable(self) -> NoReturn:
        raise WorkspaceError(
            f"the workspace {self._workspace.root} cannot be locked: neither it nor {self._file} takes a lock",
            hint="keep the workspace, or $XDG_STATE_HOME, on a file system that supports flock",
        )

    def _make_state_folder(self, *, is_needed: bool) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            if is_needed:
                raise WorkspaceError(
                    f"the state folder cannot be made: {self._file.parent} ({error.strerror})",
                    hint="set XDG_STATE_HOME to a folder that you may write to",
                ) from error

    def _close(self) -> None:
        self._words = None
        while self._descriptors:
            os.close(self._descriptors.pop())


def find_lock_holder(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> Holder | None:
    """Return who holds the workspace, None when nobody does or it cannot be told. Touches no lock.

    Taking the lock to see whether it is free would make an agent that starts in that moment refuse to.
    """
    try:
        locked = workspace.root.stat()
    except OSError:
        return None
    holder = find_holder(locked, state_folder(workspace, environment) / LOCK_FILE_NAME)
    return holder if is_locked(locked) else None


def _write_words(descriptor: int, words: bytes) -> None:
    # The lock holds without them: a full disk neither keeps the agent from its work nor from its end.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, words, 0)

"""One process at a time changes a repository: a lock that names its holder, and that ends with its process.

The lock is flock(2) on a file in the repository: the kernel frees it when its holder dies, however that happens, so
that taking it over from the dead is simply taking it. The words in the file say who holds it, where and since when.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hostk8s_agent.snapshot.durable import written
from hostk8s_agent.snapshot.errors import RepositoryLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_FILE_NAME = "lock"
_RETRY_SECONDS = 0.05
_MAX_WORDS_BYTES = 4096


class RepositoryLock:
    """The right to change a repository. Threads of one process wait for each other here as processes do."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE_NAME
        self._ours = threading.RLock()
        self._depth = 0
        self._descriptor = -1

    @contextmanager
    def held(
        self, purpose: str, *, wait_seconds: float, is_stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Hold the lock for a block; a block in it may ask again. Raises `RepositoryLockedError` after the wait.

        Another process is not waited for any longer once `is_stopping` says so.

        `purpose` is what a person is told that the holder does, for instance `create a snapshot of sample`.
        """
        deadline = time.monotonic() + wait_seconds
        if not self._ours.acquire(timeout=max(0.0, wait_seconds)):
            raise self._build_error()
        try:
            if self._depth == 0:
                self._descriptor = self._lock_file(purpose, deadline, is_stopping)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._unlock_file()
        finally:
            self._ours.release()

    def wait_until_free(self, wait_seconds: float) -> bool:
        """Wait until no thread of this process holds the lock; return whether that came about."""
        is_free = self._ours.acquire(timeout=wait_seconds)
        if is_free:
            self._ours.release()
        return is_free

    def _lock_file(self, purpose: str, deadline: float, is_stopping: Callable[[], bool]) -> int:
        with written(f"lock {self._path.parent}"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if time.monotonic() > deadline or is_stopping():
                        os.close(descriptor)
                        raise self._build_error() from error
                    time.sleep(_RETRY_SECONDS)
                except BaseException:
                    os.close(descriptor)
                    raise
                else:
                    _write_words(descriptor, _describe_ourselves(purpose))
                    return descriptor

    def _unlock_file(self) -> None:
        # The file stays: removing a lock file is a race that two can win.
        descriptor, self._descriptor = self._descriptor, -1
        try:
            # Words that stay are those of nobody: the lock itself is what counts.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _build_error(self) -> RepositoryLockedError:
        holder = describe_holder(self._path)
        return RepositoryLockedError(
            f"the snapshot repository {self._path.parent} is in use: {holder}",
            hint="try again when that is done; a lock of a process that has died is taken over by itself",
        )


def describe_holder(path: Path) -> str:
    """Return who holds the lock, in words, with the lock's age."""
    try:
        words: dict[str, Any] = json.loads(path.read_bytes()[:_MAX_WORDS_BYTES])
        since = datetime.fromisoformat(words["since"])
        age = int((datetime.now(UTC) - since).total_seconds())
        return f"process {int(words['pid'])} on {words['host']} has been at it for {age} s, to {words['purpose']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "by a process that has not said who it is"


def _describe_ourselves(purpose: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    words = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "purpose": purpose}
    return json.dumps(words).encode() + b"\n"


def _write_words(descriptor: int, words: bytes) -> None:
    os.ftruncate(descriptor, 0)
    # The kernel holds the lock, with words and without: whoever makes space on a full disk must come in.
    with suppress(OSError):
        os.pwrite(descriptor, words, 0)

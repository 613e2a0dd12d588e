"""The canary: a file written on purpose, whose event shows that events arrive at all."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import threading

CANARY_PREFIX = ".hostk8s-agent-canary-"
_WAIT_SECONDS = 1.0
# A busy machine can be late once; three seconds of silence is no load.
_ATTEMPTS = 3
_STALE_SECONDS = 10.0

CanaryState = Literal["waiting", "seen", "silent", "unwritable"]


class Canary:
    """Writes a hidden file into the stacks folder and removes it at once, up to three times a second apart.

    `waiting` turns into `seen` when the event arrives and into `silent` when none did; a folder that we may
    not write to is `unwritable`: nothing is known, and nothing need be done.
    """

    def __init__(self, folder: Path, seen: threading.Event) -> None:
        """Take the stacks folder and the flag that the event sets; it is cleared here."""
        self._folder = folder
        self._seen = seen
        self._seen.clear()
        self._attempts = 0
        self._deadline = 0.0
        self._is_unwritable = False

    def advance(self, now: float) -> CanaryState:
        """Write the next canary when it is time, and say how things stand. `now` is monotonic seconds."""
        if self._seen.is_set():
            return "seen"
        if self._is_unwritable:
            return "unwritable"
        if now < self._deadline:
            return "waiting"
        if self._attempts >= _ATTEMPTS:
            return "silent"
        self._attempts += 1
        self._deadline = now + _WAIT_SECONDS
        try:
            self._write()
        except OSError:
            self._is_unwritable = True
            return "unwritable"
        return "waiting"

    def _write(self) -> None:
        path = self._folder / f"{CANARY_PREFIX}{os.getpid()}"
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(path, flags, 0o600))
        finally:
            path.unlink(missing_ok=True)


def remove_stale_canaries(folder: Path) -> None:
    """Remove what an agent that was killed between writing and removing left behind. Never raises OSError."""
    oldest = time.time() - _STALE_SECONDS
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(CANARY_PREFIX) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        Path(entry.path).unlink()

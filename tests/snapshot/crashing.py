"""One request about snapshots in a process that dies, or whose system calls fail, at the Nth of them.

    python crashing.py FOLDER create|restore|forget N KILL|ENOSPC|EIO|EROFS

What is counted are the calls of the process itself that change something: open for writing, write, sync, rename,
unlink, mkdir, truncate, and the two that rename directories. It ends with 0 when there was no Nth, with 3 when the
request failed, with 4 when it was done all the same.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.snapshot.conftest import Ground

from hostk8s_agent.errors import AgentError
from hostk8s_agent.logs import configure_logging
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.volume import renaming

COUNTED = ("write", "pwrite", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "link")
REQUEST_FAILED = 3
DONE_ALL_THE_SAME = 4


class Fault:
    """Strikes before the Nth call that is counted."""

    def __init__(self, number: int, kind: str) -> None:
        self._left = number
        self._kind = kind

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, counted."""

        def counted(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.strike()
            return call(*arguments, **named)

        return counted

    def around_open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same, for those that open something to be written."""
        counted = self.around(call)

        def choose(path: Any, flags: int, *arguments: Any, **named: Any) -> Any:
            return (counted if flags & (os.O_WRONLY | os.O_RDWR) else call)(path, flags, *arguments, **named)

        return choose

    @property
    def has_struck(self) -> bool:
        """Whether there was an Nth call."""
        return self._left <= 0

    def strike(self) -> None:
        """Die, or fail."""
        if self._kind == "KILL":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(getattr(errno, self._kind), os.strerror(getattr(errno, self._kind)))


def main() -> int:
    """Do what the arguments say."""
    folder, verb, number, kind = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    configure_logging("error", "json")
    ground = Ground(folder, now=datetime(2026, 1, 31, 8, 0, tzinfo=UTC) + timedelta(hours=int(sys.argv[5])))
    oldest = ground.repository.list_ids()[0]
    fault = Fault(number, kind)
    for name in COUNTED:
        setattr(os, name, fault.around(getattr(os, name)))
    os.open = fault.around_open(os.open)
    renaming.exchange = fault.around(renaming.exchange)
    renaming.rename = fault.around(renaming.rename)
    try:
        if verb == "create":
            ground.create()
        elif verb == "restore":
            ground.service.restore(RestoreRequest("sample", oldest))
        else:
            ground.service.forget(ground.repository.list_ids()[-1])
    except AgentError as error:
        sys.stdout.write(error.code)
        return REQUEST_FAILED
    return DONE_ALL_THE_SAME if fault.has_struck else 0


if __name__ == "__main__":
    sys.exit(main())

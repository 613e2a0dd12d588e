"""An agent that is struck while it takes its lock and its socket, or gives them back: the next one has both."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path

import pytest
from tests.snapshot.striking import DONE, REQUEST_FAILED, strike_request

from hostk8s_agent.control.listening import Listener
from hostk8s_agent.control.lock import LOCK_FILE_NAME, WorkspaceLock
from hostk8s_agent.control.places import open_address
from hostk8s_agent.workspace import Workspace, state_folder
from reliability import Row

CALLS = ("openat", "write", "ftruncate", "mkdir", "bind", "listen", "chmod,fchmodat", "flock", "unlink,unlinkat")
KILL = "signal=SIGKILL"
ERRORS = ("error=ENOSPC", "error=EIO", "error=EROFS")


class Places:
    """Where one workspace has its lock and its socket."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "workspace")
        self.workspace.root.mkdir()
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self.socket = folder / "run/agent.sock"

    def begin_and_end(self) -> None:
        """Take both and give them back, as an agent does."""
        with WorkspaceLock(self.workspace, self.environment):
            listener = Listener(self.socket)
            server = listener.bind()
            listener.remove()
            server.close()

    def begin(self) -> None:
        """Take both and end without giving them back, as a crash does."""
        WorkspaceLock(self.workspace, self.environment).acquire()
        Listener(self.socket).bind()

    def begin_after_a_crash(self) -> None:
        """Take both where a crash has left a socket, and give them back."""
        Listener(self.socket).bind().close()
        self.begin_and_end()

    def require_free(self) -> None:
        """The next one gets the lock, and its clients reach it; nothing is left when it has ended."""
        with WorkspaceLock(self.workspace, self.environment):
            listener = Listener(self.socket)
            with listener.bind(), socket.socket(socket.AF_UNIX) as client, open_address(listener.place) as address:
                client.connect(address)
                assert listener.is_in_place()
                listener.remove()
        assert list(listener.place.parent.iterdir()) == []
        assert (state_folder(self.workspace, self.environment) / LOCK_FILE_NAME).read_bytes() == b""


def find_strikes(places: Places, effects: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Strike each kind of call of both requests at its first, its second, and so on; then anew.

    Yield how each request that was struck ended, and which it was.
    """
    while True:
        for request, calls, effect in product(
            (places.begin_and_end, places.begin, places.begin_after_a_crash), CALLS, effects
        ):
            for number in count(1):
                code = strike_request(request, calls, number, effect=effect)
                # With an error it may go on: the lock's words, for one, are for people alone. At most a few calls each.
                if code == DONE and (effect == KILL or number > 3):
                    break
                yield code, f"{request.__name__}, {calls}, number {number}, {effect}"


@pytest.mark.tools
@pytest.mark.fault(
    "D1/socket",
    "kill -9 before every system call of taking and giving back the workspace's lock and the control socket",
    holds="the next agent starts, and is reached",
    target="0 of 60",
    short=2,
    full=60,
)
def test_an_agent_that_is_killed_is_in_nobodys_way(row: Row, tmp_path: Path) -> None:
    """Nothing of it has to be removed by hand."""
    places = Places(tmp_path)
    strikes = find_strikes(places, (KILL,))
    for trial in row.trials():
        with trial:
            code, what = next(strikes)
            assert code == -signal.SIGKILL, what
            places.require_free()


@pytest.mark.tools
@pytest.mark.fault(
    "D2/socket",
    "ENOSPC, EIO, EROFS at every system call of taking and giving back the lock and the control socket",
    holds="it is told in our words, or does not matter; the next agent starts, and is reached",
    target="0 silent",
    short=2,
    full=120,
)
def test_an_agent_that_cannot_have_its_places_says_so(row: Row, tmp_path: Path) -> None:
    """No traceback: an error of ours ends the start, and what was taken is free."""
    places = Places(tmp_path)
    strikes = find_strikes(places, ERRORS)
    for trial in row.trials():
        with trial:
            code, what = next(strikes)
            assert code in (DONE, REQUEST_FAILED), what
            row.measure("were told", 100 * (code == REQUEST_FAILED), "%", statistic="mean")
            places.require_free()

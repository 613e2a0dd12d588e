"""`status` on a terminal, and `status --watch`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hostk8s_agent.control.server import ControlServer
    from hostk8s_agent.workspace import Workspace


class Terminal:
    """A command on a terminal of its own, with what it has drawn so far."""

    def __init__(self, arguments: list[str], cwd: Path, **environment: str) -> None:
        self._own, theirs = pty.openpty()
        self.drawn = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hostk8s_agent", *arguments],
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **environment},
        )
        os.close(theirs)

    def read_until(self, words: str) -> str:
        """Read on until the words have been drawn, and return what has come since the last call."""
        deadline = time.monotonic() + 20
        come = ""
        while words not in come:
            assert time.monotonic() < deadline, come
            come += self._read()
        self.drawn += come
        return come

    def read_to_end(self) -> str:
        """Read until the command has ended, and return all that it has drawn."""
        while chunk := self._read():
            self.drawn += chunk
        self.process.wait(20)
        return self.drawn

    def close(self) -> None:
        """Let go of the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def _read(self) -> str:
        try:
            return os.read(self._own, 65536).decode()
        except OSError:  # EIO: nobody is at the other end any more (pty(7))
            return ""


@pytest.fixture
def terminal(workspace: Workspace) -> Iterator[Callable[..., Terminal]]:
    """A function that runs the command on a terminal."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, **environment: str) -> Terminal:
        opened.append(Terminal(list(arguments), workspace.root, **environment))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_a_terminal_gets_colour_symbols_and_its_width(
    terminal: Callable[..., Terminal], server: ControlServer, agent: Any
) -> None:
    """No line is longer than the screen, and what is wrong is red."""
    assert server.place.exists()
    agent.board.update_stack(replace(agent.board.stack("sample"), message="a long story " * 20))
    drawn = terminal("status", NO_COLOR="").read_to_end()
    assert "\x1b[31m✗ Blocked\x1b[0m" in drawn
    assert "…" in drawn
    plain = terminal("status", NO_COLOR="1").read_to_end()
    assert "\x1b" not in plain
    assert max(len(line) for line in plain.splitlines()) <= 80


def test_watching_draws_over_itself_when_something_changes(
    terminal: Callable[..., Terminal], server: ControlServer, agent: Any
) -> None:
    """No blank screen in between: the cursor goes up, each line is written over, and the code is the last status'."""
    assert server.place.exists()
    watching = terminal("status", "--watch")
    assert "Blocked" in watching.read_until("choose another path")
    agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready", message="well again", problems=()))
    change = watching.read_until("well again")
    assert "\x1b[13F" in change
    assert "\x1b[2J" not in change
    watching.process.send_signal(signal.SIGINT)
    watching.read_to_end()
    assert watching.process.returncode == 0


def test_watching_survives_the_agent(terminal: Callable[..., Terminal], server: ControlServer, agent: Any) -> None:
    """When the agent goes, nothing stays Ready on the screen; Ctrl-C then ends with 3."""
    agent.board.remove_stack("sample", "gone")
    watching = terminal("status", "--watch", "foundation/airflow")
    watching.read_until("airflow/airflow-logs")
    server.stop()
    watching.read_until("no agent is running")
    watching.process.send_signal(signal.SIGINT)
    watching.read_to_end()
    assert watching.process.returncode == 3


def test_watching_as_json_is_one_object_a_line(server: ControlServer, agent: Any, workspace: Workspace) -> None:
    """A script reads each change as it comes."""
    assert server.place.exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "hostk8s_agent", "status", "-w", "-o", "json"],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["stacks"][1]["state"] == "Blocked"
        agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready", message="well again"))
        assert json.loads(process.stdout.readline())["stacks"][1]["state"] == "Ready"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0

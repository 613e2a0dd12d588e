"""The server's life: its socket, its start and stop, who it answers, and what it costs when nobody asks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.control.errors import AgentUnresponsiveError, ControlSocketError
from hostk8s_agent.control.lock import WorkspaceLock
from hostk8s_agent.control.peers import find_peer_uid
from hostk8s_agent.control.places import MAX_ADDRESS_BYTES, find_socket_paths
from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.errors import AgentNotRunningError
from hostk8s_agent.serving import connections
from hostk8s_agent.serving import server as serving
from hostk8s_agent.workspace import Workspace, runtime_folders

if TYPE_CHECKING:
    from collections.abc import Callable

ASK_AS_NOBODY = """
import os, socket, sys

os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
try:
    connection.sendall(b"GET /v1/status HTTP/1.0\\r\\n\\r\\n")
    print(len(connection.recv(100)))
except OSError:
    print(0)
"""


def test_nobody_listening_is_told_at_once(workspace: Workspace) -> None:
    """No socket, no waiting."""
    begun = time.monotonic()
    with pytest.raises(AgentNotRunningError) as caught:
        ControlClient(workspace).status()
    assert time.monotonic() - begun < 0.5
    assert caught.value.hint == "start it with: hostk8s-agent run"


def test_a_socket_that_nobody_answers_on_is_not_running_and_is_replaced(
    agent: Any, workspace: Workspace, socket_path: Path
) -> None:
    """A kill -9 leaves the socket's file: clients see that nobody is there, and the next start takes its place."""
    socket_path.parent.mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(socket_path))
    with pytest.raises(AgentNotRunningError):
        ControlClient(workspace).status()
    server = ControlServer(agent, socket_path)
    server.start()
    assert ControlClient(workspace).status()["agent"]["state"] == "Running"
    server.stop()


def test_a_socket_that_somebody_answers_on_is_left_alone(server: ControlServer, agent: Any, socket_path: Path) -> None:
    """Whoever is there keeps its socket, and goes on answering."""
    with pytest.raises(ControlSocketError):
        ControlServer(agent, socket_path).start()
    assert server.place.exists()


def test_what_is_no_socket_is_never_removed(agent: Any, socket_path: Path) -> None:
    """A person's file of that name is a person's file."""
    socket_path.parent.mkdir(parents=True)
    socket_path.write_text("mine", encoding="utf-8")
    with pytest.raises(ControlSocketError):
        ControlServer(agent, socket_path).start()
    assert socket_path.read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_a_link_is_refused(agent: Any, socket_path: Path, place: Path) -> None:
    """In a shared temporary folder anyone can put a link where our folder would be."""
    (place / "theirs").mkdir()
    socket_path.parent.parent.parent.mkdir(exist_ok=True)
    socket_path.parent.parent.symlink_to(place / "theirs")
    with pytest.raises(ControlSocketError):
        ControlServer(agent, socket_path).start()


def test_an_open_folder_is_closed(agent: Any, socket_path: Path) -> None:
    """A folder of ours that everyone may enter is made ours alone before the socket is."""
    socket_path.parent.mkdir(parents=True)
    socket_path.parent.chmod(0o777)
    server = ControlServer(agent, socket_path)
    server.start()
    assert socket_path.parent.stat().st_mode & 0o777 == 0o700
    server.stop()


def test_stop_removes_the_socket_and_every_thread(agent: Any, workspace: Workspace, socket_path: Path) -> None:
    """After a stop nothing is left, and stopping again does no harm."""
    server = ControlServer(agent, socket_path)
    server.start()
    ControlClient(workspace).status()
    server.stop()
    server.stop()
    assert not socket_path.exists()
    assert "control" not in {thread.name for thread in threading.enumerate()}


def test_stop_is_quick_with_followers_waiters_and_silent_connections(
    agent: Any, workspace: Workspace, socket_path: Path, wait_until: Callable[..., None]
) -> None:
    """A service manager waits, and so does a person: nobody who hangs on the socket may hold up the end."""
    server = ControlServer(agent, socket_path)
    server.start()
    client = ControlClient(workspace)
    follower = client.follow_events(timeout_seconds=0.1)
    next(follower)
    refused: list[str] = []

    def wait_for_reconcile() -> None:
        try:
            client.reconcile(None, wait_seconds=60)
        except Exception as error:  # noqa: BLE001 - told by its type
            refused.append(getattr(error, "code", type(error).__name__))

    waiter = threading.Thread(target=wait_for_reconcile)
    waiter.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(socket_path))
        wait_until(lambda: agent.requests)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 2.5
    assert [event for event in follower if event is not None] == []
    waiter.join()
    assert refused == ["AgentStopping"]
    agent.gate.set()


def test_a_runtime_folder_that_was_emptied_is_noticed(
    agent: Any,
    workspace: Workspace,
    socket_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """A cleaner of temporary files must not make the agent deaf."""
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.05)
    server = ControlServer(agent, socket_path)
    server.start()
    socket_path.unlink()
    socket_path.parent.rmdir()
    wait_until(socket_path.exists)
    assert ControlClient(workspace).status()["agent"]["state"] == "Running"
    server.stop()
    assert not socket_path.exists()


def test_a_connection_that_says_nothing_is_closed(
    agent: Any, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte a minute holds no connection either: the whole head has its time."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    server = ControlServer(agent, socket_path)
    server.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(10)
        silent.connect(str(socket_path))
        silent.sendall(b"GET /v1/")
        assert silent.recv(1) == b""
    server.stop()


def test_the_kernel_says_who_is_there(server: ControlServer) -> None:
    """Both ends know the other's user, without trusting a word of it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.place))
        assert find_peer_uid(connection) == os.geteuid()


def test_another_user_is_not_answered(server: ControlServer, place: Path) -> None:
    """Even with every mode open, the kernel's word for who asks decides."""
    for folder in (place, *list(server.place.parents)[:3]):
        folder.chmod(0o777)
    server.place.chmod(0o777)
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            ASK_AS_NOBODY,
            str(server.place),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert asked.stdout == "0\n"


def test_a_path_beyond_the_limit_of_sockets_works(
    agent: Any, workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deep home folder is no reason to have no agent: AF_UNIX has 108 bytes, a path has thousands."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / ("deep" * 40)))
    path = runtime_folders(workspace)[0] / "agent.sock"
    assert len(os.fsencode(path)) > MAX_ADDRESS_BYTES
    with pytest.raises(AgentNotRunningError):
        ControlClient(workspace).status()
    server = ControlServer(agent, path)
    server.start()
    assert ControlClient(workspace).status()["agent"]["state"] == "Running"
    server.stop()
    with pytest.raises(AgentNotRunningError):
        ControlClient(workspace).status()


def test_an_agent_that_does_not_answer_is_told_from_none(workspace: Workspace, socket_path: Path) -> None:
    """Somebody who takes the connection and ends it is there, and something is wrong with it."""
    socket_path.parent.mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as rude:
        rude.bind(str(socket_path))
        rude.listen()
        answers = iter([b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[]", b'HTTP/1.1 200 OK\r\n\r\n{"a":'])

        def answer() -> None:
            for words in answers:
                connection, _ = rude.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        for _ in range(4):
            with pytest.raises(AgentUnresponsiveError):
                ControlClient(workspace).status()
        thread.join()


def test_an_agent_that_was_started_with_another_environment_is_found(
    agent: Any, workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cron sets no XDG_RUNTIME_DIR, a session does: the two must still find each other."""
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    server = ControlServer(agent, find_socket_paths(workspace)[0])
    server.start()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
    assert ControlClient(workspace).status()["agent"]["state"] == "Running"
    server.stop()
    server.place.parent.rmdir()


def test_an_agent_whose_socket_cannot_be_found_is_told_from_none(workspace: Workspace) -> None:
    """With another XDG_RUNTIME_DIR the socket is elsewhere: the lock still tells that an agent runs."""
    with WorkspaceLock(workspace), pytest.raises(AgentUnresponsiveError) as caught:
        ControlClient(workspace).status()
    assert f"process {os.getpid()}" in caught.value.message


def test_many_ask_at_once_and_all_are_answered(server: ControlServer, agent: Any, workspace: Workspace) -> None:
    """Two hundred at once: a full backlog is waited out, never an error."""
    agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready"))
    answers: list[str] = []

    def ask() -> None:
        answers.extend(ControlClient(workspace).status()["agent"]["state"] for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["Running"] * 200
    assert server.place.exists()


def test_an_idle_server_costs_nothing(server: ControlServer) -> None:
    """Uvicorn alone wakes ten times a second, for ever: an agent on a laptop must not."""
    thread = next(thread for thread in threading.enumerate() if thread.name == "control")
    assert thread.native_id is not None

    def count_wakeups() -> int:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith("voluntary_ctxt")).split()[1])

    begun = count_wakeups()
    time.sleep(1)  # what is measured is that nothing happens in it
    assert count_wakeups() - begun <= 3
    assert server.place.exists()

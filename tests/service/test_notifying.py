"""What the service manager is told, and what follows when a thread stands still."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostk8s_agent.service.heartbeats import Heartbeat, find_stuck
from hostk8s_agent.service.notifying import Notifier
from hostk8s_agent.service.supervising import EXIT_STUCK, Supervisor
from hostk8s_agent.status.model import AgentInfo, AgentStatus, ClusterStatus, DockerStatus, WatchStatus

STATUS = AgentStatus(
    AgentInfo("Running", "0", 1, "/w", ""),
    DockerStatus("Unreachable", "", "v", ""),
    ClusterStatus("Absent", "", "", ""),
    WatchStatus("inotify", (), ""),
)


@dataclass
class FakeAgent:
    """An agent whose thread was last alive `age_seconds` ago."""

    age_seconds: float = 0.0
    is_tried: bool = True
    last_event_sequence: int = field(default=1)

    def status(self) -> AgentStatus:
        return STATUS

    @property
    def vital_signs(self) -> FakeAgent:
        return self

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        return (Heartbeat("worker", time.monotonic() - self.age_seconds), Heartbeat("idle", None))

    def has_tried_everything(self) -> bool:
        return self.is_tried


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


@pytest.fixture
def notifier(manager: socket.socket) -> Notifier:
    """A notifier to that manager, which asks for a sign of life each second."""
    return Notifier({"NOTIFY_SOCKET": str(manager.getsockname()), "WATCHDOG_USEC": "1000000"})


def hear(manager: socket.socket, until: str) -> list[str]:
    """Return what was told, up to the first message that begins with `until`."""
    heard: list[str] = []
    while not heard or not heard[-1].startswith(until):
        heard.append(manager.recv(4096).decode())
    return heard


def test_ready_comes_when_everything_was_tried(manager: socket.socket, notifier: Notifier) -> None:
    """Not when the process started, and not when Docker is there: an agent that waits is up."""
    agent = FakeAgent(is_tried=False)
    supervisor = Supervisor(notifier, when_stuck="tell", tick_seconds=0.01)
    supervisor.start()
    supervisor.watch(agent, 10)
    before = hear(manager, "STATUS")
    agent.is_tried = True
    ready = hear(manager, "READY")[-1]
    supervisor.watch(None)
    supervisor.watch(agent, 10)
    again = hear(manager, "READY")
    supervisor.stop()
    assert not any("READY" in message for message in before)
    assert ready == "READY=1\nSTATUS=0 of 0 stacks Ready, Docker unreachable"
    assert any(message.startswith("RELOADING=1\nMONOTONIC_USEC=") for message in again)
    assert hear(manager, "STOPPING")[-1].startswith("STOPPING=1\n")


def test_no_sign_of_life_is_given_for_a_thread_that_stands_still(manager: socket.socket, notifier: Notifier) -> None:
    """The thread that tells goes on, which says nothing of the others."""
    agent = FakeAgent()
    supervisor = Supervisor(notifier, when_stuck="tell", tick_seconds=0.01)
    supervisor.start()
    supervisor.watch(agent, 10)
    hear(manager, "WATCHDOG")
    agent.age_seconds = 11
    hear(manager, "STATUS=stuck for more than 10 s: worker")
    supervisor.stop()
    assert hear(manager, "STOPPING")[:-1] == []


def test_without_a_watchdog_in_the_manager_the_agent_ends_itself(wait_until: Callable[..., None]) -> None:
    """With EX_SOFTWARE, which launchd's KeepAlive starts again."""
    ended: list[int] = []
    supervisor = Supervisor(Notifier({}), when_stuck="exit", tick_seconds=0.01, end=ended.append)
    supervisor.start()
    supervisor.watch(FakeAgent(age_seconds=11), 10)
    wait_until(lambda: ended, "it ends")
    supervisor.stop()
    assert set(ended) == {EXIT_STUCK}


def test_one_that_is_idle_is_not_stuck() -> None:
    """Only work that does not end is."""
    beats = (Heartbeat("b", 0.0), Heartbeat("a", 1.0), Heartbeat("idle", None), Heartbeat("well", 95.0))
    assert find_stuck(beats, 100.0, 10.0) == ("a", "b")


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    """A child of the service inherits its variables (sd_watchdog_enabled(3))."""
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Notifier(environment).watchdog_seconds is None
    assert Notifier({**environment, "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 1.0


def test_the_abstract_namespace_is_understood() -> None:
    """Systemd of a user may use it: a name that begins with @ stands for a NUL."""
    if sys.platform != "linux":
        return
    name = f"hostk8s-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(20)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).tell_status("a\nb")
        assert listening.recv(100) == b"STATUS=a b"


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """Nobody there, no socket at all, a nonsense address."""
    for address in (str(tmp_path / "gone"), "", "vsock:2:1"):
        Notifier({"NOTIFY_SOCKET": address}).tell_alive()


def test_systemd_escape_agrees(tmp_path: Path) -> None:
    """Names of instances are made as the program does it, which a person would use."""
    from hostk8s_agent.service.systemd_files import escape_path  # noqa: PLC0415 - for this test alone

    for path in ("/", "/home/ada/hostk8s", "/home/ada/my hostk8s", "/.hidden/a-b", "/tmp/ü/x_y:z", str(tmp_path)):
        done = subprocess.run(["systemd-escape", "--path", path], capture_output=True, text=True, check=True)
        assert escape_path(Path(path)) == done.stdout.strip()

"""A real dashboard on a port of its own, in front of the real control API, and raw requests to it."""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hostk8s_agent.control.app import build_app
from hostk8s_agent.dashboard.service import Dashboard, DashboardOptions
from hostk8s_agent.errors import Problem
from hostk8s_agent.status.board import Event, StatusBoard
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryStatus,
    DockerStatus,
    StackStatus,
    VolumeStatus,
    WatchStatus,
)

STACK = StackStatus(
    name="sample",
    file="software/stacks/sample/hostk8s.storage.yaml",
    state="Ready",
    message="1 directory, 1 volume, 1 bound",
    directories=(DirectoryStatus("data", "/mnt/pv/sample", "1000:1000", "755", "Ready", "", 1 << 30, 4096),),
    volumes=(VolumeStatus("hostk8s-sample-data-pv", "data", "Bound", "manual", "1Gi", "default/data", "Ready"),),
)


@dataclass
class BoardAgent:
    """The agent's place, taken by a real board. Its answers are plain; `asked` has the reconciles."""

    board: StatusBoard = field(default_factory=StatusBoard)
    problems: tuple[Problem, ...] = ()
    snapshots: Any = None
    notifications: Any = None
    asked: list[tuple[str, ...] | None] = field(default_factory=list)
    care: Any = None
    lifecycle: Any = None

    def status(self) -> AgentStatus:
        return AgentStatus(
            AgentInfo("Running", "0.1.0", 4711, "/home/ada/hostk8s", "2025-01-31T07:59:00.000Z"),
            DockerStatus("Connected", "unix:///var/run/docker.sock", "hostk8s-pv-data", "direct"),
            ClusterStatus("Connected", "kind-hostk8s", "https://127.0.0.1:6443", "0f6f4c6e"),
            WatchStatus("inotify", ("/home/ada/hostk8s/software/stacks",), "2025-01-31T08:00:00.000Z"),
            self.board.stacks(),
            self.problems,
        )

    def stack_status(self, name: str) -> StackStatus | None:
        return self.board.stack(name)

    def request_reconcile(self, stacks: Any, *, wait_seconds: float | None) -> tuple[StackStatus, ...]:
        del wait_seconds
        self.asked.append(None if stacks is None else tuple(stacks))
        return tuple(one for one in self.board.stacks() if stacks is None or one.name in stacks)

    def plan(self, stack: str | None) -> tuple[Any, ...]:
        del stack
        return ()

    def history(self) -> tuple[Event, ...]:
        return self.board.history()

    def events_after(self, sequence: int, timeout_seconds: float) -> tuple[Event, ...]:
        return self.board.events_after(sequence, timeout_seconds)

    def wait_for_change(self, revision: int, timeout_seconds: float) -> int:
        return self.board.wait_for_change(revision, timeout_seconds)

    def metrics(self) -> bytes:
        return b"hostk8s_stacks 1\n"

    @property
    def last_event_sequence(self) -> int:
        return self.board.last_sequence


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A running dashboard, and a client that says what it is told to and nothing more."""

    def __init__(self, folder: Path, agent: BoardAgent) -> None:
        self.agent = agent
        # One that nobody else's tests ask for, and below those that the kernel gives away.
        port = 10_000 + secrets.randbelow(20_000)
        self.options = DashboardOptions(
            is_on=True, port=port, serves_metrics=True, identity="hostk8s-12345678", folder=folder
        )
        self.dashboard = self.build()
        self.dashboard.start()
        self.link = self.dashboard.create_link()
        self.port = urlsplit(self.link).port or 0
        self.host = f"127.0.0.1:{self.port}"

    def build(self) -> Dashboard:
        """Return another dashboard with the same options: the same agent after a restart."""
        return Dashboard(self.options, lambda stopping: build_app(self.agent, stopping, refuses_browsers=False))

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send one request with just these headers, the Host besides unless they have one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": self.host, **(headers or {})}.items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if body:
                connection.send(body)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def log_in(self, link: str | None = None) -> tuple[str, str]:
        """Follow a link; return the page's path and the cookie that a browser would send."""
        answer = self.ask("GET", urlsplit(link or self.dashboard.create_link()).path)
        assert answer.status == 200, answer.body
        place = re.search(r"url=(/[^/]+/)", answer.body.decode())
        assert place
        return place[1], answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Site]:
    """A dashboard of one Ready stack."""
    agent = BoardAgent()
    agent.board.update_stack(STACK)
    site = Site(tmp_path / "state", agent)
    yield site
    site.dashboard.stop()

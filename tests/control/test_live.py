"""The live resource: everything once, then what changes, through the real server and socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control import live_resources
from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.status.board import Usage

PATIENCE_SECONDS = 20.0


@contextmanager
def following(server: ControlServer) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """Follow `/v1/live`; give the messages as (type, document), until the agent ends them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(server.place))
        connection.sendall(b"GET /v1/live HTTP/1.0\r\nHost: x\r\n\r\n")

        def read() -> Iterator[tuple[str, dict[str, Any]]]:
            with connection.makefile("rb") as lines:
                kind = ""
                for line in lines:
                    if line.startswith(b"event: "):
                        kind = line.removeprefix(b"event: ").decode().strip()
                    elif line.startswith(b"data: "):
                        yield kind, json.loads(line.removeprefix(b"data: "))

        yield read()
        # The reader may hold it open still.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def next_changes(messages: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The next message that says that something changed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for kind, document in messages:
        if kind == "changes":
            return document
        assert time.monotonic() < deadline, "nothing changed"
    raise AssertionError("the stream ended")


def test_a_follower_knows_everything_and_then_each_change(server: ControlServer, agent: Any) -> None:
    """The whole document first; then a stack that changed, one that went, an event, and the agent's own state."""
    with following(server) as messages:
        kind, snapshot = next(messages)
        assert kind == "snapshot"
        assert [stack["name"] for stack in snapshot["stacks"]] == ["foundation/airflow", "sample"]
        assert [event["stack"] for event in snapshot["events"]] == ["foundation/airflow", "sample"]
        assert snapshot["docker"]["state"] == "Connected"
        agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready", message="now well"))
        changes = next_changes(messages)
        assert [(stack["name"], stack["message"]) for stack in changes["stacks"]] == [("sample", "now well")]
        assert (changes["removed"], changes["frame"]) == ([], None)
        assert [event["message"] for event in changes["events"]] == ["Ready: now well"]
        agent.board.remove_stack("sample", "its contract is gone")
        assert next_changes(messages)["removed"] == ["sample"]
        agent.phase = "Stopping"
        assert next_changes(messages)["frame"]["agent"]["state"] == "Stopping"


def test_a_change_without_an_event_is_told(server: ControlServer, agent: Any) -> None:
    """A directory's usage, or a volume's size, changes neither state nor message."""
    with following(server) as messages:
        next(messages)
        agent.board.record_usage("foundation/airflow", "/mnt/pv/airflow/logs", Usage(4096, "2025-01-31T08:00:00.000Z"))
        changes = next_changes(messages)
        assert [stack["directories"][0]["usedBytes"] for stack in changes["stacks"]] == [4096]
        assert changes["events"] == []


def test_the_agent_is_looked_at_only_while_somebody_follows(
    server: ControlServer, agent: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """Nobody there, no look; two there, one look for both; and the last one to leave ends it."""
    monkeypatch.setattr(live_resources, "LOOK_SECONDS", 0.01)
    looks: list[int] = []
    real = agent.board.wait_for_change

    def look(revision: int, timeout_seconds: float) -> int:
        looks.append(revision)
        return int(real(revision, timeout_seconds))

    monkeypatch.setattr(agent.board, "wait_for_change", look)
    assert looks == []
    with following(server) as one, following(server) as other:
        next(one)
        next(other)
        wait_until(lambda: looks)
    # A reader that has gone is noticed with the next message.
    agent.board.record_event("docker.state", "Unreachable")

    def is_quiet() -> bool:
        before = len(looks)
        threading.Event().wait(0.2)
        return len(looks) == before

    wait_until(is_quiet)


def test_who_does_not_read_is_let_go(server: ControlServer, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that hangs must not make the agent keep what it has missed; one that reads goes on."""
    monkeypatch.setattr(live_resources, "MAX_UNREAD_MESSAGES", 4)
    monkeypatch.setattr(live_resources, "SETTLE_SECONDS", 0.0)
    agent.show_many(300)
    with following(server) as deaf, following(server) as messages:
        next(deaf)
        next(messages)
        for number in range(60):
            agent.board.update_stack(replace(agent.board.stack("sample"), message=f"{number} {'x' * 200_000}"))
            while not next_changes(messages)["stacks"]:
                pass
        agent.board.update_stack(replace(agent.board.stack("sample"), message="the last"))
        assert next_changes(messages)["stacks"][0]["message"] == "the last"
        # What the kernel and the queue held comes, and then the end: not all sixty.
        received = [document for kind, document in deaf if kind == "changes"]
        assert len(received) < 60


def test_a_stop_ends_the_stream(server: ControlServer) -> None:
    """A page sees the end at once, and knows that it has lost the agent."""
    with following(server) as messages:
        next(messages)
        server.stop()
        assert [kind for kind, _document in messages if kind == "changes"] == []


def test_a_long_silence_is_broken(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page tells an agent that is quiet from one that is gone."""
    monkeypatch.setattr(live_resources, "KEEP_ALIVE_SECONDS", 0.0)
    with following(server) as messages:
        next(messages)
        assert next(messages) == ("alive", {})


def test_the_socket_gives_the_figures(server: ControlServer, place: Path) -> None:
    """Prometheus' own format, by its own media type."""
    assert place.exists()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(server.place))
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer
    assert answer.endswith(b"hostk8s_stacks 2\n")

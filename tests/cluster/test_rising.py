"""A server of this machine that comes up is noticed at once, and one that comes and goes is not besieged."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.errors import (
    ClusterBusyError,
    ClusterFailedError,
    ClusterForbiddenError,
    ClusterUnreachableError,
)
from hostk8s_agent.cluster.rising import RisingServer
from hostk8s_agent.cluster.state import ConnectionTiming

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, FaultyApiServer

Wait = Callable[..., None]

AWAY = ClusterUnreachableError("away")


def find_free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_server_that_comes_up_is_found_long_before_the_next_attempt(
    connect: Connect,
    fast_timing: ConnectionTiming,
    start_faulty: Callable[[int], FaultyApiServer],
    tmp_path: Path,
    write_kubeconfig: Callable[[Path, str], Path],
    wait_until: Wait,
) -> None:
    """With half an hour between two attempts, only the open port can be what brings the connection."""
    port = find_free_port()
    patient = replace(fast_timing, backoff_first=1800.0, backoff_cap=1800.0)
    connected = connect(write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}"), patient)
    wait_until(lambda: connected.state == "Unreachable")
    assert connected.count() == 1

    start_faulty(port)
    wait_until(lambda: connected.state == "Connected", "it is found")


def test_a_server_that_gets_ready_slowly_is_asked_until_it_is(
    connect: Connect,
    fast_timing: ConnectionTiming,
    start_faulty: Callable[[int], FaultyApiServer],
    tmp_path: Path,
    write_kubeconfig: Callable[[Path, str], Path],
    wait_until: Wait,
) -> None:
    """At first it has no storage (500), then no kube-system (404): it is not left alone for that."""
    port = find_free_port()
    patient = replace(fast_timing, backoff_first=1800.0, backoff_cap=1800.0, eager_for=60.0)
    connected = connect(write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}"), patient)
    wait_until(lambda: connected.state == "Unreachable")
    rising = start_faulty(port)
    rising.rule = lambda *_: rising.answer(500)
    wait_until(lambda: len(rising.requests) >= 3)
    rising.rule = lambda *_: rising.answer(404)
    before = len(rising.requests)
    wait_until(lambda: len(rising.requests) >= before + 3)
    rising.rule = lambda *_: None

    wait_until(lambda: connected.state == "Connected", "it is asked once more")


def test_another_kubeconfig_is_a_reason_to_be_eager(  # noqa: PLR0913, PLR0917 - fixtures
    connect: Connect,
    fast_timing: ConnectionTiming,
    faulty: FaultyApiServer,
    faulty_kubeconfig: Path,
    start_faulty: Callable[[int], FaultyApiServer],
    write_kubeconfig: Callable[[Path, str], Path],
    wait_until: Wait,
) -> None:
    """`kind create cluster` writes it, on another port mostly, when the server is hardly there."""
    patient = replace(fast_timing, backoff_first=1800.0, backoff_cap=1800.0, eager_for=60.0)
    connected = connect(faulty_kubeconfig, patient)
    wait_until(lambda: connected.state == "Connected")
    other = start_faulty(find_free_port())
    other.rule = lambda *_: other.answer(503)
    faulty.rule = lambda *_: faulty.answer(500)
    write_kubeconfig(faulty_kubeconfig, other.url)
    wait_until(lambda: len(other.requests) >= 3)
    other.rule = lambda *_: None

    wait_until(lambda: connected.state == "Connected" and connected.connection.state().server == other.url)


def test_eagerness_has_an_end_and_does_not_begin_anew_at_once() -> None:
    """A server that crashes and comes back every few seconds is asked no more often than any other."""
    now = [1000.0]
    timing = ConnectionTiming(eager_first=0.25, eager_for=60.0)
    rising = RisingServer(timing, clock=lambda: now[0])
    server = "https://192.0.2.1"
    assert rising.find_pause_seconds(server, AWAY) is None

    rising.begin()
    assert rising.find_pause_seconds(server, AWAY) == 0.25
    assert rising.find_pause_seconds(server, ClusterFailedError("no storage yet")) == 0.25
    assert rising.find_pause_seconds(server, ClusterBusyError("its storage is being initialized")) == 0.25
    assert rising.find_pause_seconds(server, ClusterForbiddenError("no rights")) is None
    now[0] += 50
    assert rising.find_pause_seconds(server, AWAY) == 1.0
    rising.begin()
    assert rising.find_pause_seconds(server, AWAY) == 1.0
    now[0] += 10.1
    assert rising.find_pause_seconds(server, AWAY) is None
    rising.begin()
    assert rising.find_pause_seconds(server, AWAY) == 0.25


def test_a_closed_port_ends_eagerness_until_it_opens() -> None:
    """Knocking is cheaper than asking, and is done on closed ports of this machine alone."""
    port = find_free_port()
    server = f"https://127.0.0.1:{port}"
    rising = RisingServer(ConnectionTiming())
    rising.begin()
    assert not rising.has_come_up(server), "nobody has found it closed yet"

    assert rising.find_pause_seconds(server, AWAY) is None
    assert not rising.has_come_up(server)
    with socket.create_server(("127.0.0.1", port)):
        assert rising.has_come_up(server)
        assert not rising.has_come_up(server), "once is enough"
        assert rising.find_pause_seconds(server, AWAY) is not None
    # Where it cannot be told, nobody knocks.
    assert not rising.has_come_up("https://192.0.2.1")

"""A server that misbehaves: bounded attempts, one log line for a change of state, nothing lost, nothing crashed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from hostk8s_agent.cluster.connection import CLUSTER_REPLACED, STATE_CHANGED
from hostk8s_agent.cluster.errors import ClusterUnavailableError
from hostk8s_agent.cluster.watching import OBJECT_MALFORMED
from hostk8s_agent.plan.desired import ObjectKey

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, FaultyApiServer

Wait = Callable[..., None]

KEY = ObjectKey("PersistentVolume", "a")
IDENTITY = "/api/v1/namespaces/kube-system"
VOLUMES = "/api/v1/persistentvolumes"


def volume(version: int = 100, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "uid": "u", "resourceVersion": str(version), **metadata}}


def listing(*items: object, version: int = 100) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


def events(*those: tuple[str, object]) -> bytes:
    return b"".join(json.dumps({"type": kind, "object": raw}).encode() + b"\n" for kind, raw in those)


@pytest.mark.parametrize(
    ("status", "state", "code", "where"),
    [
        (401, "Refused", "ClusterUnauthenticated", IDENTITY),
        (403, "Refused", "ClusterForbidden", IDENTITY),
        (403, "Refused", "ClusterForbidden", VOLUMES),
        (404, "Unreachable", "ObjectMissing", VOLUMES),
        (410, "Unreachable", "ResourceExpired", VOLUMES),
        (429, "Unreachable", "ClusterBusy", IDENTITY),
        (500, "Unreachable", "ClusterFailed", VOLUMES),
        (503, "Unreachable", "ClusterFailed", IDENTITY),
    ],
)
def test_a_server_that_refuses_for_ever_is_asked_ever_less_often(  # noqa: PLR0913, PLR0917 - cases and fixtures
    faulty: FaultyApiServer,
    connect: Connect,
    faulty_kubeconfig: Path,
    wait_until: Wait,
    status: int,
    state: str,
    code: str,
    where: str,
) -> None:
    """Once backed off, an attempt is one request, whichever request fails; and the state is logged once."""
    faulty.rule = lambda _verb, path, _query: faulty.answer(status) if path == where else None
    with capture_logs() as logs:
        connected = connect(faulty_kubeconfig)
        wait_until(lambda: len(faulty.requests) >= 9, "it is backed off")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.9, "a while passes")
    backed_off = faulty.count_since(began)

    assert (state, code) == (connected.state, connected.code)
    # Waits of 0.2 to 0.4 s; of 15 to 30 s in real life, which makes 2 to 4 requests a minute.
    assert 1 <= backed_off <= 5
    assert [(state, code)] == [(one["state"], one["code"]) for one in logs if one["event"] == STATE_CHANGED]
    assert "s3cret-canary" not in repr(logs)
    faulty.rule = lambda *_: None
    wait_until(lambda: connected.state == "Connected")


def test_watches_that_are_refused_for_ever_are_asked_for_ever_less_often(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """A user who may list and not watch costs one request an attempt too, and never counts as connected for long."""
    faulty.rule = lambda verb, _path, _query: faulty.answer(403) if verb == "WATCH" else None
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.code == "ClusterForbidden")
    wait_until(lambda: len(faulty.requests) >= 18, "it is backed off")
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.9, "a while passes")

    assert 1 <= faulty.count_since(began) <= 5
    assert connected.state == "Refused"


def test_retry_after_is_respected(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """A server that asks for two seconds is left alone for two seconds."""
    faulty.rule = lambda *_: faulty.answer(429, Retry_After="2")
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: len(faulty.requests) == 2, "the second attempt")

    assert connected.code == "ClusterBusy"
    assert faulty.requests[1][0] - faulty.requests[0][0] >= 2.0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>captive portal</html>", id="a page"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 100_000, id="nested"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"metadata":{}}', id="no identity"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_state_and_no_crash(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait, body: bytes
) -> None:
    """Whatever answers on the port, the agent says so and goes on trying."""
    faulty.rule = lambda *_: faulty.answer(200, body)
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.code == "ClusterAnswerInvalid")
    faulty.rule = lambda *_: None

    wait_until(lambda: connected.state == "Connected")


def test_a_redirect_is_not_followed(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """The token goes to the server that the kubeconfig names, and nowhere else."""
    faulty.rule = lambda *_: faulty.answer(302, Location=f"{faulty.url}/elsewhere")
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.code == "ClusterAnswerInvalid")

    assert {path for _, _, path in faulty.requests} == {IDENTITY}
    assert faulty.authorizations == {"Bearer s3cret-canary"}


def test_an_answer_cut_in_the_middle_is_not_taken_for_a_whole_one(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """Half a list is no list: nothing is believed to be absent."""
    faulty.rule = lambda verb, path, _query: (
        faulty.answer(200, listing(), is_cut=True) if (verb, path) == ("GET", VOLUMES) else None
    )
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.code == "ClusterUnreachable")
    with pytest.raises(ClusterUnavailableError):
        connected.connection.observe_objects("stack", [KEY])


def test_a_watch_that_expired_is_followed_by_a_list(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """410 in the stream: what the watch missed is found by listing, and told."""
    watches: list[str] = []

    def rule(verb: str, path: str, query: dict[str, str]) -> Any:
        if path != VOLUMES:
            return None
        if verb == "WATCH":
            watches.append(query["resourceVersion"])
            if len(watches) == 1:
                gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
                return faulty.answer(200, events(("ERROR", gone)))
            return None
        return faulty.answer(200, listing(volume(150), version=200) if watches else listing())

    faulty.rule = rule
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: KEY in connected.told)
    wait_until(lambda: len(watches) >= 2)

    assert watches[:2] == ["100", "200"]
    assert list(connected.connection.observe_objects("stack", [KEY])) == [KEY]
    assert connected.state == "Connected"


@pytest.mark.parametrize("in_stream", [True, False])
def test_a_watch_that_expires_for_ever_does_not_become_a_storm(
    faulty: FaultyApiServer,
    connect: Connect,
    faulty_kubeconfig: Path,
    wait_until: Wait,
    in_stream: bool,  # noqa: FBT001 - a case
) -> None:
    """410 again and again is listed ever less often."""
    gone = {"kind": "Status", "code": 410, "message": "too old"}
    refused = faulty.answer(200, events(("ERROR", gone))) if in_stream else faulty.answer(410, gone)
    faulty.rule = lambda verb, path, _query: refused if (verb, path) == ("WATCH", VOLUMES) else None
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.state == "Connected")

    def count_lists() -> int:
        return sum((verb, path) == ("GET", VOLUMES) for _, verb, path in faulty.requests)

    wait_until(lambda: count_lists() >= 5, "it is backed off")
    before, began = count_lists(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.7, "a while passes")

    # The fifth pause is 0.8 to 1.6 s.
    assert count_lists() - before <= 1


def test_a_watch_that_is_cut_goes_on_from_where_it_was(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """A stream that breaks in the middle of an event loses nothing and lists nothing again."""
    watches: list[str] = []

    def rule(verb: str, path: str, query: dict[str, str]) -> Any:
        if (verb, path) != ("WATCH", VOLUMES):
            return None
        watches.append(query["resourceVersion"])
        whole = events(("ADDED", volume(101)))
        return faulty.answer(200, whole + whole[:20], is_cut=True) if len(watches) == 1 else None

    faulty.rule = rule
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: len(watches) >= 2)

    assert watches[:2] == ["100", "101"]
    assert connected.connection.watch_restarts() == 1
    assert connected.told == [KEY]
    assert connected.count("list") == 3
    assert connected.state == "Connected"


def test_a_malformed_object_is_contained(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """Objects that cannot be read are logged once each, and harm no other; a known one stays as it was."""
    odd: list[object] = [None, 7, [], {}, {"metadata": None}, {"metadata": {"name": "a", "uid": 7}}]
    sent: list[int] = []

    def rule(verb: str, path: str, _query: dict[str, str]) -> Any:
        if path != VOLUMES:
            return None
        if verb != "WATCH":
            return faulty.answer(200, listing(*odd, volume()))
        sent.append(1)
        if len(sent) > 2:
            return None
        changes = [("MODIFIED", one) for one in odd] + [("BOOKMARK", None), ("STRANGE", 7)]
        return faulty.answer(200, events(*changes, ("MODIFIED", {**volume(101), "status": {"phase": "Available"}})))

    faulty.rule = rule
    with capture_logs() as logs:
        connected = connect(faulty_kubeconfig)
        wait_until(lambda: len(sent) > 2)
    found = connected.connection.observe_objects("stack", [KEY])

    assert {key: one.phase for key, one in found.items()} == {KEY: "Available"}
    assert connected.state == "Connected"
    malformed = [one["object"] for one in logs if one["event"] == OBJECT_MALFORMED]
    assert sorted(malformed) == ["PersistentVolume/?", "PersistentVolume/a"]


def test_events_that_got_lost_are_found_by_listing_again(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait, fast_timing: Any
) -> None:
    """Once in a while everything is listed, and what no event told is told."""
    has_object: list[bool] = []
    faulty.rule = lambda verb, path, _query: (
        faulty.answer(200, listing(volume(150), version=200))
        if has_object and (verb, path) == ("GET", VOLUMES)
        else None
    )
    connected = connect(faulty_kubeconfig, replace(fast_timing, relist=0.1))
    wait_until(lambda: connected.state == "Connected")
    has_object.append(True)

    wait_until(lambda: KEY in connected.told)


def test_a_cluster_that_was_made_again_behind_the_same_address_is_noticed(
    faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """Another uid of kube-system: nothing that was known of the former cluster is held to be true."""
    exists = [True]
    faulty.rule = lambda verb, path, _query: (
        faulty.answer(200, listing(volume(), version=100)) if exists and (verb, path) == ("GET", VOLUMES) else None
    )
    connected = connect(faulty_kubeconfig)
    wait_until(lambda: connected.state == "Connected")
    before = set(connected.connection.observe_objects("stack", [KEY]))
    with capture_logs() as logs:
        exists.clear()
        faulty.uid = "uid-2"
        wait_until(lambda: connected.connection.state().uid == "uid-2")
    wait_until(lambda: connected.state == "Connected")

    assert before == {KEY}
    assert connected.connection.observe_objects("stack", [KEY]) == {}
    assert CLUSTER_REPLACED in [one["event"] for one in logs]
    wait_until(lambda: connected.changes[-2:] == ["Connecting", "Connected"], "the change is told")


def test_a_stalled_server_is_a_state_and_not_a_wait(
    connect: Connect, tmp_path: Path, wait_until: Wait, write_kubeconfig: Callable[[Path, str], Path]
) -> None:
    """A server that accepts and never answers is given up in time, and asked ever less often."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = connect(write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{server.getsockname()[1]}"))
        wait_until(lambda: connected.code == "ClusterTimeout")

        assert connected.state == "Unreachable"
        connected.connection.stop()


def test_a_server_that_is_not_there_is_named_and_awaited(
    connect: Connect,
    faulty: FaultyApiServer,
    tmp_path: Path,
    wait_until: Wait,
    write_kubeconfig: Callable[[Path, str], Path],
) -> None:
    """Refused connections are told in the system's words; a kubeconfig that changes ends the wait at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    path = write_kubeconfig(tmp_path / "config", f"https://127.0.0.1:{port}")
    connected = connect(path)
    wait_until(lambda: connected.count() >= 6, "six attempts")
    problem = connected.connection.state().problem

    assert problem is not None
    assert (connected.state, problem.code) == ("Unreachable", "ClusterUnreachable")
    assert "Connection refused" in problem.message
    write_kubeconfig(path, faulty.url)
    wait_until(lambda: connected.state == "Connected")


def test_a_state_that_goes_stale_is_not_served(
    connect: Connect, faulty_kubeconfig: Path, wait_until: Wait, fast_timing: Any
) -> None:
    """Between the last word of a server and the verdict on it, what is known is refused once it is too old."""
    connected = connect(faulty_kubeconfig, replace(fast_timing, fresh=0.0))
    wait_until(lambda: connected.state == "Connected")

    with pytest.raises(ClusterUnavailableError) as raised:
        connected.connection.observe_objects("stack", [KEY])
    assert raised.value.problem.code == "ClusterTimeout"


def test_listeners_that_fail_do_not_end_the_connection(
    faulty: FaultyApiServer, faulty_kubeconfig: Path, tmp_path: Path, wait_until: Wait, fast_timing: Any
) -> None:
    """A callback that raises is logged and survived."""
    from hostk8s_agent.cluster.connection import ClusterConnection  # noqa: PLC0415
    from hostk8s_agent.cluster.kubeconfig import KubeconfigSource  # noqa: PLC0415

    faulty.rule = lambda verb, path, _query: (
        faulty.answer(200, events(("ADDED", volume(101)))) if (verb, path) == ("WATCH", VOLUMES) else None
    )

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    connection = ClusterConnection(
        source=KubeconfigSource((faulty_kubeconfig,), "settings"),
        scratch_folder=tmp_path / "scratch",
        on_change=fail,
        on_object=fail,
        timing=fast_timing,
    )
    connection.start()
    try:
        wait_until(lambda: connection.state().state == "Connected")
        wait_until(lambda: connection.observe_objects("stack", [KEY]) != {})
    finally:
        connection.stop()

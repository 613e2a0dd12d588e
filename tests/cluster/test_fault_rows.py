"""The rows of the fault catalogue about a server that is away, refuses, forgets, goes silent or talks nonsense.

The connection's waits are those of the tests: the proportions of real life, forty times faster. What is counted in a
minute of real life is told as such.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.cluster.state import ConnectionTiming
from hostk8s_agent.plan.desired import ObjectKey
from reliability import Row

if TYPE_CHECKING:
    from tests.cluster.conftest import Connect, FaultyApiServer, FreezingProxy

Wait = Callable[..., None]

VOLUMES = "/api/v1/persistentvolumes"
KEY = ObjectKey("PersistentVolume", "a")


def volume(version: int, **rest: Any) -> dict[str, Any]:
    """A PersistentVolume as the least of servers sends it."""
    return {"metadata": {"name": "a", "uid": "u", "resourceVersion": str(version)}, **rest}


def answer_at(faulty: FaultyApiServer, where: str, status: int, verb: str, path: str, query: dict[str, str]) -> Any:
    """Answer everything at one path with a status."""
    del verb, query
    return faulty.answer(status) if path == where else None


@pytest.mark.fault(
    "K2",
    "401, 403, 429, 500, 503 for ever, on the first request or a later one",
    holds="it is asked ever less often; it connects when the server answers again",
    target="<= 4 requests a minute once backed off",
    short=2,
    full=50,
)
def test_a_refusing_server_is_asked_ever_less_often(
    row: Row, faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait, fast_timing: Any
) -> None:
    """The cap of the back-off is 0.2 s here and 15 s in real life: 75 times as long."""
    pace = ConnectionTiming().backoff_cap / fast_timing.backoff_cap
    for trial in row.trials():
        with trial as number:
            status = (401, 403, 429, 500, 503)[number % 5]
            where = ("/api/v1/namespaces/kube-system", VOLUMES)[number % 2]
            faulty.rule = partial(answer_at, faulty, where, status)
            connected = connect(faulty_kubeconfig)
            before = len(faulty.requests)
            wait_until(lambda before=before: len(faulty.requests) >= before + 9, "it is backed off")
            began = time.monotonic()
            wait_until(lambda began=began: time.monotonic() - began > 1.2, "a while passes")
            seconds = time.monotonic() - began
            row.measure("requests a minute", faulty.count_since(began) / (seconds * pace) * 60, "", limit=4)
            # At least the cap lies between two attempts, each of which is one request.
            assert faulty.count_since(began) <= seconds / fast_timing.backoff_cap + 1
            faulty.rule = lambda *_: None
            wait_until(lambda connected=connected: connected.state == "Connected", "it connects")
            connected.connection.stop()


@pytest.mark.fault(
    "K3",
    "410 in the stream and as an answer, with a change that no event told",
    holds="the list finds the change, and it is told",
    target="0 lost",
    short=2,
    full=100,
)
def test_what_an_expired_watch_missed_is_found(
    row: Row, faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """Each trial changes the object while the watch is deaf."""
    gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
    for trial in row.trials():
        with trial as number:
            expired: list[bool] = []

            def rule(verb: str, path: str, _query: Any, expired: list[bool] = expired, number: int = number) -> Any:
                if path != VOLUMES:
                    return None
                if verb == "WATCH":
                    if expired:
                        return None
                    expired.append(True)
                    event = json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
                    return faulty.answer(200, event) if number % 2 else faulty.answer(410, gone)
                version = 200 if expired else 100
                return faulty.answer(
                    200, {"metadata": {"resourceVersion": str(version)}, "items": [volume(version - 50)]}
                )

            faulty.rule = rule
            connected = connect(faulty_kubeconfig)
            wait_until(lambda connected=connected: KEY in connected.told, "the change is told")
            found = connected.connection.observe_objects("stack", [KEY])[KEY]
            assert (found.resource_version, connected.state) == ("150", "Connected")
            connected.connection.stop()


@pytest.mark.fault(
    "K8",
    "1 % of the events of a watch never arrive",
    holds="the next list finds what they would have told",
    target="0 left",
    short=2,
    full=100,
)
def test_what_lost_events_would_have_told_is_found(
    row: Row,
    faulty: FaultyApiServer,
    connect: Connect,
    faulty_kubeconfig: Path,
    wait_until: Wait,
    fast_timing: ConnectionTiming,
) -> None:
    """Everything is listed again every 5 minutes, and in these tests every 0.2 s, whatever the watch says."""
    keys = [ObjectKey("PersistentVolume", f"v{number}") for number in range(40)]
    for trial in row.trials():
        with trial as number:
            chooser = random.Random(number)
            versions = dict.fromkeys((key.name for key in keys), 100)
            told: list[bytes] = []

            def render(name: str, versions: dict[str, int] = versions) -> dict[str, Any]:
                return {"metadata": {"name": name, "uid": name, "resourceVersion": str(versions[name])}}

            def rule(
                verb: str,
                path: str,
                _query: Any,
                chooser: random.Random = chooser,
                versions: dict[str, int] = versions,
                told: list[bytes] = told,
                render: Callable[[str], dict[str, Any]] = render,
            ) -> Any:
                if path != VOLUMES:
                    return None
                if verb != "WATCH":
                    newest = {"resourceVersion": str(max(versions.values()))}
                    return faulty.answer(200, {"metadata": newest, "items": [render(name) for name in versions]})
                if told:
                    return None
                for version in range(101, 401):
                    name = chooser.choice(sorted(versions))
                    versions[name] = version
                    told.append(json.dumps({"type": "MODIFIED", "object": render(name)}).encode() + b"\n")
                # The newest too, which no later event of that object can make up for.
                lost = {len(told) - 1, *chooser.sample(range(len(told)), len(told) // 100)}
                return faulty.answer(200, b"".join(one for index, one in enumerate(told) if index not in lost))

            faulty.rule = rule
            connected = connect(faulty_kubeconfig, replace(fast_timing, relist=0.2))

            def is_known(connected: Any = connected, versions: dict[str, int] = versions) -> bool:
                if connected.state != "Connected" or max(versions.values()) == 100:
                    return False
                found = connected.connection.observe_objects("stack", keys)
                return {key.name: int(one.resource_version) for key, one in found.items()} == versions

            wait_until(is_known, "all is known as it is")
            connected.connection.stop()


@pytest.mark.cluster
@pytest.mark.fault(
    "K4",
    "a connection that goes silent without an end",
    holds="it is noticed, nothing stale is served, and it is recovered from",
    target="<= 45 s",
    short=1,
    full=30,
)
def test_a_silent_connection_is_noticed(
    row: Row,
    connect: Connect,
    proxied_kubeconfig: Path,
    proxy: FreezingProxy,
    wait_until: Wait,
    fast_timing: ConnectionTiming,
) -> None:
    """Heartbeat and read timeout are 1.5 s here and 30 s in real life."""
    real = ConnectionTiming()
    pace = (real.heartbeat + real.read_timeout) / (fast_timing.heartbeat + fast_timing.read_timeout)
    connected = connect(proxied_kubeconfig, replace(fast_timing, backoff_cap=0.1))
    for trial in row.trials():
        with trial:
            wait_until(lambda: connected.state == "Connected")
            proxy.freeze()
            began = time.monotonic()
            wait_until(lambda: connected.state == "Unreachable", "it is noticed")
            row.measure("noticed after", (time.monotonic() - began) * pace, "s", limit=45)
            proxy.thaw()
    wait_until(lambda: connected.state == "Connected")


def spoil(chooser: random.Random, value: Any) -> Any:
    """A JSON value with a random part of it replaced by nonsense, or gone."""
    nonsense: tuple[Any, ...] = (None, 7, "", [], {}, [None], {"x": None}, "\u0000", True, -1)
    if not isinstance(value, dict) or not value or chooser.random() < 0.2:
        return chooser.choice(nonsense)
    name = chooser.choice(sorted(value))
    if chooser.random() < 0.2:
        return {key: one for key, one in value.items() if key != name}
    return {**value, name: spoil(chooser, value[name])}


WHOLE = {
    "metadata": {
        "name": "odd",
        "uid": "u2",
        "resourceVersion": "120",
        "labels": {"a": "b"},
        "annotations": {"a": "b"},
        "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
    },
    "spec": {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": "n", "name": "c", "uid": "u"},
        "hostPath": {"path": "/mnt/pv/a"},
        "storageClassName": "s",
    },
    "status": {"phase": "Bound"},
}


@pytest.mark.fault(
    "K9",
    "malformed objects, claims and classes from the server, in lists and in watches",
    holds="contained to that object: the others are seen, the connection stands",
    target="0 crashes",
    short=5,
    full=500,
)
def test_nonsense_is_contained(
    row: Row, faulty: FaultyApiServer, connect: Connect, faulty_kubeconfig: Path, wait_until: Wait
) -> None:
    """Whatever part of an object is replaced by whatever, a good one beside it is seen, and so is its change."""
    for trial in row.trials():
        with trial as number:
            chooser = random.Random(number)
            odd = [spoil(chooser, WHOLE) for _ in range(20)]
            watches: list[str] = []

            def rule(verb: str, path: str, _query: Any, odd: Any = odd, watches: list[str] = watches) -> Any:
                if path.startswith("/api/v1/namespaces/") or path == "/version":
                    return None
                is_ours = path == VOLUMES
                if verb != "WATCH":
                    items = [*odd, volume(100)] if is_ours else odd
                    return faulty.answer(200, {"metadata": {"resourceVersion": "100"}, "items": items})
                if path in watches:
                    return None
                watches.append(path)
                events = [{"type": "MODIFIED", "object": one} for one in odd]
                if is_ours:
                    events.append({"type": "MODIFIED", "object": volume(200, status={"phase": "Available"})})
                return faulty.answer(200, b"".join(json.dumps(one).encode() + b"\n" for one in events))

            faulty.rule = rule
            connected = connect(faulty_kubeconfig)
            try:
                wait_until(lambda connected=connected: KEY in connected.told, "the good one's change is told")
                # It can be told a moment before the connection says that it stands.
                wait_until(lambda connected=connected: connected.state == "Connected", "the connection stands")
                assert connected.connection.observe_objects("stack", [KEY])[KEY].phase == "Available"
                assert "ClusterAnswerInvalid" not in connected.code
            finally:
                # One that goes on would take the next trial's watches.
                connected.connection.stop()

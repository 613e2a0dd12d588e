"""The board: what is shown is the last that was said, and changes are told apart from repetitions."""

from __future__ import annotations

import threading
from dataclasses import replace

from hostk8s_agent.errors import Problem
from hostk8s_agent.status.board import StatusBoard, render_time
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryStatus,
    DockerStatus,
    StackStatus,
    VolumeStatus,
    WatchStatus,
    parse_stack_status,
    render_agent_status,
    render_json,
)

READY = StackStatus(
    name="foundation/airflow",
    file="software/stacks/foundation/airflow/hostk8s.storage.yaml",
    state="Ready",
    message="1 directory, 1 volume, 1 bound",
    last_reconciled_at="2026-01-01T00:00:00.000Z",
    directories=(DirectoryStatus("dags", "/mnt/pv/dags", "1000:1000", "755", "Ready"),),
    volumes=(VolumeStatus("hostk8s-x-pv", "dags", "Bound", "fast", "1Gi", "airflow/dags", "Ready"),),
    problems=(Problem("PathConflict", "redis wants it too", "tell redis", "x.yaml", 3, 5),),
)


def test_only_a_change_counts_as_one() -> None:
    """A run that found nothing new must not be written to disk or told as news."""
    board = StatusBoard()
    assert board.update_stack(READY)
    assert not board.update_stack(replace(READY, last_reconciled_at="2026-01-01T00:05:00.000Z"))
    assert board.update_stack(replace(READY, state="Pending"))
    assert board.stack("foundation/airflow") == replace(READY, state="Pending")


def test_stacks_come_sorted_and_go_when_removed() -> None:
    """The order never depends on which worker was faster."""
    board = StatusBoard()
    for name in ("b", "a/x", "a"):
        board.update_stack(replace(READY, name=name))
    assert [one.name for one in board.stacks()] == ["a", "a/x", "b"]
    board.remove_stack("a", "gone")
    board.remove_stack("never", "was there")
    assert [one.name for one in board.stacks()] == ["a/x", "b"]


def test_a_change_of_state_is_an_event_and_a_repetition_is_none() -> None:
    """Who follows the events sees each change once."""
    board = StatusBoard(clock=lambda: 0.0)
    board.update_stack(READY)
    board.update_stack(READY)
    board.record_event("docker.state", "Unreachable")
    board.remove_stack("foundation/airflow", "its volumes are gone")
    assert [(one.sequence, one.type, one.stack) for one in board.events_after(0, 0)] == [
        (1, "stack.state", "foundation/airflow"),
        (2, "docker.state", ""),
        (3, "stack.removed", "foundation/airflow"),
    ]
    assert board.events_after(2, 0)[0].at == "1970-01-01T00:00:00.000Z"
    assert board.last_sequence == 3


def test_a_follower_is_woken_by_an_event() -> None:
    """News arrive when they happen, not at the next look."""
    board = StatusBoard()
    got: list[str] = []
    follower = threading.Thread(target=lambda: got.extend(one.message for one in board.events_after(0, 30)))
    follower.start()
    board.record_event("cluster.state", "Connected")
    follower.join(30)
    assert got == ["Connected"]


def test_waiting_for_an_event_that_does_not_come_ends() -> None:
    """A follower of a quiet agent gets its thread back."""
    assert StatusBoard().events_after(0, 0.01) == ()


def test_json_has_the_names_that_scripts_rely_on() -> None:
    """The document is an interface: camelCase, lists, all fields always there."""
    status = AgentStatus(
        AgentInfo("Running", "0.1.0", 7, "/w", render_time(0)),
        DockerStatus("Connected", "unix:///x", "hostk8s-pv-data", "direct"),
        ClusterStatus("Connected", "kind-hostk8s", "https://127.0.0.1:6443", "uid"),
        WatchStatus("inotify", ("/w/software/stacks",), ""),
        (READY,),
    )
    document = render_agent_status(status)
    assert document["apiVersion"] == "agent.hostk8s.io/v1"
    parts = {"agent", "docker", "cluster", "watch", "stacks", "problems", "snapshots", "notifications", "leftBehind"}
    assert set(document) == {"apiVersion", *parts}
    assert {"state", "endpoint", "volume", "access"} <= set(document["docker"])
    assert {"state", "context", "server", "uid"} <= set(document["cluster"])
    assert document["watch"] == {"backend": "inotify", "roots": ["/w/software/stacks"], "lastScanAt": ""}
    [stack] = document["stacks"]
    assert stack["lastReconciledAt"] == "2026-01-01T00:00:00.000Z"
    assert set(stack["directories"][0]) >= {"name", "path", "owner", "permissions", "state"}
    assert set(stack["volumes"][0]) >= {"name", "phase", "storageClass", "capacity", "claim", "state"}
    assert stack["problems"] == [
        {
            "code": "PathConflict",
            "message": "redis wants it too",
            "hint": "tell redis",
            "file": "x.yaml",
            "line": 3,
            "column": 5,
        }
    ]


def test_a_stack_survives_the_way_through_json() -> None:
    """The records keep a status as JSON and give it back whole."""
    assert parse_stack_status(render_json(READY)) == READY


def test_a_status_of_a_newer_agent_is_read_as_far_as_it_is_known() -> None:
    """After a downgrade the records are still good for what this version knows."""
    document = {**render_json(READY), "snapshots": []}
    document["directories"][0]["usage"] = 5
    assert parse_stack_status(document) == READY


def test_what_was_not_seen_since_is_not_claimed() -> None:
    """A restarted agent shows what it knew, as pending, until it has looked."""
    unseen = READY.as_unseen("not reconciled yet")
    assert {unseen.state, unseen.directories[0].state, unseen.volumes[0].state} == {"Pending"}
    assert (unseen.message, unseen.problems) == ("not reconciled yet", ())

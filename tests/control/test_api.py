"""The control API, through the real client, server and socket."""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.control.client import RemoteError
from hostk8s_agent.control.guarding import MAX_BODY_BYTES
from hostk8s_agent.control.rendering import StatusRenderer
from hostk8s_agent.errors import AgentError
from hostk8s_agent.status.model import render_agent_status, render_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.control.client import ControlClient
    from hostk8s_agent.control.server import ControlServer


def ask(server: ControlServer, head: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Send a raw request (lines without line ends) and return the status and the JSON of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(server.place))
        connection.sendall("\r\n".join((*head.splitlines(), "Host: x", "Connection: close", "", "")).encode() + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    start, _, content = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(content)


def post(server: ControlServer, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    """Post to /v1/reconcile."""
    return ask(
        server,
        f"POST /v1/reconcile HTTP/1.1\nContent-Type: {content_type}\nContent-Length: {len(body)}",
        body,
    )


def test_status_is_the_whole_document(client: ControlClient, agent: Any) -> None:
    """The parts are rendered apart and cached: put together they are the model's own rendering."""
    for _ in range(2):
        assert render_agent_status(agent.status()) == client.status()


def test_the_history_is_what_is_kept_of_all_or_of_one_stack(client: ControlClient, agent: Any) -> None:
    """Mere changes of state are followed and not kept: they would leave room for nothing else."""
    agent.board.record_event("drift", "put back", "sample", subject="PersistentVolume/a", reason="DriftRepaired")
    agent.board.record_event("cluster.state", "Connected")
    kept = client.history()["events"]
    assert [one["type"] for one in kept] == ["blocked", "drift", "cluster.state"]
    assert kept[1] | {"sequence": 0, "at": ""} == {
        "sequence": 0,
        "at": "",
        "type": "drift",
        "stack": "sample",
        "message": "put back",
        "subject": "PersistentVolume/a",
        "severity": "Normal",
        "reason": "DriftRepaired",
    }
    assert [one["type"] for one in client.history("sample")["events"]] == ["blocked", "drift"]
    assert client.history("never-was")["events"] == []


def test_a_changed_stack_is_rendered_anew(client: ControlClient, agent: Any) -> None:
    """The cache must never show an old state, nor keep a stack that is gone."""
    client.status()
    agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready", message="now well"))
    agent.board.remove_stack("foundation/airflow", "its contract is gone")
    assert [(stack["name"], stack["state"], stack["message"]) for stack in client.status()["stacks"]] == [
        ("sample", "Ready", "now well")
    ]


def test_status_of_one_stack_is_the_same_document(client: ControlClient, agent: Any) -> None:
    """`?stack=` narrows the list and nothing else."""
    expected = {**render_agent_status(agent.status()), "stacks": [render_json(agent.board.stack("sample"))]}
    assert expected == client.status("sample")


def test_status_is_cheap_with_five_thousand_stacks(client: ControlClient, agent: Any) -> None:
    """What has not changed is not rendered again: the second rendering takes a small part of the first one's calls."""
    agent.show_many(5_000)
    assert len(client.status()["stacks"]) == 5_002
    renderer, status = StatusRenderer(), agent.status()
    first, again = (_count_calls(lambda: renderer.render(status)) for _ in range(2))
    assert again < first / 5


def _count_calls(function: Callable[[], object]) -> int:
    """How many functions are called by one: unlike its time, that is the same on every machine."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_a_stack_has_slashes_in_its_name(client: ControlClient, agent: Any) -> None:
    """`/v1/stacks/foundation/airflow` is one stack, not a path of two."""
    assert render_json(agent.board.stack("foundation/airflow")) == client.stack("foundation/airflow")


@pytest.mark.parametrize("call", ["status", "stack", "plan", "reconcile"])
def test_an_unknown_stack_is_told_with_the_nearest_name(client: ControlClient, call: str) -> None:
    """A typing error is answered with what was probably meant, whatever was asked."""
    argument: Any = ["sampel"] if call == "reconcile" else "sampel"
    with pytest.raises(RemoteError) as caught:
        getattr(client, call)(argument)
    assert (caught.value.code, caught.value.http_status) == ("UnknownStack", 404)
    assert "did you mean sample?" in caught.value.hint


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a//b", "a/./b", "a\0b", ""])
def test_a_name_that_leaves_the_stacks_folder_is_no_stack(client: ControlClient, agent: Any, name: str) -> None:
    """Names become paths: what could point elsewhere never reaches the agent."""
    with pytest.raises(RemoteError) as caught:
        client.reconcile([name])
    assert caught.value.code == "UnknownStack"
    assert agent.requests == []


def test_reconcile_without_waiting_answers_at_once(client: ControlClient, agent: Any) -> None:
    """Asking is not waiting: the gate is shut all the time."""
    answer = client.reconcile(None)
    assert [stack["name"] for stack in answer["stacks"]] == ["foundation/airflow", "sample"]
    assert agent.requests == [(None, None)]


def test_reconcile_waits_as_long_as_told(client: ControlClient, agent: Any) -> None:
    """The stacks are answered as they are after the run."""

    def finish() -> None:
        agent.board.update_stack(replace(agent.board.stack("sample"), state="Ready"))
        agent.gate.set()

    timer = threading.Timer(0.2, finish)
    timer.start()
    answer = client.reconcile(["sample"], wait_seconds=30)
    timer.join()
    assert [(stack["name"], stack["state"]) for stack in answer["stacks"]] == [("sample", "Ready")]
    assert agent.requests == [(("sample",), 30.0)]


def test_a_plan_says_what_and_why(client: ControlClient) -> None:
    """Each action has its kind, subject, reason and drift; what is held back has its problem."""
    (plan,) = client.plan("sample")["plans"]
    assert [(action["kind"], action["subject"], action["reason"]) for action in plan["actions"]] == [
        ("CreateDirectory", "/mnt/pv/sample", "it does not exist"),
        ("ChangeDirectory", "/mnt/pv/old", "its owner differs"),
        ("ApplyObject", "PersistentVolume/hostk8s-sample-logs-pv", "its size differs"),
    ]
    assert plan["actions"][2]["drift"] == [
        {"field": "spec.capacity.storage", "desired": "2Gi", "observed": "1Gi", "manager": "kubectl"}
    ]
    assert plan["actions"][0]["permissions"] == "755"
    assert (plan["blocked"][0]["subject"], plan["blocked"][0]["problem"]["hint"]) == ("/mnt/pv/file", "move it away")


def test_events_come_as_they_happen(client: ControlClient, agent: Any) -> None:
    """A follower gets what happens after it began, in order, and hears now and then that nothing has."""
    followed = client.follow_events(timeout_seconds=0.05)
    assert next(followed) is None
    agent.board.record_event("docker.state", "Unreachable")
    agent.board.record_event("stack.state", "line one\nline two", "sample")
    events = list(itertools.islice((event for event in followed if event is not None), 2))
    followed.close()  # type: ignore[attr-defined]
    assert [(event["type"], event["message"], event["stack"]) for event in events] == [
        ("docker.state", "Unreachable", ""),
        ("stack.state", "line one\nline two", "sample"),
    ]


def test_events_can_be_resumed(client: ControlClient, agent: Any) -> None:
    """After a lost connection nothing is missed: the client names the last event that it has."""
    agent.board.record_event("one", "")
    last = agent.last_event_sequence
    agent.board.record_event("two", "")
    assert next(client.follow_events(timeout_seconds=5, after=last))["type"] == "two"  # type: ignore[index]


def test_an_event_number_of_an_earlier_agent_starts_over(client: ControlClient, agent: Any) -> None:
    """A restarted agent counts from one: a follower that waits for event 10,001 would wait for ever."""
    assert agent.last_event_sequence < 10_000
    assert next(client.follow_events(timeout_seconds=5, after=10_000))["sequence"] == 1  # type: ignore[index]


@pytest.mark.parametrize("header", ["Origin: http://localhost", "Sec-Fetch-Site: none", "Referer: http://x/"])
@pytest.mark.parametrize("method", ["GET /v1/status", "POST /v1/reconcile"])
def test_browsers_are_refused(server: ControlServer, agent: Any, method: str, header: str) -> None:
    """No page has business here, not even through a proxy on the same machine."""
    status, answer = ask(server, f"{method} HTTP/1.1\n{header}")
    assert (status, answer["code"]) == (403, "ForeignOrigin")
    assert agent.requests == []


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET /v2/status HTTP/1.1", (404, "UnknownPath")),
        ("GET / HTTP/1.1", (404, "UnknownPath")),
        ("DELETE /v1/status HTTP/1.1", (405, "MethodNotAllowed")),
        ("GET /v1/reconcile HTTP/1.1", (405, "MethodNotAllowed")),
        ("GET /v1/events HTTP/1.1\nLast-Event-ID: -1", (400, "RequestInvalid")),
    ],
)
def test_what_is_not_there_is_told_as_json(server: ControlServer, head: str, expected: tuple[int, str]) -> None:
    """Every refusal has a code, a message and a hint, whoever it comes from."""
    status, answer = ask(server, head)
    assert (status, answer["code"]) == expected
    assert sorted(answer) == ["code", "hint", "message"]
    assert all(answer.values())


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"stacks": "sample"}',
        b'{"stacks": [1]}',
        b'{"wait": 1}',
        b'{"timeoutSeconds": -1}',
        b'{"timeoutSeconds": true}',
        b'{"timeoutSeconds": NaN}',
        b'{"stack": []}',
        b"[" * 60_000,
        b"\xff",
        b'{"stacks": ["\\ud800"]}',
    ],
)
def test_a_request_that_makes_no_sense_is_refused(server: ControlServer, agent: Any, body: bytes) -> None:
    """What cannot be understood is never guessed at."""
    status, answer = post(server, body)
    assert (status, answer["code"]) == (400, "RequestInvalid")
    assert agent.requests == []


def test_a_name_with_half_a_character_spoils_no_list(server: ControlServer, agent: Any) -> None:
    """A repository that somebody else wrote may hold one, and all the other snapshots in it must be seen."""
    agent.snapshots = SimpleNamespace(list=lambda _stack: {"snapshots": [{"name": "\ud800"}]})
    assert ask(server, "GET /v1/snapshots HTTP/1.1") == (200, {"snapshots": [{"name": "\ud800"}]})


def test_only_json_is_taken(server: ControlServer) -> None:
    """A page may post text/plain anywhere without being asked, but not application/json."""
    assert post(server, b"{}", "text/plain")[0] == 400


def test_a_large_body_is_refused(server: ControlServer) -> None:
    """Nobody makes the agent hold what it never asked for, whether the size is announced or not."""
    status, answer = post(server, b"#" * (MAX_BODY_BYTES + 1))
    assert (status, answer["code"]) == (413, "RequestTooLarge")
    chunk = b"%x\r\n%s\r\n" % (32_768, b"#" * 32_768)
    status, answer = ask(server, "POST /v1/reconcile HTTP/1.1\nTransfer-Encoding: chunked", chunk * 3)
    assert (status, answer["code"]) == (413, "RequestTooLarge")


def test_an_error_of_the_agent_is_told_without_details(client: ControlClient, agent: Any) -> None:
    """A bug is logged; its text may hold anything and is not shown."""
    agent.failure = RuntimeError("secret")
    with pytest.raises(RemoteError) as caught:
        client.status()
    assert caught.value.code == "ControlError"
    assert "secret" not in str(caught.value)


def test_an_error_with_words_is_told_in_them(client: ControlClient, agent: Any) -> None:
    """What the agent raises on purpose reaches the person as it stands."""
    agent.failure = AgentError("the moon is in the way", hint="wait for it to set")
    with pytest.raises(RemoteError) as caught:
        client.status()
    assert (caught.value.message, caught.value.hint) == ("the moon is in the way", "wait for it to set")


def test_followers_have_a_limit_and_leave_room_for_status(
    client: ControlClient, wait_until: Callable[..., None]
) -> None:
    """The seventeenth follower is told to come back, and all others still get their answers."""
    followers = [client.follow_events(timeout_seconds=0.2) for _ in range(16)]
    for follower in followers:
        next(follower)
    with pytest.raises(RemoteError) as caught:
        next(client.follow_events(timeout_seconds=0.2))
    assert caught.value.code == "AgentBusy"
    assert client.status()["agent"]["state"] == "Running"
    for follower in followers:
        follower.close()  # type: ignore[attr-defined]
    # Their places become free again once the server has noticed.
    wait_until(lambda: _may_follow(client))


def _may_follow(client: ControlClient) -> bool:
    follower = client.follow_events(timeout_seconds=0.2)
    try:
        next(follower)
    except RemoteError:
        return False
    follower.close()  # type: ignore[attr-defined]
    return True


def test_waiting_requests_have_a_limit(client: ControlClient, agent: Any, wait_until: Callable[..., None]) -> None:
    """Whoever waits holds a thread: the seventeenth is told to come back."""
    waiting = [threading.Thread(target=client.reconcile, args=(None,), kwargs={"wait_seconds": 20}) for _ in range(16)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: len(agent.requests) == 16)
    with pytest.raises(RemoteError) as caught:
        client.reconcile(None, wait_seconds=20)
    agent.gate.set()
    for thread in waiting:
        thread.join()
    assert caught.value.code == "AgentBusy"


def test_the_socket_is_ours_alone(server: ControlServer, socket_path: Path) -> None:
    """Folder 0700, socket 0600, whatever the umask."""
    assert socket_path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in list(socket_path.parents)[:2]] == [0o700, 0o700]
    assert server.place == socket_path

"""Row X1 of the fault catalogue: what nobody but the page itself may ask, in many forms and mixtures."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Any

import pytest

from hostk8s_agent.serving import connections
from reliability import Row

RECONCILE = b'{"stacks": null, "wait": false}'
HOSTS = ("attacker.example", "127.0.0.1:1", "127.0.0.1.attacker.example", "localhost", "[::1]", "0.0.0.0", "", "a, b")
ORIGINS = ("http://attacker.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://", "", "*")
SITES = ("cross-site", "same-site", "none ", "garbage")
COOKIES = ("", "hostk8s-agent-0=1.2.3", "x" * 4000, "a=b; a=c")


def mutilate(chance: random.Random, headers: dict[str, str]) -> dict[str, str]:
    """Return the page's own headers with at least one thing wrong, and at random with several."""
    wrong = dict(headers)
    for name in chance.sample(["Host", "Origin", "Sec-Fetch-Site", "Cookie"], chance.randint(1, 3)):
        choices = {"Host": HOSTS, "Origin": ORIGINS, "Sec-Fetch-Site": SITES, "Cookie": COOKIES}[name]
        wrong[name] = chance.choice(choices)
    if chance.random() < 0.2:
        # Without any word of where it comes from, a change is refused, too.
        wrong.pop("Origin")
    return wrong


def send_raw(web: Any, head: str, body: bytes) -> int:
    """Send bytes as they are; return the status of the answer, 0 for none."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(head.encode("latin-1") + body)
        with suppress(ConnectionError):
            while chunk := connection.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
    return int(answer.split()[1]) if answer else 0


@pytest.mark.fault(
    "X1",
    "the dashboard is asked with a wrong Host, a foreign Origin, no session, a 10 MB body, a byte now and then",
    holds="refused, and the agent is asked nothing; contract text stays text",
    target="0 accepted",
    short=40,
    full=3000,
)
def test_nothing_hostile_reaches_the_agent(row: Row, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request has a real session's cookie to begin with: what stops it is what is wrong with it."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    path, cookie = web.log_in()
    own = {"Host": web.host, "Origin": f"http://{web.host}", "Sec-Fetch-Site": "same-origin", "Cookie": cookie}
    asked = f"{path}api/v1/reconcile"
    assert web.ask("POST", asked, {**own, "Content-Type": "application/json"}, RECONCILE).status == 200
    web.agent.asked.clear()
    row.note("Markup in every contract field is tried in a real browser by tests/e2e/test_dashboard.py.")
    chance = random.Random(20260131)
    for trial in row.trials():
        with trial as number:
            if number % 10 == 0:
                head = "".join(f"{name}: {value}\r\n" for name, value in own.items())
                length = 10 * 1024 * 1024
                head = f"POST {asked} HTTP/1.1\r\nContent-Length: {length}\r\n{head}\r\n"
                assert send_raw(web, head, b" " * (length if number % 100 == 0 else 100)) in {0, 413}
            elif number % 10 == 1:
                assert send_raw(web, f"POST {asked} HTTP/1.1\r\nHost: {web.host}\r\nX", b"") == 0
            else:
                wrong = mutilate(chance, own)
                answer = web.ask("POST", asked, {**wrong, "Content-Type": "application/json"}, RECONCILE)
                assert answer.status in {400, 401, 403, 421}, (answer.status, wrong)
                assert b"sample" not in answer.body
            assert web.agent.asked == []

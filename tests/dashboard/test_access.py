"""Who is let in, and everybody else (X1 of the fault catalogue): each refused for the reason that it is."""

from __future__ import annotations

import json
import re
import socket
import stat
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from hostk8s_agent.dashboard.keeping import load_kept, save_kept
from hostk8s_agent.dashboard.sessions import LINK_SECONDS, MAX_LINKS, SESSION_SECONDS, SessionKeeper
from hostk8s_agent.errors import DashboardOffError
from hostk8s_agent.serving import connections

RECONCILE = b'{"stacks": ["sample"], "wait": false}'


def own(web: Any, cookie: str) -> dict[str, str]:
    """The headers that a browser sends with a question of the page itself."""
    return {"Cookie": cookie, "Origin": f"http://{web.host}", "Sec-Fetch-Site": "same-origin"}


def test_a_link_opens_the_page_once(web: Any) -> None:
    """Whoever finds it later, in a browser's history or over a shoulder, has nothing."""
    path, cookie = web.log_in(web.link)
    page = web.ask("GET", path, {"Cookie": cookie})
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    script = re.search(rb'src="([0-9a-f]+/main.js)"', page.body)
    assert script
    assert web.ask("GET", path + script[1].decode(), {"Cookie": cookie}).status == 200
    again = web.ask("GET", urlsplit(web.link).path)
    assert again.status == 403
    assert "set-cookie" not in again.headers


def test_the_page_and_every_question_need_the_session(web: Any) -> None:
    """Reading, too: paths and names are nobody else's business."""
    path, cookie = web.log_in()
    for asked in (path, f"{path}0/main.js", f"{path}api/v1/status", f"{path}api/v1/live", "/", "/open/guess"):
        assert web.ask("GET", asked).status in {401, 403}, asked
        forged = {"Cookie": cookie[:-1] + ("0" if cookie[-1] != "0" else "1")}
        assert web.ask("GET", asked, forged).status in {401, 403}, asked
    # A cookie is for its path: below another one it is worth nothing.
    assert web.ask("GET", "/elsewhere/api/v1/status", {"Cookie": cookie}).status == 401
    assert web.ask("GET", f"{path}api/v1/status", {"Cookie": cookie}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "hostk8s.attacker.example:17818"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_page_is_refused_even_with_the_cookie(web: Any, headers: dict[str, str], method: str) -> None:
    """Each of the three guards holds by itself: a browser that got one wrong is stopped by the others."""
    path, cookie = web.log_in()
    asked = f"{path}api/v1/reconcile" if method == "POST" else f"{path}api/v1/status"
    body = RECONCILE if method == "POST" else b""
    sent = {**own(web, cookie), "Content-Type": "application/json", **headers}
    assert web.ask(method, asked, sent, body).status in {403, 421}
    assert web.agent.asked == []


@pytest.mark.parametrize(
    "host", ["hostk8s.attacker.example:{port}", "127.0.0.1:1", "127.0.0.1", "localhost", "", "[::1]:{port}"]
)
def test_a_name_that_leads_here_is_not_ours(web: Any, host: str) -> None:
    """DNS rebinding: the browser takes the other site's page for the page of this address, and sends no Origin."""
    path, cookie = web.log_in()
    sent = {"Host": host.format(port=web.port), "Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    assert web.ask("GET", f"{path}api/v1/status", sent).status == 421
    assert web.ask("GET", "/metrics", {"Host": sent["Host"]}).status == 421
    assert web.ask("GET", f"{path}api/v1/status", {**sent, "Host": f"localhost:{web.port}"}).status == 200


def test_a_change_wants_the_page_to_say_that_it_is_the_page(web: Any) -> None:
    """Every browser sends Origin with a POST: one without it is no page of ours."""
    path, cookie = web.log_in()
    asked = f"{path}api/v1/reconcile"
    json_body = {"Content-Type": "application/json"}
    assert web.ask("POST", asked, {"Cookie": cookie, **json_body}, RECONCILE).status == 403
    assert web.ask("POST", asked, {**own(web, cookie), "Content-Type": "text/plain"}, RECONCILE).status == 400
    assert web.agent.asked == []
    assert web.ask("POST", asked, {**own(web, cookie), **json_body}, RECONCILE).status == 200
    assert web.agent.asked == [("sample",)]


def test_a_large_body_is_refused_before_it_has_come(web: Any) -> None:
    """10 MB, announced or not, with a session and without."""
    path, cookie = web.log_in()
    for headers, expected in ((own(web, cookie), 413), ({}, 403)):
        with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
            head = [f"POST {path}api/v1/reconcile HTTP/1.1", f"Host: {web.host}", "Content-Length: 10485760"]
            head += [f"{name}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join((*head, "", "")).encode() + b"x" * 1000)
            answer = connection.recv(65536)
            assert int(answer.split()[1]) == expected
            # The connection ends with it: nobody reads the rest.
            with suppress(ConnectionResetError):
                while answer:
                    answer = connection.recv(65536)


def test_a_slow_client_is_not_waited_for(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes a byte a minute would hold a connection for ever."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHos")
        assert connection.recv(100) == b""
    assert web.ask("GET", "/").status == 401


def test_many_connections_leave_room_for_an_answer(web: Any) -> None:
    """Beyond the limit each is told so at once, and none of the others is lost."""
    path, cookie = web.log_in()
    silent = [socket.create_connection(("127.0.0.1", web.port), timeout=20) for _ in range(150)]
    try:
        assert web.ask("GET", path, {"Cookie": cookie}).status == 503
    finally:
        for connection in silent:
            connection.close()
    deadline = time.monotonic() + 20
    while web.ask("GET", path, {"Cookie": cookie}).status != 200:
        assert time.monotonic() < deadline


def test_every_answer_keeps_the_browser_from_doing_more(web: Any) -> None:
    """No inline script, no outside request, no frame, no guessing of types; refusals, too."""
    path, cookie = web.log_in()
    for asked in (path, f"{path}0/main.js", f"{path}api/v1/status", "/", "/metrics"):
        headers = web.ask("GET", asked, {"Cookie": cookie}).headers
        policy = headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'self'"
        assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
        assert "unsafe" not in headers["content-security-policy"]
        expected = ("nosniff", "no-referrer", "no-store")
        names = ("x-content-type-options", "referrer-policy", "cache-control")
        assert tuple(headers[name] for name in names) == expected


def test_the_cookie_is_of_the_strict_kind(web: Any) -> None:
    """No script can read it, no other site has it sent, no other server on this host is sent it."""
    answer = web.ask("GET", urlsplit(web.link).path)
    attributes = answer.headers["set-cookie"].split("; ")[1:]
    place = attributes[0].removeprefix("Path=/").removesuffix("/")
    assert len(place) == 24
    assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)


def test_prometheus_needs_no_session_and_no_browser_gets_the_figures(web: Any) -> None:
    """A scraper has no cookie; a page that asks in a person's name is refused."""
    assert web.ask("GET", "/metrics").body == b"hostk8s_stacks 1\n"
    for header in ({"Origin": f"http://{web.host}"}, {"Sec-Fetch-Site": "none"}, {"Referer": "http://x.example"}):
        assert web.ask("GET", "/metrics", header).status == 403


def test_a_session_outlasts_a_restart_and_so_does_the_port(web: Any) -> None:
    """A page that stays open comes back by itself: same address, same key, kept for the owner alone."""
    path, cookie = web.log_in()
    unused = web.dashboard.create_link()
    web.dashboard.stop()
    file = web.options.folder / "dashboard.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    web.dashboard = web.build()
    web.dashboard.start()
    assert urlsplit(web.dashboard.create_link()).port == web.port
    assert web.ask("GET", f"{path}api/v1/status", {"Cookie": cookie}).status == 200
    # A link is the running agent's alone.
    assert web.ask("GET", urlsplit(unused).path).status == 403


def test_without_its_key_no_session_goes_on(web: Any) -> None:
    """How all sessions are ended; and a file that is damaged is one that is not there."""
    path, cookie = web.log_in()
    for damage in (b"", b"{}", b'{"key": "zz"}', b'{"key": "00", "wantedPort": 1, "port": 1}'):
        web.dashboard.stop()
        (web.options.folder / "dashboard.json").write_bytes(damage)
        web.dashboard = web.build()
        web.dashboard.start()
        web.port = urlsplit(web.dashboard.create_link()).port
        web.host = f"127.0.0.1:{web.port}"
        assert web.ask("GET", path, {"Cookie": cookie}).status == 401


def test_a_taken_port_is_left_and_the_next_one_found(web: Any) -> None:
    """Two workspaces, two agents, two pages; and each has its own cookie."""
    other = type(web)(web.options.folder.with_name("other"), web.agent)
    try:
        assert other.port != web.port
        path, cookie = web.log_in()
        assert other.ask("GET", path, {"Cookie": cookie}).status == 401
    finally:
        other.dashboard.stop()


def test_links_and_sessions_run_out() -> None:
    """Five minutes for a link, two weeks for a session, sixteen links at once."""
    now = [1000.0]
    keeper = SessionKeeper(b"k" * 32, "one", clock=lambda: now[0])
    token, cookie = keeper.create_token(), keeper.render_cookie().partition(";")[0]
    assert keeper.is_session(cookie)
    assert not SessionKeeper(b"k" * 32, "two", clock=lambda: now[0]).is_session(cookie)
    now[0] += LINK_SECONDS
    assert not keeper.redeem_token(token)
    now[0] += SESSION_SECONDS
    assert not keeper.is_session(cookie)
    tokens = [keeper.create_token() for _ in range(MAX_LINKS + 1)]
    assert [keeper.redeem_token(token) for token in tokens] == [False, *[True] * MAX_LINKS]


@pytest.mark.parametrize("cookie", ["", "x", "hostk8s-agent-1=..", "a=b; c", "=", "\xff=\xff", "x" * 9000])
def test_any_cookie_text_is_just_no_session(web: Any, cookie: str) -> None:
    """What a header can hold, somebody sends."""
    path, _cookie = web.log_in()
    assert web.ask("GET", path, {"Cookie": cookie}).status == 401


def test_a_dashboard_that_is_off_says_so_and_binds_nothing(web: Any) -> None:
    """Off by a setting: the command tells why there is no page."""
    web.dashboard.stop()
    web.options = replace(web.options, is_on=False)
    off = web.build()
    off.start()
    with pytest.raises(DashboardOffError, match="turned off"):
        off.create_link()
    off.stop()


def test_what_is_kept_is_never_half_written(tmp_path: Any) -> None:
    """A name left behind by a crash is written over, and only the whole file is ever read."""
    (tmp_path / ".dashboard.json.new").write_text("half", encoding="utf-8")
    (tmp_path / ".dashboard.json.new").chmod(0o644)
    kept = load_kept(tmp_path)
    save_kept(tmp_path, kept)
    assert load_kept(tmp_path) == kept
    assert json.loads((tmp_path / "dashboard.json").read_text(encoding="ascii"))["key"] == kept.key.hex()
    assert [path.name for path in tmp_path.iterdir()] == ["dashboard.json"]

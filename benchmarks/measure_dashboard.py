"""The dashboard: how soon a page shows something, how soon it shows a save, and what fifty open ones cost.

The agent runs on its embedded default: what is measured is the page, not Docker or the cluster.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import selectors
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from agent_process import COMMAND, AgentProcess
from figures import Check, Figure, Samples, render, render_milliseconds
from workload import Edition, name_stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trial import Trial
    from workload import Checkout

PAGES = 50
SETTLE_SECONDS = 300.0
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Runs before the page does: notes when the first stack was there to be painted, and when one that is awaited was.
OBSERVE = """
window.seen = {};
new MutationObserver(() => {
  window.first ??= document.querySelector("details.stack") ? performance.now() : undefined;
  for (const name of window.awaited ?? []) {
    const row = document.querySelector(`details[data-stack="${name}"] .badge.ready`);
    if (row) window.seen[name] ??= Date.now();
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """An agent with its stacks in place, and where its page is."""

    checkout: Checkout
    agent: AgentProcess
    host: str
    place: str
    cookie: str

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{self.host}{self.place}"


def measure_dashboard(trial: Trial) -> Figure:
    """A page of many stacks in a real browser: its first content, and a save in it."""
    content, saved = Samples(), Samples()
    stacks, rounds = trial.sizes.stacks, trial.sizes.rounds
    program = trial.ground.testbed.run("tool", "chromium")
    with _desk(trial, stacks) as desk, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        # The page forbids that a string becomes code, which is how it is asked here.
        context = browser.new_context(bypass_csp=True)
        context.add_init_script(OBSERVE)
        name, _, value = desk.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": desk.place}])
        for number in trial.progress.rounds(rounds + 1):
            page = context.new_page()
            page.goto(desk.url)
            first = page.wait_for_function("window.first").json_value()
            page.wait_for_function(f"document.querySelectorAll('details.stack').length >= {stacks}")
            edition = Edition(f"new-{number:03}")
            desk.checkout.contract_file(edition.stack).parent.mkdir(parents=True)
            page.evaluate("name => { window.awaited = [name]; }", edition.stack)
            beside, file = desk.checkout.prepare_save(edition)
            started = time.time()
            beside.rename(file)
            seen = page.wait_for_function("name => window.seen[name]", arg=edition.stack).json_value()
            page.close()
            # The first round warms up.
            if number:
                content.add(float(first))
                saved.add(float(seen) - started * 1000)
        browser.close()
    return Figure(
        work=f"the page, with {stacks:,} stacks",
        rounds=f"{rounds} pages",
        measured=f"first content {content}; a saved contract is Ready in it after {saved}",
        rivals=(),
        checks=(
            Check("p95 of the first content", content.quantile(0.95), 300, "ms"),
            Check("p95 of a save", saved.quantile(0.95), 500, "ms"),
        ),
        details=(f"the slowest first content {render_milliseconds(max(content.values))}",),
    )


def measure_open_pages(trial: Trial) -> Figure:
    """What many open pages cost the agent while nothing happens: each is a stream that is read as a browser does."""
    stacks, seconds = trial.sizes.stacks, trial.sizes.idle_seconds
    with _desk(trial, stacks) as desk, _followers(desk) as read_bytes:
        time.sleep(5)
        before, cpu_before, began = read_bytes(), desk.agent.cpu_seconds(), time.perf_counter()
        time.sleep(seconds)
        share = (desk.agent.cpu_seconds() - cpu_before) / (time.perf_counter() - began) * 100
        sent = (read_bytes() - before) / PAGES
    return Figure(
        work=f"{PAGES} open pages with {stacks:,} stacks, over {seconds:.0f} s",
        rounds="1 window",
        measured=f"{render(share, '%')} of one core",
        rivals=(),
        checks=(Check("of one core", share, 5, "%"),),
        details=(f"{sent:,.0f} bytes sent to each page meanwhile",),
    )


@contextlib.contextmanager
def _desk(trial: Trial, stacks: int) -> Iterator[Desk]:
    with ExitStack() as stack:
        checkout = stack.enter_context(trial.ground.checkout())
        home = stack.enter_context(trial.ground.private_folder())
        checkout.write([Edition(name) for name in name_stacks(stacks)])
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "LANG": "C.UTF-8",
            "HOSTK8S_AGENT_VOLUME_BACKEND": "host-directory",
            "HOSTK8S_AGENT_LOG_FORMAT": "json",
        }
        agent = stack.enter_context(AgentProcess(checkout, environment, home / "agent.log"))
        agent.wait_until_settled(SETTLE_SECONDS)
        agent.require_ready(stacks, SETTLE_SECONDS)
        agent.wait_until_idle()
        link = subprocess.run(
            [COMMAND, "dashboard", "--no-browser", "--workspace", checkout.root],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        yield Desk(checkout, agent, urlsplit(link).netloc, *_log_in(link))


def _log_in(link: str) -> tuple[str, str]:
    """Return the page's path and the session's cookie."""
    target = urlsplit(link)
    connection = http.client.HTTPConnection(target.netloc, timeout=30)
    connection.request("GET", target.path)
    answer = connection.getresponse()
    place = re.search(r"url=(/[^/]+/)", answer.read().decode())
    cookie = answer.headers["set-cookie"].partition(";")[0]
    connection.close()
    if place is None:
        raise RuntimeError("the dashboard did not open")
    return place[1], cookie


@contextlib.contextmanager
def _followers(desk: Desk) -> Iterator[Callable[[], int]]:
    """Have many pages open for as long as the block runs; give a function that says how many bytes all have read."""
    host, _, port = desk.host.partition(":")
    head = f"GET {desk.place}api/v1/live HTTP/1.1\r\nHost: {desk.host}\r\nCookie: {desk.cookie}\r\n\r\n"
    connections = [socket.create_connection((host, int(port)), timeout=30) for _ in range(PAGES)]
    stopping = threading.Event()
    total = [0]

    def read() -> None:
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
                selector.register(connection, selectors.EVENT_READ, connection)
            while not stopping.is_set():
                for key, _events in selector.select(0.5):
                    total[0] += len(key.data.recv(1 << 20))

    for connection in connections:
        connection.sendall(head.encode())
    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lambda: total[0]
    finally:
        stopping.set()
        reader.join()
        for connection in connections:
            connection.close()

"""A real browser, and a person with the agent's page open in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
PATIENCE_MILLISECONDS = 30_000


@pytest.fixture(scope="module")
def chromium(testbed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of the page; each has a profile of its own in it."""
    # The system's own: playwright's browsers are never downloaded.
    program = testbed.run("tool", "chromium")
    home = str(tmp_path_factory.mktemp("browser"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=FLAGS, timeout=60_000, env={"HOME": home, "PATH": "/usr/bin:/bin"}
        )
        yield browser
        browser.close()


class Visitor:
    """A person with the page open: what the browser complains of, and whom it asks, is written down."""

    def __init__(self, context: BrowserContext, site: Any) -> None:
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self._site = site
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MILLISECONDS)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))

    def open(self) -> None:
        """Open the page as the command does it, and mark it: a reload would lose the mark."""
        printed = self._site.run("dashboard", "--no-browser")
        assert printed.returncode == 0, printed.stderr
        self.page.goto(printed.stdout.splitlines()[-1])
        expect(self.page.locator("#verdict")).not_to_have_text("Asking the agent …", timeout=PATIENCE_MILLISECONDS)
        self.page.evaluate("window.mark = 'the same page'")

    def row(self, stack: str) -> Any:
        """The stack's line."""
        return self.page.locator(f'details[data-stack="{stack}"]')

    def is_same_page(self) -> bool:
        """Whether nothing has been loaded anew."""
        return bool(self.page.evaluate("window.mark") == "the same page")

    def _note(self, kind: str, text: str) -> None:
        # Nobody answers while the agent is away, which the browser says for each question.
        if kind in {"error", "warning"} and "ERR_CONNECTION_REFUSED" not in text and "ERR_INCOMPLETE" not in text:
            self.complaints.append(text)


def choose_port(site: Any) -> None:
    """Give the site's agent a port that no other one on this machine asks for: a restart must find it free again."""
    site.environment["HOSTK8S_AGENT_DASHBOARD_PORT"] = str(10_000 + secrets.randbelow(20_000))


@contextmanager
def visit(site: Any, chromium: Browser) -> Iterator[Visitor]:
    """Open the page of the site's agent, which runs. A browser that complains, or asks anybody else, fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    visitor = Visitor(context, site)
    visitor.open()
    yield visitor
    assert visitor.complaints == []
    assert visitor.asked == {f"127.0.0.1:{site.environment['HOSTK8S_AGENT_DASHBOARD_PORT']}"}
    context.close()


def shows(locator: Any, words: str) -> None:
    """Wait until it has the words."""
    expect(locator).to_contain_text(words, timeout=PATIENCE_MILLISECONDS)

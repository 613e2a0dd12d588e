"""The verb `dashboard`: a link for whoever may ask the agent, and a browser where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.cli.dashboard import open_dashboard
from hostk8s_agent.control.places import find_socket_paths
from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.errors import AgentNotRunningError, DashboardOffError
from hostk8s_agent.workspace import Workspace

LINK = "http://127.0.0.1:7818/open/once"


class Links:
    """Whoever makes links: these, or none."""

    def __init__(self, reason: str = "") -> None:
        self._reason = reason

    def create_link(self) -> str:
        if self._reason:
            raise DashboardOffError(self._reason, hint="turn it on")
        return LINK


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A browser that writes down what it opens; the screen is there when `DISPLAY` says so."""
    opened = tmp_path / "opened"
    program = tmp_path / "browse"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(program))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return opened


@pytest.fixture
def root(workspace: Workspace, agent: Any) -> Any:
    """A workspace whose agent has a dashboard."""
    server = ControlServer(agent, find_socket_paths(workspace)[0], links=Links())
    server.start()
    yield workspace.root
    server.stop()


def test_the_link_stands_alone_on_stdout(root: Path, browser: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script takes the last line, and nothing is opened."""
    assert open_dashboard(root, opens_browser=False) == 0
    assert capsys.readouterr().out == f"{LINK}\n"
    assert not browser.exists()


def test_without_a_screen_the_link_is_printed(root: Path, browser: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text browser would show nothing of the page, and use the link up."""
    assert open_dashboard(root, opens_browser=True) == 0
    assert capsys.readouterr().out == f"{LINK}\n"
    assert not browser.exists()


def test_the_browser_is_given_the_link(
    root: Path, browser: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wait_until: Any
) -> None:
    """What a person sees is the page, not the link."""
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_dashboard(root, opens_browser=True) == 0
    assert capsys.readouterr().out == ""
    wait_until(lambda: browser.exists() and browser.read_text(encoding="utf-8") == LINK)


def test_an_agent_without_a_page_says_why(workspace: Workspace, agent: Any) -> None:
    """Turned off, not served by a command's own agent, no agent at all: three reasons, three answers."""
    with pytest.raises(AgentNotRunningError):
        open_dashboard(workspace.root, opens_browser=False)
    for links, reason in ((Links("the dashboard is turned off"), "turned off"), (None, "serves no dashboard")):
        server = ControlServer(agent, find_socket_paths(workspace)[0], links=links)
        server.start()
        with pytest.raises(Exception, match=reason) as caught:
            open_dashboard(workspace.root, opens_browser=False)
        assert getattr(caught.value, "code", "") == "DashboardOff"
        server.stop()

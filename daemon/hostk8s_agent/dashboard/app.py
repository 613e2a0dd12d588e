"""Where everything of the dashboard is.

| path | gives |
| --- | --- |
| `/open/TOKEN` | changes a one-time link for a session |
| `/PLACE/`, `/PLACE/DIGEST/FILE` | the page |
| `/PLACE/api/...` | the control API, for the page |
| `/metrics` | the control API's figures, for Prometheus, without a session |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.dashboard.guarding import ICON_PATH, METRICS_PATH, OPEN_PREFIX, PageGuard
from hostk8s_agent.dashboard.pages import load_static_pages, render_entrance, render_refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hostk8s_agent.dashboard.sessions import SessionKeeper

_API = "api"


def build_dashboard(
    api: ASGIApp, sessions: SessionKeeper, hosts: frozenset[str], *, serves_metrics: bool = True
) -> ASGIApp:
    """Return the ASGI application in front of the control API `api`, which is asked by who has a session alone."""
    return PageGuard(_Dashboard(api, sessions, serves_metrics=serves_metrics), sessions, hosts)


class _Dashboard:
    """Finds what a request that the guard has let through is for."""

    def __init__(self, api: ASGIApp, sessions: SessionKeeper, *, serves_metrics: bool) -> None:
        self._api = api
        self._sessions = sessions
        self._serves_metrics = serves_metrics
        self._pages = load_static_pages()
        self._icon = next(page for name, page in self._pages.items() if name.endswith("/icon.svg"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == METRICS_PATH and self._serves_metrics:
            await self._api(scope, receive, send)
        elif path == ICON_PATH:
            await self._icon.send(send)
        elif path.startswith(OPEN_PREFIX) and scope["method"] == "GET":
            await self._open(path.removeprefix(OPEN_PREFIX), send)
        else:
            await self._answer(path.removeprefix(f"/{self._sessions.place}/"), scope, receive, send)

    async def _open(self, token: str, send: Send) -> None:
        if self._sessions.redeem_token(token):
            page = render_entrance(self._sessions.place, self._sessions.render_cookie())
        else:
            page = render_refusal(403, "This link was used already, or has run out.", "Open it with a new one:")
        await page.send(send)

    async def _answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        first, _, rest = name.partition("/")
        if first == _API:
            await self._api({**scope, "path": f"/{rest}", "raw_path": b""}, receive, send)
            return
        page = self._pages.get(name) if scope["method"] == "GET" else None
        if page is None:
            page = render_refusal(404, "There is nothing here.", "The dashboard is opened with:")
        await page.send(send)

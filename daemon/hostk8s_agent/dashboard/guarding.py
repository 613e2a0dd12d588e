"""What every request to the dashboard passes: it is meant for us, no other page sent it, and it has a session.

A page of another site can have a browser ask us anything. The Host list stops one that has its name lead here (DNS
rebinding), Origin and Sec-Fetch-Site stop the others, and none of them has the cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from hostk8s_agent.dashboard.pages import Page, render_refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from hostk8s_agent.dashboard.sessions import SessionKeeper

OPEN_PREFIX = "/open/"
METRICS_PATH = "/metrics"
ICON_PATH = "/favicon.ico"

_SAFE_METHODS = frozenset({"GET", "HEAD"})
# What a browser says of who asks (Fetch Metadata): our own page, or the person. Older ones say nothing.
_OWN_SITES = frozenset({"", "same-origin", "none"})

_CONTENT_POLICY = (
    b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    (b"content-security-policy", _CONTENT_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class PageGuard:
    """The outermost ASGI layer. `hosts` are the `Host` headers that are meant for us."""

    def __init__(self, app: ASGIApp, sessions: SessionKeeper, hosts: frozenset[str]) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it without reading its body."""
        protected = _Protected(send)
        refusal = self._find_refusal(scope)
        if refusal is None:
            await self._app(scope, receive, protected)
        else:
            await refusal.send(protected)

    def _find_refusal(self, scope: Scope) -> Page | None:
        headers = Headers(scope=scope)
        path, host = scope["path"], headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host not in self._hosts:
            return render_refusal(421, "This address is not the dashboard's.", "hostk8s-agent dashboard opens it.")
        if not self._is_own_page(scope["method"], headers, host, path):
            return render_refusal(403, "Another page asks for this.", "Open the dashboard itself.")
        # Browsers ask for the icon by themselves, and complain without it.
        if path.startswith(OPEN_PREFIX) or path == ICON_PATH:
            return None
        if path == METRICS_PATH:
            return None if not _is_browser(headers) else render_refusal(403, "This is for Prometheus.", "")
        if path.startswith(f"/{self._sessions.place}/") and self._sessions.is_session(headers.get("cookie", "")):
            return None
        return render_refusal(401, "No session here, or one that has ended.", "Open the dashboard with a new link:")

    def _is_own_page(self, method: str, headers: Headers, host: str, path: str) -> bool:
        origins = headers.getlist("origin")
        if any(origin != f"http://{host}" for origin in origins):
            return False
        if method not in _SAFE_METHODS:
            # Every browser says where a POST comes from.
            return bool(origins) and headers.get("sec-fetch-site", "same-origin") == "same-origin"
        if path.startswith(OPEN_PREFIX) and headers.get("sec-fetch-mode") == "navigate":
            # The link may be clicked on anywhere, in a terminal that is itself a page, for instance.
            return True
        return headers.get("sec-fetch-site", "") in _OWN_SITES


class _Protected:
    """Adds to every answer what keeps a browser from doing more with it than showing it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *_HEADERS]
            if all(name != b"cache-control" for name, _value in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)


def _is_browser(headers: Headers) -> bool:
    return any(name in headers for name in ("origin", "referer", "sec-fetch-site", "sec-fetch-mode"))

"""Who may see the page: whoever brings a one-time link, and after that the cookie that it was changed for.

A cookie belongs to a host, not to a port: a browser sends it to every server on 127.0.0.1. Ours is therefore bound to a
path that only the key's owner knows; no other server can have a page asked for below it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_SECONDS = 300.0
SESSION_SECONDS = 14 * 24 * 3600
MAX_LINKS = 16
TOKEN_BYTES = 24
_NONCE_BYTES = 12
_PLACE_CHARACTERS = 24


class SessionKeeper:
    """Makes links and cookies, and judges them. Sessions need no memory: whoever has the key can judge them."""

    def __init__(self, key: bytes, identity: str, clock: Callable[[], float] = time.time) -> None:
        """Begin with the key and the workspace's identity, which tells the cookies of several agents apart."""
        self._key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[str, float] = {}
        self._cookie_name = f"hostk8s-agent-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        self.place = self._sign("place")[:_PLACE_CHARACTERS]

    def create_token(self) -> str:
        """Return a token that `redeem_token` takes once, within minutes. Of too many, the oldest are forgotten."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            now = self._clock()
            kept = [(one, end) for one, end in self._links.items() if end > now][-(MAX_LINKS - 1) :]
            self._links = {**dict(kept), _digest(token): now + LINK_SECONDS}
        return token

    def redeem_token(self, token: str) -> bool:
        """Return whether the token was good, which it is no more."""
        with self._lock:
            end = self._links.pop(_digest(token), None)
        return end is not None and self._clock() < end

    def render_cookie(self) -> str:
        """Return the `Set-Cookie` header of a new session."""
        session = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(_NONCE_BYTES)}"
        return (
            f"{self._cookie_name}={session}.{self._sign(session)}; Path=/{self.place}/; "
            f"Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict"
        )

    def is_session(self, cookie_header: str) -> bool:
        """Return whether a `Cookie` header has a session of ours that has not ended."""
        try:
            found = SimpleCookie(cookie_header).get(self._cookie_name)
        except CookieError:
            return False
        session, _, signature = (found.value if found is not None else "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(session).encode()):
            return False
        return int(session.partition(".")[0]) > self._clock()

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    # Looked up by its digest: how long a look-up takes tells nothing of a token.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()

"""The files of the page, and the few lines that stand in its place when it cannot be shown."""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Send

STATIC_FOLDER = Path(__file__).with_name("static")
INDEX = "index.html"
COMMAND = "hostk8s-agent dashboard"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT = ((b"cache-control", b"private, max-age=31536000, immutable"),)
_FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
{head}<title>hostk8s-agent</title>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One whole answer."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send) -> None:
        """Answer with it."""
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def load_static_pages() -> dict[str, Page]:
    """Return the page as ``, and every file of it as `DIGEST/NAME`, read once.

    The digest is that of all files, so that a browser may keep them for ever, and an upgrade cannot mix the old ones
    with the new.
    """
    contents = {path.name: path.read_bytes() for path in sorted(STATIC_FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES}
    index = contents.pop(INDEX)
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    pages = {
        f"{digest}/{name}": Page(200, _MEDIA_TYPES[Path(name).suffix], content, _KEPT)
        for name, content in contents.items()
    }
    return {"": Page(200, _MEDIA_TYPES[".html"], index.replace(b'"static/', f'"{digest}/'.encode())), **pages}


def render_refusal(status: int, what: str, how: str) -> Page:
    """Return the page that says what was refused, and how the dashboard is opened. The connection ends with it."""
    command = f"<pre>{COMMAND}</pre>"
    body = f"<h1>{html.escape(what)}</h1>\n<p>{html.escape(how)}</p>\n{command}"
    return _render(status, body, headers=((b"connection", b"close"),))


def render_entrance(place: str, cookie: str) -> Page:
    """Return the page that a good link leads to: it sets the cookie, and goes on to the dashboard.

    It is no redirect: a browser that came from another site's page would not send the cookie along with one
    (SameSite=Strict), but does with a page's own step.
    """
    head = f'<meta http-equiv="refresh" content="0; url=/{place}/">\n'
    body = f'<p><a href="/{place}/">Open the dashboard</a></p>'
    return _render(200, body, head=head, headers=((b"set-cookie", cookie.encode()),))


def _render(status: int, body: str, *, head: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Page:
    text = _FRAME.format(head=head, body=body)
    return Page(status, _MEDIA_TYPES[".html"], text.encode(), headers)

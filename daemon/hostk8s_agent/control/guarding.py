"""What every request passes first: no browser, no endless body, no error without words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from starlette.exceptions import HTTPException

from hostk8s_agent.control.errors import (
    ControlError,
    ForeignOriginError,
    MethodNotAllowedError,
    RequestInvalidError,
    RequestTooLargeError,
    RequestTooSlowError,
    UnknownPathError,
)
from hostk8s_agent.control.rendering import render_error
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0

# Event names.
REQUEST_FAILED = "control.request_failed"

# A browser sends one of these with every request that a page makes (Fetch Metadata); no program of ours does.
_BROWSER_HEADERS = frozenset({b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"referer"})

log = structlog.get_logger()


class RequestGuard:
    """The outermost ASGI layer. Every error leaves it as JSON with code, message and hint.

    With `refuses_browsers` False, whoever stands before it has judged already which page may ask.
    """

    def __init__(self, app: ASGIApp, *, refuses_browsers: bool = True) -> None:
        self._app = app
        self._refuses_browsers = refuses_browsers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = _Answer(send)
        try:
            if self._refuses_browsers:
                _refuse_browsers(scope)
            body = await _read_body(scope, receive)
            # With an app in the scope, Starlette raises its refusals (404, 405) instead of answering by itself.
            await self._app({**scope, "app": self}, _Replay(body, receive), answer)
        except Exception as error:
            if answer.is_started:
                raise
            await _send_error(send, _find_words(error, scope))


class _Answer:
    """Remembers whether the answer has begun: after that, an error can be told only by closing."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False

    async def __call__(self, message: Message) -> None:
        self.is_started = True
        await self._send(message)


class _Replay:
    """Gives the body that was read already, then what comes after it (which tells a client that went away)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _refuse_browsers(scope: Scope) -> None:
    if _BROWSER_HEADERS.intersection(name for name, _value in scope["headers"]):
        raise ForeignOriginError(
            "the control socket does not answer web pages", hint="use hostk8s-agent, or a client that is no browser"
        )


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    # h11 has made sure that it is a number.
    if int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestInvalidError("the request ended before its body did", hint="send it whole")
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise RequestTooSlowError(
            f"the request's body did not arrive within {BODY_SECONDS:.0f} s", hint="send it at once"
        ) from error


def _too_large() -> RequestTooLargeError:
    return RequestTooLargeError(
        f"the request's body is larger than {MAX_BODY_BYTES // 1024} KiB",
        hint="name fewer stacks, or ask for all of them",
    )


def _find_words(error: Exception, scope: Scope) -> AgentError:
    if isinstance(error, AgentError):
        return error
    if isinstance(error, HTTPException):
        hint = "docs/cli.md lists the control API"
        if error.status_code == MethodNotAllowedError.http_status:
            return MethodNotAllowedError(f"{scope['path']} does not take {scope['method']}", hint=hint)
        return UnknownPathError(f"there is no {scope['path']} here", hint=hint)
    log.error(REQUEST_FAILED, method=scope["method"], path=scope["path"], exc_info=error)
    return ControlError("the agent failed to answer", hint="its log says why")


async def _send_error(send: Send, error: AgentError) -> None:
    status = error.http_status if isinstance(error, ControlError) else 503 if error.retryable else 409
    body = render_error(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if isinstance(error, (RequestTooLargeError, RequestTooSlowError)):
        # What is left of the body would be taken for the next request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

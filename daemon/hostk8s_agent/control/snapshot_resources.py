"""The resources of snapshots: the list, and one for each verb.

Whoever accepts `text/event-stream` is told how far the work is: messages `progress`, and at the end `outcome` with the
document, or `refused` with what a request that fails is answered with.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from anyio.to_thread import run_sync
from starlette.requests import Request  # noqa: TC002 - of the endpoints' signatures
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hostk8s_agent.control.errors import AgentBusyError, ControlError
from hostk8s_agent.control.ports import ControlledAgent  # noqa: TC001 - the same
from hostk8s_agent.control.rendering import render_error, render_message
from hostk8s_agent.control.requests import parse_object, require_stack_name
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = structlog.get_logger()

# An event name.
WORK_FAILED = "control.snapshots_failed"

MAX_WAITING = 4
"""Snapshots and restores that are waited for at once: each is done one after the other anyway."""


def build_snapshot_routes(agent: ControlledAgent) -> list[Route]:
    """Return the routes."""
    working = anyio.CapacityLimiter(MAX_WAITING)

    async def get_snapshots(request: Request) -> Response:
        name = request.query_params.get("stack")
        stack = None if name is None else require_stack_name(name)
        return _answer(await run_sync(agent.snapshots.list, stack))

    async def post_snapshots(request: Request) -> Response:
        fields = parse_object(request.headers.get("content-type", ""), await request.body())
        if working.available_tokens < 1:
            raise AgentBusyError(f"{MAX_WAITING} requests about snapshots wait already", hint="try again later")
        verb = request.path_params["verb"]
        work = partial(agent.snapshots.answer, verb, fields)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(
                _follow(work, working), media_type="text/event-stream", headers={"cache-control": "no-store"}
            )
        # What has begun is finished, also when whoever asked has gone away.
        return _answer(await run_sync(work, limiter=working, abandon_on_cancel=True))

    return [
        Route("/v1/snapshots", get_snapshots),
        Route("/v1/snapshots/{verb}", post_snapshots, methods=["POST"]),
    ]


async def _follow(work: Callable[..., dict[str, Any]], working: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    """Give the messages of a work, its outcome the last one. Whoever goes away ends the messages, and not the work."""
    loop = asyncio.get_running_loop()
    messages: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()

    def tell(document: dict[str, Any]) -> None:
        # The loop may be gone by now, and the work goes on all the same.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(messages.put_nowait, (render_message("progress", _dump(document)), False))

    async def finish() -> None:
        try:
            outcome = await run_sync(work, tell, limiter=working, abandon_on_cancel=True)
        except AgentError as error:
            last = render_message("refused", render_error(error))
        except Exception:
            log.exception(WORK_FAILED)
            last = render_message("refused", render_error(ControlError("the agent failed", hint="its log says why")))
        else:
            last = render_message("outcome", _dump(outcome))
        messages.put_nowait((last, True))

    finishing = asyncio.ensure_future(finish())
    try:
        # Something at once: the head of an answer goes with its first bytes.
        yield b": begun\n\n"
        is_last = False
        while not is_last:
            message, is_last = await messages.get()
            yield message
    finally:
        finishing.cancel()


def _answer(document: dict[str, Any]) -> Response:
    """Answer in ASCII: a repository may hold a snapshot with half a character in its name, and must be listed still."""
    return Response(_dump(document), media_type="application/json")


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

"""The control API: versioned resources over the agent, JSON in and out.

| method and path | gives |
| --- | --- |
| `GET /v1/status[?stack=NAME]` | everything, or everything with just that stack |
| `GET /v1/stacks/NAME` | one stack; slashes stay as they are |
| `POST /v1/reconcile` | takes `{"stacks": [...] or null, "wait": bool, "timeoutSeconds": n}`, gives the stacks |
| `GET /v1/plan[?stack=NAME]` | what a run would do |
| `GET /v1/events` | server-sent events from now on, or from `Last-Event-ID` on |
| `GET /v1/live` | everything, then what changes of it, as server-sent events |
| `POST /v1/dashboard/link` | a link that opens the dashboard once |
| `GET /metrics` | the figures, as Prometheus reads them |
| `GET /v1/history[?stack=NAME]` | the events that are kept |
| `GET /v1/prune` | what no contract asks for, and what holds it |
| `POST /v1/prune/confirm` | the same, and lets it be pruned however much it is |
| `POST /v1/notifications/test` | tells by every channel that this is a test, and gives how that went |
| `POST /v1/release` | takes `{"volume": name, "claim": "namespace/name"}` |
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from hostk8s_agent.control.dashboard_resources import DashboardResources
from hostk8s_agent.control.errors import (
    AgentBusyError,
    AgentStoppingError,
    UnknownStackError,
)
from hostk8s_agent.control.guarding import RequestGuard
from hostk8s_agent.control.history_resources import build_history_routes
from hostk8s_agent.control.lifecycle_resources import build_lifecycle_routes
from hostk8s_agent.control.live_resources import LiveResources
from hostk8s_agent.control.metrics_resources import MetricsResources
from hostk8s_agent.control.notification_resources import build_notification_routes
from hostk8s_agent.control.rendering import StatusRenderer, render_event, render_plans, render_stacks
from hostk8s_agent.control.requests import parse_event_id, parse_reconcile_request, require_stack_name
from hostk8s_agent.control.snapshot_resources import build_snapshot_routes
from hostk8s_agent.control.storage_resources import StorageResources
from hostk8s_agent.status.model import render_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from hostk8s_agent.control.ports import ControlledAgent, DashboardLinks

__all__ = ["UnknownStackError", "build_app"]

# Who waits holds a thread, so that there is an end to how many wait at once.
MAX_FOLLOWERS = 16
MAX_WAITING = 16
# A follower's thread looks up this often, which bounds how long a stop takes.
FOLLOW_SECONDS = 0.5
# A comment line now and then tells both ends that the other is still there.
KEEP_ALIVE_SECONDS = 15.0

_T = TypeVar("_T")


def build_app(
    agent: ControlledAgent,
    stopping: asyncio.Event,
    *,
    links: DashboardLinks | None = None,
    refuses_browsers: bool = True,
) -> ASGIApp:
    """Return the ASGI application; once `stopping` is set, all that waits ends.

    The dashboard stands before one that does not refuse browsers, and decides which of them is answered.
    """
    resources = _Resources(agent, stopping)
    routes = [
        Route("/v1/status", resources.get_status),
        Route("/v1/stacks/{name:path}", resources.get_stack),
        Route("/v1/reconcile", resources.post_reconcile, methods=["POST"]),
        Route("/v1/plan", resources.get_plan),
        *build_lifecycle_routes(agent),
        Route("/v1/events", resources.get_events),
        *LiveResources(agent, stopping).routes(),
        *DashboardResources(links).routes(),
        *MetricsResources(agent).routes(),
        *build_history_routes(agent),
        *build_notification_routes(agent),
        *StorageResources(agent).routes(),
        *build_snapshot_routes(agent),
    ]
    # A bare router: Starlette's own error page would answer in the guard's place, and not in JSON.
    return RequestGuard(Router(routes, redirect_slashes=False), refuses_browsers=refuses_browsers)


class _Resources:
    """The endpoints. What the agent does is done in threads: none of its locks may hold the event loop."""

    def __init__(self, agent: ControlledAgent, stopping: asyncio.Event) -> None:
        self._agent = agent
        self._stopping = stopping
        self._renderer = StatusRenderer()
        self._waiting = anyio.CapacityLimiter(MAX_WAITING)
        self._following = anyio.CapacityLimiter(MAX_FOLLOWERS)
        self._followers = 0

    async def get_status(self, request: Request) -> Response:
        name = request.query_params.get("stack")
        return Response(await self._call(lambda: self._render_status(name)), media_type="application/json")

    async def get_stack(self, request: Request) -> Response:
        name = require_stack_name(request.path_params["name"])
        status = await self._call(lambda: self._agent.stack_status(name))
        if status is None:
            raise await self._unknown_stack(name)
        return JSONResponse(render_json(status))

    async def post_reconcile(self, request: Request) -> Response:
        wanted = parse_reconcile_request(request.headers.get("content-type", ""), await request.body())
        if wanted.wait_seconds is not None and self._waiting.available_tokens < 1:
            raise AgentBusyError(
                f"{MAX_WAITING} requests wait for a reconcile already", hint="try again later, or without waiting"
            )
        stacks = await self._call(
            lambda: self._agent.request_reconcile(wanted.stacks, wait_seconds=wanted.wait_seconds),
            limiter=None if wanted.wait_seconds is None else self._waiting,
        )
        return JSONResponse(render_stacks(stacks))

    async def get_plan(self, request: Request) -> Response:
        name = request.query_params.get("stack")
        stack = None if name is None else require_stack_name(name)
        return JSONResponse(render_plans(await self._call(lambda: self._agent.plan(stack), limiter=self._waiting)))

    async def get_events(self, request: Request) -> Response:
        after = parse_event_id(request.headers.get("last-event-id"))
        newest = self._agent.last_event_sequence
        # A number beyond the newest is an earlier agent's: everything that we know is news to that client.
        start = newest if after is None else after if after <= newest else 0
        if self._followers >= MAX_FOLLOWERS:
            raise AgentBusyError(f"{MAX_FOLLOWERS} clients follow the events already", hint="end one of them")
        return StreamingResponse(
            self._follow(start), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def _follow(self, sequence: int) -> AsyncIterator[bytes]:
        self._followers += 1
        try:
            # Something at once: a client that waits for the head of the answer must not wait for an event.
            yield b": follows\n\n"
            quiet_seconds = 0.0
            while not self._stopping.is_set():
                events = await run_sync(
                    self._agent.events_after, sequence, FOLLOW_SECONDS, limiter=self._following, abandon_on_cancel=True
                )
                quiet_seconds = 0.0 if events else quiet_seconds + FOLLOW_SECONDS
                for event in events:
                    sequence = event.sequence
                    yield render_event(event)
                if quiet_seconds >= KEEP_ALIVE_SECONDS:
                    quiet_seconds = 0.0
                    yield b": keep-alive\n\n"
        finally:
            self._followers -= 1

    async def _call(self, function: Callable[[], _T], *, limiter: anyio.CapacityLimiter | None = None) -> _T:
        """Run `function` in a thread and return what it returns. Raises `AgentStoppingError` once we are to stop."""
        call = asyncio.ensure_future(run_sync(function, limiter=limiter, abandon_on_cancel=True))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({call, stop}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
            raise AgentStoppingError("the agent is stopping", hint="ask again once it runs again")
        finally:
            call.cancel()
            stop.cancel()

    def _render_status(self, name: str | None) -> bytes:
        status = self._agent.status()
        if name is None:
            return self._renderer.render(status)
        stacks = tuple(stack for stack in status.stacks if stack.name == name)
        if not stacks:
            raise UnknownStackError(name, [stack.name for stack in status.stacks])
        return StatusRenderer().render(replace(status, stacks=stacks))

    async def _unknown_stack(self, name: str) -> UnknownStackError:
        status = await self._call(self._agent.status)
        return UnknownStackError(name, [stack.name for stack in status.stacks])

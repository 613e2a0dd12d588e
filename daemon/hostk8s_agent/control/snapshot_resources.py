"""The resources of snapshots: the list, and one for each verb."""

from __future__ import annotations

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request  # noqa: TC002 - of the endpoints' signatures
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hostk8s_agent.control.errors import AgentBusyError
from hostk8s_agent.control.ports import ControlledAgent  # noqa: TC001 - the same
from hostk8s_agent.control.requests import parse_object, require_stack_name

MAX_WAITING = 4
"""Snapshots and restores that are waited for at once: each is done one after the other anyway."""


def build_snapshot_routes(agent: ControlledAgent) -> list[Route]:
    """Return the routes."""
    working = anyio.CapacityLimiter(MAX_WAITING)

    async def get_snapshots(request: Request) -> Response:
        name = request.query_params.get("stack")
        stack = None if name is None else require_stack_name(name)
        return JSONResponse(await run_sync(agent.snapshots.list, stack))

    async def post_snapshots(request: Request) -> Response:
        fields = parse_object(request.headers.get("content-type", ""), await request.body())
        if working.available_tokens < 1:
            raise AgentBusyError(f"{MAX_WAITING} requests about snapshots wait already", hint="try again later")
        verb = request.path_params["verb"]
        # What has begun is finished, also when whoever asked has gone away.
        return JSONResponse(
            await run_sync(agent.snapshots.answer, verb, fields, limiter=working, abandon_on_cancel=True)
        )

    return [
        Route("/v1/snapshots", get_snapshots),
        Route("/v1/snapshots/{verb}", post_snapshots, methods=["POST"]),
    ]

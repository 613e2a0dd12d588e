"""The resource of what happened: the events that are kept, those of earlier agents too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostk8s_agent.control.requests import require_stack_name
from hostk8s_agent.status.model import API_VERSION, render_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from hostk8s_agent.control.ports import ControlledAgent


def build_history_routes(agent: ControlledAgent) -> list[Route]:
    """Return the routes."""

    async def get_history(request: Request) -> Response:
        name = request.query_params.get("stack")
        stack = None if name is None else require_stack_name(name)
        events = await run_sync(agent.history)
        kept = [event for event in events if stack is None or event.stack == stack]
        return JSONResponse({"apiVersion": API_VERSION, "events": render_json(kept)})

    return [Route("/v1/history", get_history)]

"""The resource by which a person tries whether the agent can tell anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostk8s_agent.status.model import API_VERSION, render_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from hostk8s_agent.control.ports import ControlledAgent


def build_notification_routes(agent: ControlledAgent) -> list[Route]:
    """Return the routes."""

    async def post_test(request: Request) -> Response:
        del request
        channels = await run_sync(agent.notifications.test, abandon_on_cancel=True)
        return JSONResponse({"apiVersion": API_VERSION, "channels": render_json(channels)})

    return [Route("/v1/notifications/test", post_test, methods=["POST"])]

"""The resource that opens the dashboard: who may ask on the control socket may look at the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hostk8s_agent.errors import DashboardOffError

if TYPE_CHECKING:
    from starlette.requests import Request

    from hostk8s_agent.control.ports import DashboardLinks


class DashboardResources:
    """`POST /v1/dashboard/link`. Without `links` there is no dashboard."""

    def __init__(self, links: DashboardLinks | None) -> None:
        self._links = links

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [Route("/v1/dashboard/link", self._post_link, methods=["POST"])]

    async def _post_link(self, _request: Request) -> Response:
        if self._links is None:
            raise DashboardOffError(
                "this agent serves no dashboard", hint="ask the agent that runs as this workspace's service"
            )
        return JSONResponse({"url": await run_sync(self._links.create_link)})

"""The resource that Prometheus reads. docs/metrics.md lists what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from hostk8s_agent.control.ports import ControlledAgent

# Prometheus' text format, version 0.0.4 (prometheus.io, exposition formats).
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsResources:
    """`GET /metrics`."""

    def __init__(self, agent: ControlledAgent) -> None:
        self._agent = agent

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [Route("/metrics", self._get_metrics)]

    async def _get_metrics(self, _request: Request) -> Response:
        return Response(await run_sync(self._agent.metrics), headers={"content-type": MEDIA_TYPE})

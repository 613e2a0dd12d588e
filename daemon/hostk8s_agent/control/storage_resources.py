"""The resources of the volume: orphaned directories, the trash, a loss to accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hostk8s_agent.control.requests import parse_path_request, parse_purge_request
from hostk8s_agent.status.model import render_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from hostk8s_agent.control.ports import ControlledAgent

# Each holds a thread for as long as the volume takes.
MAX_AT_ONCE = 4

_T = TypeVar("_T")


class StorageResources:
    """`/v1/orphans`, `/v1/trash`, `/v1/purge...`, `/v1/volume...`."""

    def __init__(self, agent: ControlledAgent) -> None:
        self._agent = agent
        self._limiter = anyio.CapacityLimiter(MAX_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            Route("/v1/orphans", self._get_orphans),
            Route("/v1/trash", self._get_trash),
            Route("/v1/purge", self._post_purge, methods=["POST"]),
            Route("/v1/purge/undo", self._post_undo, methods=["POST"]),
            Route("/v1/purge/empty", self._post_empty, methods=["POST"]),
            Route("/v1/volume/holders", self._get_holders),
            Route("/v1/volume/take-over", self._post_take_over, methods=["POST"]),
            Route("/v1/volume/accept-loss", self._post_accept_loss, methods=["POST"]),
        ]

    async def _get_orphans(self, _request: Request) -> Response:
        return JSONResponse({"orphans": render_json(await self._call(self._agent.care.orphans))})

    async def _get_trash(self, _request: Request) -> Response:
        return JSONResponse({"trash": render_json(await self._call(self._agent.care.trash))})

    async def _post_purge(self, request: Request) -> Response:
        path, is_bare = parse_purge_request(request.headers.get("content-type", ""), await request.body())
        purged = await self._call(lambda: self._agent.care.purge(path, without_snapshot=is_bare))
        return JSONResponse({"purged": render_json(purged.directory), "secured": render_json(purged.secured)})

    async def _post_undo(self, request: Request) -> Response:
        path = await _read_path(request)
        return JSONResponse({"restored": render_json(await self._call(lambda: self._agent.care.undo(path)))})

    async def _post_empty(self, _request: Request) -> Response:
        return JSONResponse({"deleted": render_json(await self._call(self._agent.care.empty_trash))})

    async def _get_holders(self, _request: Request) -> Response:
        return JSONResponse({"holders": render_json(await self._call(self._agent.care.holders))})

    async def _post_take_over(self, request: Request) -> Response:
        path = await _read_path(request)
        return JSONResponse({"takenFrom": render_json(await self._call(lambda: self._agent.care.take_over(path)))})

    async def _post_accept_loss(self, _request: Request) -> Response:
        return JSONResponse({"accepted": await self._call(self._agent.care.accept_volume_loss)})

    async def _call(self, function: Callable[[], _T]) -> _T:
        return await run_sync(function, limiter=self._limiter, abandon_on_cancel=True)


async def _read_path(request: Request) -> str:
    return parse_path_request(request.headers.get("content-type", ""), await request.body())

"""The resources of what outlives a contract: what would be pruned, a person's word that it may, and releasing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostk8s_agent.contract.naming import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN
from hostk8s_agent.control.errors import RequestInvalidError
from hostk8s_agent.control.requests import parse_object
from hostk8s_agent.plan.wording import subject_of
from hostk8s_agent.status.model import API_VERSION, render_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from hostk8s_agent.control.ports import ControlledAgent
    from hostk8s_agent.reconcile.pruning_terms import PrunePreview

_CLAIM = re.compile(f"{DNS_LABEL_PATTERN}/{DNS_SUBDOMAIN_PATTERN}")


def build_lifecycle_routes(agent: ControlledAgent) -> list[Route]:
    """Return the routes."""

    async def get_prune(request: Request) -> Response:
        del request
        return JSONResponse(render_preview(await run_sync(agent.lifecycle.preview_pruning)))

    async def post_confirm(request: Request) -> Response:
        del request
        return JSONResponse(render_preview(await run_sync(agent.lifecycle.confirm_pruning)))

    async def post_release(request: Request) -> Response:
        volume, claim = parse_release_request(request.headers.get("content-type", ""), await request.body())
        done = await run_sync(agent.lifecycle.release_volume, volume, claim)
        return JSONResponse({"apiVersion": API_VERSION, "volume": volume, "claim": claim, "message": done})

    return [
        Route("/v1/prune", get_prune),
        Route("/v1/prune/confirm", post_confirm, methods=["POST"]),
        Route("/v1/release", post_release, methods=["POST"]),
    ]


def parse_release_request(content_type: str, body: bytes) -> tuple[str, str]:
    """Given a POST's content type and body, return the volume's name and the claim (`namespace/name`).

    For instance `{"volume": "hostk8s-sample-one-pv", "claim": "sample/one"}`. Raise `RequestInvalidError` for others.
    """
    fields = parse_object(content_type, body)
    volume, claim = fields.get("volume"), fields.get("claim")
    if set(fields) != {"volume", "claim"} or not isinstance(volume, str) or not isinstance(claim, str):
        raise RequestInvalidError(
            "a release takes a volume and a claim", hint='send {"volume": name, "claim": "namespace/name"}'
        )
    if not _CLAIM.fullmatch(claim):
        raise RequestInvalidError(
            f"{claim[:80]!r} is no claim", hint="name it as NAMESPACE/NAME, for instance sample/one"
        )
    return volume, claim


def render_preview(found: PrunePreview) -> dict[str, Any]:
    """Return the document of `hostk8s-agent prune -o json`."""
    return {
        "apiVersion": API_VERSION,
        "objects": [
            {
                "stack": verdict.leftover.stack,
                "subject": subject_of(verdict.leftover.key),
                "isHeld": problem is not None,
                "afterSeconds": round(seconds, 1),
                "problem": render_json(problem),
            }
            for verdict, problem, seconds in found.objects
        ],
        "problem": render_json(found.problem),
    }

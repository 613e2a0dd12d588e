"""Telling a listener so that its mistake stays its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()

LISTENER_FAILED = "cluster.listener_failed"

Told = ParamSpec("Told")


def contain(told: Callable[Told, None]) -> Callable[Told, None]:
    """Return a callback that never raises: a listener's mistake must not end the connection."""

    def tell(*arguments: Told.args, **named: Told.kwargs) -> None:
        try:
            told(*arguments, **named)
        except Exception:
            log.exception(LISTENER_FAILED)

    return tell

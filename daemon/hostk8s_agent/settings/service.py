"""The process: its page, its logs, and what follows when it is stuck."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class ServiceSettings(BaseModel):
    """The process: its page, its logs, and what follows when it is stuck."""

    dashboard: Annotated[
        bool, Field(description="Whether the page is served, on 127.0.0.1 alone. hostk8s-agent dashboard opens it.")
    ] = True
    dashboard_port: Annotated[
        int,
        Field(
            ge=1,
            le=65535,
            description="The page's port. Where it is taken, the next free one, and the same again after a restart.",
        ),
    ] = 7818
    dashboard_metrics: Annotated[
        bool,
        Field(
            description="Whether /metrics answers on the page's port without a session, as Prometheus needs it. Off: "
            "on the control socket alone, where other users of this machine cannot read the stacks' names and sizes."
        ),
    ] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least severe level that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json", "journal"],
        Field(
            description="auto: text on a terminal, lines with their level where systemd's journal reads, else one JSON "
            "object a line."
        ),
    ] = "auto"
    stuck_after_seconds: Annotated[
        float,
        Field(
            ge=5,
            le=86400,
            description="Seconds without a sign of life after which one of the agent's threads is stuck, and the "
            "service manager starts the agent again. Far beyond what the slowest request takes.",
        ),
    ] = 300.0
    watchdog: Annotated[
        Literal["auto", "exit"],
        Field(
            description="What follows when a thread is stuck. auto: systemd is told no more that all is well, and "
            "acts; exit: the agent ends with code 70, for launchd, which has no watchdog."
        ),
    ] = "auto"

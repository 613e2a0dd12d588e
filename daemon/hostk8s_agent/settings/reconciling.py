"""How changes are noticed and carried out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class ReconcileSettings(BaseModel):
    """How changes are noticed and carried out."""

    watch_backend: Annotated[
        Literal["auto", "native", "polling"],
        Field(description="How changes are noticed. auto: the kernel's events where they arrive, else polling."),
    ] = "auto"
    scan_interval_seconds: Annotated[
        float,
        Field(ge=1, le=3600, description="Seconds between two scans of all contract files, for events that got lost."),
    ] = 30.0
    resync_interval_seconds: Annotated[
        float,
        Field(ge=5, le=86400, description="Seconds between two reconciles of a stack that nothing has touched."),
    ] = 300.0
    prune: Annotated[
        bool,
        Field(
            description="Whether objects that no contract asks for any more are deleted (never data). On: a contract "
            "that is removed should leave nothing to clean up by hand."
        ),
    ] = True
    prune_grace_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=86400,
            description="Seconds that an object must have been asked for by no contract. 10: a branch that is checked "
            "out and back, or a folder that is moved, is over by then.",
        ),
    ] = 10.0
    rebind_released: Annotated[
        bool,
        Field(
            description="Whether a PersistentVolume whose claim was deleted is made bindable again for a claim of the "
            "same namespace and name. On: without it such a claim stays Pending for ever."
        ),
    ] = True
    workers: Annotated[int, Field(ge=1, le=64, description="Stacks reconciled at once.")] = 8

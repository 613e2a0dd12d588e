"""When snapshots are taken, how long they are kept, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator


class SnapshotSettings(BaseModel):
    """When snapshots are taken, how long they are kept, and where."""

    snapshot_schedule: Annotated[
        str,
        Field(
            description="When a stack is snapshotted whose contract does not say: a duration (every 6h), five fields "
            "of cron, or off. A directory that has not changed costs a scan and no bytes."
        ),
    ] = "0 */6 * * *"
    snapshot_timezone: Annotated[
        str,
        Field(description="The IANA name of the timezone in which schedules and days are read. Empty: this machine's."),
    ] = ""
    snapshot_keep: Annotated[
        dict[str, int | str | list[str]],
        Field(
            description="Which snapshots are kept of a stack whose contract does not say, in the words of its keep: "
            "last, hourly, daily, weekly, monthly, yearly, within, tags."
        ),
    ] = Field(default={"last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6})
    snapshot_quiesce: Annotated[
        Literal["none", "freeze", "hooks"],
        Field(
            description="How a stack is brought to rest meanwhile whose contract does not say. none: pausing a "
            "container, be it for a second, is for its owner to ask for."
        ),
    ] = "none"
    snapshot_freeze_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=600,
            description="Seconds after which frozen containers are woken, whether everything was read or not. A "
            "database's clients wait no longer than about 30 s.",
        ),
    ] = 30.0
    snapshot_jitter_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="Seconds over which the stacks of one schedule are spread, a tenth of its span at most.",
        ),
    ] = 60.0
    snapshot_min_battery_percent: Annotated[
        int,
        Field(ge=0, le=100, description="Percent of a battery below which nothing scheduled begins while it empties."),
    ] = 20
    snapshot_min_free_percent: Annotated[
        int,
        Field(
            ge=0,
            le=90,
            description="Percent of the repository's disk that must be free, or nothing scheduled begins: a full disk "
            "harms more than a snapshot that is late.",
        ),
    ] = 5
    snapshot_repository: Annotated[
        Path | None,
        Field(
            description="Where snapshots are kept: a path from / on, outside the workspace, whose data/ goes with make "
            "clean. Unset: snapshots/ in the agent's data folder."
        ),
    ] = None

    @field_validator("snapshot_repository")
    @classmethod
    def _be_the_same_everywhere(cls, value: Path | None) -> Path | None:
        """Refuse a path that means another place for each folder in which a command is run."""
        if value is not None and not value.is_absolute():
            raise ValueError("write the whole path, from / on")
        return value

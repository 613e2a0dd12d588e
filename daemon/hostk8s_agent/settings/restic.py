"""The restic repository that holds the content of snapshots, if one is to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, field_validator


class ResticSettings(BaseModel):
    """The restic repository that holds the content of snapshots, if one is to. Passwords are named, never held."""

    snapshot_restic_repository: Annotated[
        str | None,
        Field(
            pattern=r"^(/|[a-z0-9]+:)",
            description="The restic repository that holds the snapshots' content, as restic names it: a folder (from "
            "/ on), sftp:, rest:, s3: ... Unset: files in snapshot_repository, where the manifests are in any case.",
        ),
    ] = None
    snapshot_restic_password_file: Annotated[
        Path | None,
        Field(
            description="A file of mode 600 with the restic repository's password. Unset: the command, or systemd's "
            "credential restic-password."
        ),
    ] = None
    snapshot_restic_password_command: Annotated[
        str,
        Field(description="A command that writes the restic repository's password, such as pass or secret-tool."),
    ] = ""
    snapshot_restic_environment_file: Annotated[
        Path | None,
        Field(
            description="A file of mode 600 with lines NAME=VALUE for restic: AWS_ACCESS_KEY_ID, "
            "RESTIC_REST_PASSWORD and the like. The settings hold no secret."
        ),
    ] = None

    @field_validator("snapshot_restic_repository")
    @classmethod
    def _hold_no_secret(cls, value: str | None) -> str | None:
        """Refuse an address with a password: settings are shown, dumped and kept."""
        if value and re.search(r"://[^/@]*:[^/@]*@", value):
            raise ValueError(
                "a password has no place here: put RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD into the file of "
                "snapshot_restic_environment_file"
            )
        return value

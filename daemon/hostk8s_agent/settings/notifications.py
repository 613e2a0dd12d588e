"""Who is told of what goes wrong while nobody looks, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainSerializer, SecretStr, SerializationInfo, field_validator

NotificationKind = Literal["problem", "snapshot-failed", "snapshot-overdue", "snapshot-suspect", "recovery"]

REVEALS_SECRETS = "reveals_secrets"
"""The key of a serialization's context with which secrets are written as they are: for a file that is ours alone."""


def _render_secret(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if (info.context or {}).get(REVEALS_SECRETS) else str(secret)


Secret = Annotated[SecretStr, PlainSerializer(_render_secret, return_type=str, when_used="json")]


class NotificationSettings(BaseModel):
    """Who is told of what goes wrong while nobody looks, and how. Secrets are shown nowhere."""

    notify_desktop: Annotated[
        bool,
        Field(
            description="Whether the desktop shows it: notify-send, or osascript on macOS, where there is one. On: a "
            "problem that nobody sees is found out when the data is needed."
        ),
    ] = True
    notify_webhook_url: Annotated[
        Secret | None,
        Field(
            description="Where it is posted as JSON (Slack, Mattermost and Discord read it as it is). Its path is "
            "often the secret, so that only its host is ever shown."
        ),
    ] = None
    notify_webhook_token: Annotated[
        Secret | None, Field(description="What is sent to the webhook as Authorization: Bearer. Never shown.")
    ] = None
    notify_command: Annotated[
        list[Secret],
        Field(
            description="A program and its arguments, run without a shell; the text is its input. Empty: none. Only "
            "the program's name is shown, as arguments may hold tokens."
        ),
    ] = Field(default=[])
    notify_about: Annotated[
        list[NotificationKind],
        Field(
            description="What is told: problem, snapshot-failed, snapshot-overdue, snapshot-suspect, recovery. "
            "Recovery is off: it is no failure."
        ),
    ] = Field(default=["problem", "snapshot-failed", "snapshot-overdue", "snapshot-suspect"])
    notify_after_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=86400,
            description="Seconds that a problem must last. 300: a restart of Docker, or of the cluster, is over by "
            "then.",
        ),
    ] = 300.0
    notify_repeat_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=2592000,
            description="Seconds after which what still lasts is told again; 0: never. A day: who has seen it "
            "knows it.",
        ),
    ] = 86400.0
    notify_max_per_hour: Annotated[
        int,
        Field(
            ge=1,
            le=60,
            description="Notifications in an hour at most; what is beyond them comes later, together in one.",
        ),
    ] = 6

    @field_validator("notify_webhook_url")
    @classmethod
    def _require_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must begin with https:// or http://")
        return value

"""All that a person may set, put together of its groups. Each setting has a meaning, a unit, a default and a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hostk8s_agent.settings.notifications import NotificationSettings
from hostk8s_agent.settings.reconciling import ReconcileSettings
from hostk8s_agent.settings.restic import ResticSettings
from hostk8s_agent.settings.service import ServiceSettings
from hostk8s_agent.settings.snapshots import SnapshotSettings
from hostk8s_agent.settings.storage import StorageSettings

if TYPE_CHECKING:
    from typing import Final

ENVIRONMENT_PREFIX: Final = "HOSTK8S_AGENT_"


# The groups in reverse: pydantic collects the fields from the last base on, and in that order people are shown them.
class Settings(
    ServiceSettings,
    NotificationSettings,
    ResticSettings,
    SnapshotSettings,
    ReconcileSettings,
    StorageSettings,
    BaseSettings,
):
    """All settings, valid by construction."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before the environment. HostK8s' .env is not ours to read settings from."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings

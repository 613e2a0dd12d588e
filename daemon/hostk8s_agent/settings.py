"""What a person may set. Each setting has a meaning, a unit, a default and a reason.

Read from `HOSTK8S_AGENT_<NAME>` in the environment, then from `hostk8s-agent.toml` in the workspace.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hostk8s_agent.errors import SettingsError

if TYPE_CHECKING:
    from hostk8s_agent.workspace import Workspace

SETTINGS_FILE_NAME = "hostk8s-agent.toml"
ENVIRONMENT_PREFIX = "HOSTK8S_AGENT_"


class Settings(BaseSettings):
    """All settings, valid by construction."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    volume_name: Annotated[
        str,
        Field(
            pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$",
            description="The Docker volume. HostK8s' Kind configuration mounts hostk8s-pv-data at /mnt/pv.",
        ),
    ] = "hostk8s-pv-data"
    volume_backend: Annotated[
        Literal["auto", "docker", "host-directory"],
        Field(
            description="Where directories are made. auto: in the Docker volume where Docker is to be had, else in "
            "data/pv/ of the workspace."
        ),
    ] = "auto"
    volume_access: Annotated[
        Literal["auto", "direct", "helper-container"],
        Field(
            description="The way into the Docker volume. auto: direct where its mountpoint is writable by us, else "
            "through a container that is created and never started."
        ),
    ] = "auto"
    keep_volume: Annotated[
        bool,
        Field(
            description="Whether a tiny container refers to the Docker volume, so that docker volume rm and prune "
            "leave it. On: Kind mounts it in a way that the engine does not count."
        ),
    ] = True
    deprecated_folders: Annotated[
        bool,
        Field(
            description="Whether data/storage/, data/pv/ and data/postgres/ of the workspace are kept as well. Off: "
            "HostK8s keeps everything in the Docker volume since its ADR-012."
        ),
    ] = False
    docker_endpoint: Annotated[
        str | None,
        Field(description="The engine, as unix:///path or tcp://host. Unset: DOCKER_HOST, the context, known sockets."),
    ] = None
    allow_remote_docker: Annotated[
        bool,
        Field(description="Whether an engine elsewhere may be used. Off: a changed Docker context must not move data."),
    ] = False
    kubeconfig: Annotated[
        Path | None,
        Field(
            description="The kubeconfig. Unset: KUBECONFIG, else KUBECONFIG_PATH of .env, else data/kubeconfig/config."
        ),
    ] = None
    cluster_name: Annotated[
        str | None,
        Field(description="The Kind cluster's name. Unset: CLUSTER_NAME of .env, else hostk8s."),
    ] = None
    kubernetes_events: Annotated[
        bool,
        Field(
            description="Whether what concerns a PersistentVolume is told on it, as events: kubectl describe pv "
            "shows them. At most four at once, and three a minute."
        ),
    ] = True
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
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least severe level that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"], Field(description="auto: text on a terminal, else one JSON object a line.")
    ] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file. HostK8s' .env is not ours to read settings from."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, toml_file=cls.model_config.get("toml_file"))
        return init_settings, env_settings, toml


def load_settings(workspace: Workspace) -> Settings:
    """Return the workspace's settings. Raises `SettingsError` naming every setting that is wrong."""
    file = workspace.root / SETTINGS_FILE_NAME

    class WorkspaceSettings(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return WorkspaceSettings()
    except ValidationError as error:
        wrong = [_explain(one) for one in error.errors(include_input=False, include_url=False)]
        raise SettingsError(
            "; ".join(wrong), hint=f"mend {SETTINGS_FILE_NAME} or the variable {ENVIRONMENT_PREFIX}<NAME>"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{SETTINGS_FILE_NAME}: {error}", hint=f"mend {SETTINGS_FILE_NAME}: it must be TOML in UTF-8"
        ) from error
    except OSError as error:
        raise SettingsError(
            f"{SETTINGS_FILE_NAME} cannot be read: {error.strerror}", hint="make it a readable file"
        ) from error


def _explain(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    return f"{name}: {error['msg']}"

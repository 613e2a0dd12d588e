"""What a person may set. Each setting has a meaning, a unit, a default and a reason.

The later ones win: defaults, the user's `settings.yaml`, the workspace's `hostk8s-agent.toml` (docs/adr/0009),
`HOSTK8S_AGENT_<NAME>` in the environment, `--set NAME=VALUE`.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from hostk8s_agent.errors import SettingsError
from hostk8s_agent.settings_files import (
    SettingsFile,
    find_user_file,
    find_workspace_file,
    read_user_file,
    read_workspace_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.workspace import Workspace

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
    snapshot_repository: Annotated[
        Path | None,
        Field(
            description="Where snapshots are kept. Unset: snapshots/ in the agent's data folder, outside the "
            "workspace, whose data/ goes with make clean."
        ),
    ] = None
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


def load_settings(workspace: Workspace, flags: Mapping[str, str] | None = None) -> Settings:
    """Return the workspace's settings. Raises `SettingsError` naming every setting that is wrong.

    `flags` are names and values from the command line, which win over all else.
    """
    files = _read_files(workspace)

    class WorkspaceSettings(Settings):
        @classmethod
        def settings_customise_sources(cls, *arguments: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:  # noqa: ANN401 - pydantic's
            first = super().settings_customise_sources(*arguments, **sources)
            given = (dict(flags or {}), *(dict(file.values) for file in files))
            from_flags, *from_files = (InitSettingsSource(cls, init_kwargs=values) for values in given)
            return from_flags, *first, *from_files

    try:
        return WorkspaceSettings()
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        places = {_place(one, files, flags or {}) for one in wrong}
        raise SettingsError(
            "; ".join(_explain(one, files, flags or {}) for one in wrong),
            hint=f"mend {', '.join(sorted(places))}; what there is to set: hostk8s-agent settings show",
        ) from error


def find_origins(workspace: Workspace, flags: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return for each setting where its value comes from: a flag, a variable, a file with its line, or `default`."""
    files = _read_files(workspace)
    return {name: _find_origin(name, files, flags or {}) for name in Settings.model_fields}


def _read_files(workspace: Workspace) -> tuple[SettingsFile, ...]:
    """Read the files, the one that wins first."""
    return read_workspace_file(find_workspace_file(workspace)), read_user_file(find_user_file())


def _find_origin(name: str, files: tuple[SettingsFile, ...], flags: Mapping[str, str]) -> str:
    if name in flags:
        return f"--set {name}"
    # pydantic-settings finds variables whatever their case.
    variable = f"{ENVIRONMENT_PREFIX}{name}".upper()
    if any(one.upper() == variable for one in os.environ):
        return variable
    return next((file.place_of(name) for file in files if name in file.values), "default")


def _place(error: Any, files: tuple[SettingsFile, ...], flags: Mapping[str, str]) -> str:  # noqa: ANN401 - pydantic's
    return _find_origin(str(error["loc"][0]), files, flags)


def _explain(error: Any, files: tuple[SettingsFile, ...], flags: Mapping[str, str]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = ".".join(str(part) for part in error["loc"])
    place = _place(error, files, flags)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return f"{place}: {name} is not a setting{f' (did you mean {near[0]}?)' if near else ''}"
    return f"{place}: {name}: {error['msg']}"

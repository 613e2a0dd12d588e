"""Where settings come from, and which wins.

The later ones win: defaults, the user's `settings.yaml`, the workspace's `hostk8s-agent.toml` (docs/adr/0009),
`HOSTK8S_AGENT_<NAME>` in the environment, `--set NAME=VALUE`.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource

from hostk8s_agent.errors import SettingsError
from hostk8s_agent.settings.files import (
    SettingsFile,
    find_user_file,
    find_workspace_file,
    read_user_file,
    read_workspace_file,
)
from hostk8s_agent.settings.model import ENVIRONMENT_PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.workspace import Workspace


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

"""Where settings come from, and which wins.

The later ones win: defaults, the user's `settings.yaml`, the workspace's `hostk8s-agent.toml` (docs/adr/0009),
`HOSTK8S_AGENT_<NAME>` in the environment, `--set NAME=VALUE`.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING, Any, get_origin

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
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.workspace import Workspace

# What is no single value is JSON in a variable and in a flag.
_COMPLEX = frozenset(
    name for name, field in Settings.model_fields.items() if get_origin(field.annotation) in {dict, list}
)


def load_settings(
    workspace: Workspace,
    flags: Mapping[str, str] | None = None,
    *,
    judge: Callable[[Settings], object] = lambda _settings: None,
) -> Settings:
    """Return the workspace's settings. Raises `SettingsError` naming every setting that is wrong.

    `flags` are names and values from the command line, which win over all else. `judge` knows what no single value
    tells, and raises `SettingsError` that begins with the setting's name.
    """
    files = _read_files(workspace)
    given = flags or {}
    _refuse_unreadable(given)
    from_flags = {name: _read_flag(name, value) for name, value in given.items()}
    # pydantic-settings takes names in any case; then two could be one, and none of them be found again.
    unknown = [(name, source) for source in (given, *(file.values for file in files)) for name in source]
    unknown = [(name, source) for name, source in unknown if name not in Settings.model_fields]
    wrong = [f"{_find_origin(name, files, given)}: {_say_unknown(name)}" for name, _ in unknown]
    places = {_find_origin(name, files, given) for name, _ in unknown}

    class WorkspaceSettings(Settings):
        @classmethod
        def settings_customise_sources(cls, *arguments: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:  # noqa: ANN401 - pydantic's
            first = super().settings_customise_sources(*arguments, **sources)
            known = (
                {name: value for name, value in values.items() if name in Settings.model_fields}
                for values in (from_flags, *(file.values for file in files))
            )
            from_flags_first, *rest = (InitSettingsSource(cls, init_kwargs=values) for values in known)
            return from_flags_first, *first, *rest

    try:
        settings = WorkspaceSettings()
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        wrong += [_explain(one, files, given) for one in errors]
        places |= {_find_origin(str(one["loc"][0]), files, given) for one in errors}
        raise _refuse(wrong, places) from error
    if wrong:
        raise _refuse(wrong, places)
    repository = settings.snapshot_repository
    if repository is not None and repository.resolve().is_relative_to(workspace.root.resolve()):
        raise SettingsError(
            f"{_find_origin('snapshot_repository', files, given)}: snapshot_repository: {repository} lies in the "
            "workspace, and make clean would remove it together with the data",
            hint="name a folder outside the workspace",
        )
    try:
        judge(settings)
    except SettingsError as error:
        place = _find_origin(error.message.split(maxsplit=1)[0].rstrip(":"), files, given)
        raise SettingsError(f"{place}: {error.message}", hint=error.hint) from error
    return settings


def find_unknown_variables() -> tuple[str, ...]:
    """Say of each variable with our prefix that names no setting that it does not: nobody looks at it."""
    return tuple(
        f"{variable} is ignored: {_say_unknown(variable[len(ENVIRONMENT_PREFIX) :].lower())}"
        for variable in sorted(os.environ)
        if variable.upper().startswith(ENVIRONMENT_PREFIX)
        and variable[len(ENVIRONMENT_PREFIX) :].lower() not in Settings.model_fields
    )


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


def _refuse_unreadable(flags: Mapping[str, str]) -> None:
    """Refuse variables and flags that should be JSON and are not, before pydantic-settings ends at the first."""
    variables = {one.upper(): value for one, value in os.environ.items()}
    for name in sorted(_COMPLEX):
        variable = f"{ENVIRONMENT_PREFIX}{name}".upper()
        for place, value in ((f"--set {name}", flags.get(name)), (variable, variables.get(variable))):
            if value is None:
                continue
            try:
                json.loads(value)
            except ValueError as error:
                example = json.dumps(Settings.model_fields[name].get_default() or ["notify-me"])
                raise SettingsError(
                    f"{place}: {name} must be JSON here", hint=f"mend {place}, for instance {example}"
                ) from error


def _read_flag(name: str, value: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(value) if name in _COMPLEX else value


def _say_unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
    return f"{name} is not a setting{f' (did you mean {near[0]}?)' if near else ''}"


def _explain(error: Any, files: tuple[SettingsFile, ...], flags: Mapping[str, str]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = ".".join(str(part) for part in error["loc"])
    # What we say ourselves comes with pydantic's word for how it was said.
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{_find_origin(str(error['loc'][0]), files, flags)}: {name}: {message}"


def _refuse(wrong: Iterable[str], places: Iterable[str]) -> SettingsError:
    return SettingsError(
        "; ".join(wrong),
        hint=f"mend {', '.join(sorted(places))}; what there is to set: hostk8s-agent settings schema -o table",
    )

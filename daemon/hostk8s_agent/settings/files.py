"""The two files that hold settings: the user's, for all workspaces, and the workspace's own.

Both are read into plain values here, each with the line it stands in; what the values may be is said in `settings`.
"""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostk8s_agent.errors import SettingsError
from hostk8s_agent.settings.yaml_reading import NoSettingsError, read_yaml
from hostk8s_agent.workspace import find_home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.workspace import Workspace

USER_FILE_NAME = "settings.yaml"
WORKSPACE_FILE_NAME = "hostk8s-agent.toml"
# A file of settings has some kilobytes; one that has more is another file.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What one file says: nothing when it does not exist. `places` are lines and columns, from 1, of the values."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def place_of(self, name: str) -> str:
        """Where a setting stands, for people: `file:line:column`."""
        return ":".join(map(str, (self.path, *self.places.get(name, ()))))


def find_user_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's settings are, whether or not there are any (XDG Base Directory Specification)."""
    if sys.platform == "darwin":
        return find_home() / "Library/Application Support/hostk8s-agent" / USER_FILE_NAME
    return Path(environment.get("XDG_CONFIG_HOME") or find_home() / ".config") / "hostk8s-agent" / USER_FILE_NAME


def find_workspace_file(workspace: Workspace) -> Path:
    """Return where the workspace's own settings are, whether or not there are any."""
    return workspace.root / WORKSPACE_FILE_NAME


def read_user_file(path: Path) -> SettingsFile:
    """Read YAML. Raises `SettingsError` for what is no mapping of names to values."""
    text = _read(path, "YAML")
    if text is None:
        return SettingsFile(path)
    try:
        values, places = read_yaml(text)
    except NoSettingsError as error:
        place = ":".join(filter(None, (str(path), error.place)))
        raise SettingsError(f"{place}: {error.message}", hint=f"mend {path}: YAML, one `name: value` a line") from error
    return SettingsFile(path, values, places)


def read_workspace_file(path: Path) -> SettingsFile:
    """Read TOML. Raises `SettingsError` for what is none."""
    text = _read(path, "TOML")
    if text is None:
        return SettingsFile(path)
    try:
        # An editor's byte order mark is no TOML; YAML has a place for it.
        values = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}", hint=f"mend {path.name}: it must be TOML in UTF-8") from error
    return SettingsFile(path, values, _find_places(text, values))


def _find_places(text: str, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Find where settings stand in TOML, which tells nobody: a name begins its line, before the first table."""
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("["):
            break
        name, equals, value = line.partition("=")
        name = name.strip().strip("\"'\ufeff")
        if equals and name in names:
            places.setdefault(name, (number, len(line) - len(value.lstrip()) + 1))
    return places


def sign_file(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file does, None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _read(path: Path, language: str) -> str | None:
    try:
        # A FIFO would hold us up for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SettingsError(f"{path} is not a file", hint="make it a readable file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", hint="make it a readable file") from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{path} has more than {MAX_BYTES} bytes", hint=f"mend {path}: it holds settings alone")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: {error}", hint=f"mend {path}: it must be {language} in UTF-8") from error

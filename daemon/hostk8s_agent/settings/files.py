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

import yaml

from hostk8s_agent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.workspace import Workspace

USER_FILE_NAME = "settings.yaml"
WORKSPACE_FILE_NAME = "hostk8s-agent.toml"
# A file of settings has some kilobytes; one that has more is another file.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What one file says: nothing when it does not exist. `lines` count from 1, where they are known."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def place_of(self, name: str) -> str:
        """Where a setting stands, for people."""
        line = self.lines.get(name)
        return str(self.path) if line is None else f"{self.path}:{line}"


def find_user_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's settings are, whether or not there are any (XDG Base Directory Specification)."""
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/hostk8s-agent" / USER_FILE_NAME
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hostk8s-agent" / USER_FILE_NAME


def find_workspace_file(workspace: Workspace) -> Path:
    """Return where the workspace's own settings are, whether or not there are any."""
    return workspace.root / WORKSPACE_FILE_NAME


def read_user_file(path: Path) -> SettingsFile:
    """Read YAML. Raises `SettingsError` for what is no mapping of names to values."""
    text = _read(path, "YAML")
    if text is None:
        return SettingsFile(path)
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        if root is None:
            return SettingsFile(path)
        if not isinstance(root, yaml.MappingNode):
            raise SettingsError(f"{path}: not names and values", hint=f"mend {path}: one `name: value` a line")
        lines: dict[str, int] = {}
        for key, _value in root.value:
            line = key.start_mark.line + 1
            if str(key.value) in lines:
                raise SettingsError(
                    f"{path}:{line}: {key.value} stands there twice, first in line {lines[key.value]}",
                    hint=f"mend {path}: remove one of the two",
                )
            lines[str(key.value)] = line
        values = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SettingsError(
            f"{place}: {getattr(error, 'problem', None) or 'no YAML'}", hint=f"mend {path}: it must be YAML"
        ) from error
    return SettingsFile(path, {str(name): value for name, value in values.items()}, lines)


def read_workspace_file(path: Path) -> SettingsFile:
    """Read TOML. Raises `SettingsError` for what is none."""
    text = _read(path, "TOML")
    if text is None:
        return SettingsFile(path)
    try:
        return SettingsFile(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}", hint=f"mend {path.name}: it must be TOML in UTF-8") from error


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

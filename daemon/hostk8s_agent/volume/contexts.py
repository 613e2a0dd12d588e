"""Docker contexts: which one is chosen, and where it leads (docker/cli, cli/context/store)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostk8s_agent.volume.errors import ContextUnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONTEXT = "default"
"""The context that always exists and stands for the engine's default socket."""


@dataclass(frozen=True, slots=True)
class DockerContext:
    """One context: `url` of its engine, and the folder with `ca.pem`, `cert.pem` and `key.pem` if it has one."""

    name: str
    url: str
    tls_folder: Path | None = None


def docker_folder(environment: Mapping[str, str], home: Path) -> Path:
    """The folder of the Docker client's own files: `$DOCKER_CONFIG`, else `~/.docker`."""
    return Path(environment.get("DOCKER_CONFIG") or home / ".docker")


def find_context(environment: Mapping[str, str], home: Path) -> DockerContext | None:
    """Return the chosen context, None when none is chosen or it is the default one.

    `$DOCKER_CONTEXT` goes before `currentContext` of `config.json`, as in the Docker client. Raises
    `ContextUnknownError` for a context that does not exist: falling back to a default socket would talk to an
    engine that nobody chose.
    """
    folder = docker_folder(environment, home)
    name = environment.get("DOCKER_CONTEXT") or _current_context(folder / "config.json")
    if name in ("", DEFAULT_CONTEXT):
        return None
    return _load_context(folder / "contexts", name)


def _current_context(config_file: Path) -> str:
    # The Docker client goes on with a warning when its own file is broken, and so do we: no context was chosen.
    try:
        content = json.loads(config_file.read_bytes())
    except (OSError, ValueError):
        return ""
    name = content.get("currentContext") if isinstance(content, dict) else None
    return name if isinstance(name, str) else ""


def _load_context(contexts: Path, name: str) -> DockerContext:
    digest = hashlib.sha256(name.encode()).hexdigest()
    hint = "choose another one with `docker context use NAME`, or set DOCKER_HOST, then restart the agent"
    try:
        content: Any = json.loads((contexts / "meta" / digest / "meta.json").read_bytes())
        url = content["Endpoints"]["docker"]["Host"]
    except FileNotFoundError as error:
        raise ContextUnknownError(f"there is no Docker context {name!r}", hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContextUnknownError(f"the file of the Docker context {name!r} cannot be read", hint=hint) from error
    if not isinstance(url, str) or not url:
        raise ContextUnknownError(f"the Docker context {name!r} names no engine", hint=hint)
    tls_folder = contexts / "tls" / digest / "docker"
    return DockerContext(name, url, tls_folder if tls_folder.is_dir() else None)

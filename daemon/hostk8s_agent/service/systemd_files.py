"""The systemd units of one workspace as text: the template, the same for all, and a drop-in with what is its own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.service.errors import ServiceError
from hostk8s_agent.service.installing import InstalledFile, find_data_folders
from hostk8s_agent.service.templates import fill_in, read_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hostk8s_agent.service.installing import Owner
    from hostk8s_agent.workspace import Workspace

TEMPLATE = "hostk8s-agent@.service"
DROP_IN = "workspace.conf"

# systemd.unit(5): of a unit's name, type suffix included.
MAX_UNIT_NAME = 255
# What systemd-escape leaves as it is: systemd.unit(5), STRING ESCAPING FOR INCLUSION IN UNIT NAMES.
_PLAIN = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:_.")
# Control characters but the tab, and surrogates: bytes that are no UTF-8 (os.fsdecode), whose line systemd ignores.
_UNWRITABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
# Homes are hidden from the system service; what of these it needs is named.
_HIDDEN_BY_PROTECT_HOME = (Path("/home"), Path("/root"), Path("/run/user"))
_SOCKET_SCHEME = "unix://"


def escape_path(path: Path) -> str:
    """Return an absolute path as an instance's name, as `systemd-escape --path` does."""
    parts = [part for part in os.fsencode(path).split(b"/") if part]
    text = b"/".join(parts)
    if not text:
        return "-"
    escaped = "".join(
        "-" if byte == ord("/") else chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in text[1:]
    )
    first = text[0]
    return (chr(first) if first in _PLAIN and first != ord(".") else f"\\x{first:02x}") + escaped


def unit_name(workspace: Workspace) -> str:
    """Return the name of the workspace's instance. Raises `ServiceError` where the path is too long for one."""
    name = f"hostk8s-agent@{escape_path(workspace.root)}.service"
    if len(name) > MAX_UNIT_NAME:
        raise ServiceError(
            f"{workspace.root} is too long for the name of a unit: {len(name)} of {MAX_UNIT_NAME} characters, in which "
            "all but a-z, A-Z, 0-9 and :_. take four",
            hint="move the checkout to a shorter path, or run the agent by hand: hostk8s-agent run",
        )
    return name


def render_user_files(
    folder: Path, workspace: Workspace, program: Sequence[str], environment: Mapping[str, str]
) -> tuple[InstalledFile, ...]:
    """Return the files of a user unit, below `folder` (`~/.config/systemd/user`)."""
    return _render("systemd/user", folder, workspace, program, _environment_lines(environment))


def render_system_files(
    folder: Path, workspace: Workspace, program: Sequence[str], environment: Mapping[str, str], owner: Owner
) -> tuple[InstalledFile, ...]:
    """Return the files of a system unit, below `folder` (`/etc/systemd/system`), that runs as the workspace's owner."""
    writable = [workspace.root, *find_data_folders(owner)]
    readable = list(_list_read_folders(program, environment, owner))
    sockets = [
        Path(value.removeprefix(_SOCKET_SCHEME))
        for name, value in environment.items()
        if name in {"DOCKER_HOST", "HOSTK8S_AGENT_DOCKER_ENDPOINT"} and value.startswith(_SOCKET_SCHEME)
    ]
    lines = [
        "# The user whose workspace it is; the folder of the control socket is this user's alone.",
        f"User={owner.name}",
        f"Group={owner.gid}",
        *_group_lines(owner),
        f"RuntimeDirectory=hostk8s-agent-{owner.uid}",
        "# The program, and what it reads.",
        *(f"BindReadOnlyPaths=-{_quote_path(path)}" for path in _only_hidden(readable)),
        "# What it writes: the workspace, and its state, snapshots and settings, which are the same by hand.",
        *(f"BindPaths={_quote_path(path)}" for path in writable),
        *(f"BindPaths=-{_quote_path(path)}" for path in sockets),
        *_environment_lines({"HOME": str(owner.home), **environment}),
    ]
    return _render("systemd/system", folder, workspace, program, lines)


def _render(
    kind: str, folder: Path, workspace: Workspace, program: Sequence[str], lines: Iterable[str]
) -> tuple[InstalledFile, ...]:
    template = fill_in(read_template(f"{kind}/{TEMPLATE}"), {"PROGRAM": " ".join(_quote(word) for word in program)})
    drop_in = "\n".join(("# What this workspace needs, written by hostk8s-agent service install.", "[Service]", *lines))
    return (
        InstalledFile(folder / TEMPLATE, template),
        # HOSTK8S_AGENT_* may hold what nobody else is to read, such as a webhook's token.
        InstalledFile(folder / f"{unit_name(workspace)}.d" / DROP_IN, f"{drop_in}\n", is_private=True),
    )


def _environment_lines(environment: Mapping[str, str]) -> list[str]:
    return [f"Environment={_quote(f'{name}={value}')}" for name, value in environment.items()]


def _group_lines(owner: Owner) -> list[str]:
    """The group of Docker's socket, where there is one. Root needs none."""
    if owner.uid == 0:
        return []
    import grp  # noqa: PLC0415 - for this alone

    try:
        grp.getgrnam("docker")
    except KeyError:
        return []
    return ["# Docker's socket: whoever may use it is root on this machine.", "SupplementaryGroups=docker"]


def _list_read_folders(program: Sequence[str], environment: Mapping[str, str], owner: Owner) -> Iterable[Path]:
    yield Path(program[0]).parent
    yield Path(program[0]).resolve().parent
    # The interpreter of a program installed by uv or pipx, and its packages, are in the home too.
    yield Path(sys.prefix)
    yield Path(sys.base_prefix)
    yield owner.home / ".docker"
    yield owner.home / ".kube"
    for path in environment.get("KUBECONFIG", "").split(os.pathsep):
        if path:
            yield Path(path).absolute().parent


def _only_hidden(paths: Iterable[Path]) -> Iterable[Path]:
    """Those of the paths that ProtectHome= hides, each once; a home as a whole never, whatever lies in it."""
    seen: set[Path] = set()
    for path in paths:
        is_hidden = any(path != home and path.is_relative_to(home) for home in _HIDDEN_BY_PROTECT_HOME)
        is_home = path.parent == Path("/home") or path == Path("/root")
        if is_hidden and not is_home and path not in seen:
            seen.add(path)
            yield path


def _quote_path(path: Path) -> str:
    """Return a path for BindPaths=, where a colon outside of quotes ends it."""
    quoted = _quote(path)
    return f'"{quoted}"' if ":" in quoted and not quoted.startswith('"') else quoted


def _quote(value: object) -> str:
    """Return a value as one word of a unit file: quoted where it has to be, its percent signs doubled."""
    text = str(value).replace("%", "%%")
    if unwritable := _UNWRITABLE.search(text):
        raise ServiceError(
            f"{text!r} cannot be written into a unit: it holds {unwritable[0]!r}",
            hint="rename it, or unset the variable",
        )
    if text and not any(character in text for character in " \t\"'\\;$#"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

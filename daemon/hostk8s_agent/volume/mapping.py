"""Where a path of the Kind node lies on this side: one table, and the way from a contract's path into the volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from hostk8s_agent.contract.paths import RESERVED_PREFIX
from hostk8s_agent.volume.errors import PathOutsideVolumeError

Components: TypeAlias = tuple[str, ...]
"""A path below the volume's root: never empty, and no component is empty, `.` or `..`."""

_FORBIDDEN_COMPONENTS = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class NodeMount:
    """One folder of HostK8s and where the node has it.

    `node_path` is empty for what the host alone uses. `host_folder` is relative to the workspace; None means the Docker
    volume. `is_deprecated` folders are made only when the settings ask for them. `mode` is what the folder is to
    have, None where its owner may choose, as long as the owner can use it.
    """

    node_path: str
    host_folder: PurePosixPath | None
    is_deprecated: bool = False
    mode: int | None = None


VOLUME_MOUNT = NodeMount("/mnt/pv", None)

NODE_MOUNTS = (
    VOLUME_MOUNT,
    NodeMount("/mnt/postgres", PurePosixPath("data/postgres"), is_deprecated=True, mode=0o755),
    NodeMount("/mnt/storage", PurePosixPath("data/storage"), is_deprecated=True, mode=0o755),
    NodeMount("/mnt/pv", PurePosixPath("data/pv"), is_deprecated=True, mode=0o755),
    NodeMount("", PurePosixPath("data/kubeconfig")),
    NodeMount("", PurePosixPath("data/registry")),
)
"""HostK8s' folders (its ADR-012), each once. Of two for one path of the node the first one is in use."""


def find_node_mount(path: str) -> NodeMount | None:
    """Return the mount that a path of the node lies in (or is), for instance `/mnt/pv/a` → the volume."""
    for mount in NODE_MOUNTS:
        if mount.node_path and (path == mount.node_path or path.startswith(f"{mount.node_path}/")):
            return mount
    return None


def parse_volume_path(path: str) -> Components:
    """Return a contract's path as components below the volume's root, for instance `/mnt/pv/a/b` → `("a", "b")`.

    Never empty, and no component is empty, `.` or `..`, whatever the contract's own check let through. Raises
    `PathOutsideVolumeError` for everything else, the volume's root included.
    """
    prefix = f"{VOLUME_MOUNT.node_path}/"
    components = tuple(path.removeprefix(prefix).split("/"))
    if not path.startswith(prefix) or "\0" in path or not _FORBIDDEN_COMPONENTS.isdisjoint(components):
        raise PathOutsideVolumeError(
            f"{path!r} is no path below {VOLUME_MOUNT.node_path}",
            hint=f"write a clean path below {prefix}, without '.', '..' and empty components",
        )
    return components


def render_volume_path(components: Components) -> str:
    """Return components below the volume's root as the contract's path: the reverse of `parse_volume_path`."""
    return "/".join((VOLUME_MOUNT.node_path, *components))


def parse_own_path(path: str) -> Components:
    """Return the components of a path whose first name starts with `.hostk8s`: ours, or what lies in it.

    Raises `PathOutsideVolumeError` for every other: what is removed or written as a file is never a stack's.
    """
    components = parse_volume_path(path)
    if not components[0].startswith(RESERVED_PREFIX):
        raise PathOutsideVolumeError(
            f"{path!r} is not the agent's own",
            hint=f"the agent writes files and removes trees below {VOLUME_MOUNT.node_path}/{RESERVED_PREFIX}... alone",
        )
    return components


def parse_moved_paths(first: str, second: str) -> tuple[Components, Components]:
    """Return the components of two paths of which at least one lies in a folder of ours, neither inside the other."""
    one, other = parse_volume_path(first), parse_volume_path(second)
    if not any(part[0].startswith(RESERVED_PREFIX) for part in (one, other)):
        parse_own_path(first)
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        raise PathOutsideVolumeError(
            f"{first!r} and {second!r} lie inside each other", hint="move a directory beside itself, not into itself"
        )
    return one, other

"""Looking into the volume through the archive API: component by component, so that no link is followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.observed import ObservedDirectory
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    EngineUnreachableError,
    HelperGoneError,
    build_obstructed_error,
)
from hostk8s_agent.volume.helper_life import VOLUME_FOLDER
from hostk8s_agent.volume.mapping import Components, render_volume_path

if TYPE_CHECKING:
    from hostk8s_agent.volume.archive import ContainerArchive, PathStat


@dataclass(slots=True)
class Look:
    """One look at the volume: each component is asked for once in it."""

    archive: ContainerArchive
    known: dict[Components, PathStat | None] = field(default_factory=dict)

    def find_stat(self, components: Components) -> PathStat | None:
        """Return what stands there, None when nothing does. The components before are directories."""
        if components not in self.known:
            self.known[components] = self.archive.find_stat(container_path(components))
        return self.known[components]

    def find_first_exception(self, components: Components) -> tuple[Components, PathStat | None] | None:
        """Return the first component on the way that is no directory, None when all are, the last included."""
        for depth in range(1, len(components) + 1):
            found = self.find_stat(components[:depth])
            if found is None or found.kind != "directory":
                return components[:depth], found
        return None


def container_path(components: Components) -> str:
    """Where the helper container has the volume's path."""
    return "/".join((VOLUME_FOLDER, *components))


def observe_path(look: Look, path: str, components: Components) -> ObservedDirectory:
    """Return what stands at a contract's path, its owner and mode included."""
    try:
        if (exception := look.find_first_exception(components)) is not None:
            where, found = exception
            if found is None:
                return ObservedDirectory(path, "absent")
            return ObservedDirectory(path, found.kind, obstacle=render_volume_path(where))
        header = look.archive.read_first_header(container_path(components))
    except DirectoryGoneError:
        return ObservedDirectory(path, "absent")
    except (EngineUnreachableError, HelperGoneError):
        raise
    except VolumeError as error:
        return ObservedDirectory(path, "unreadable", detail=error.message)
    return ObservedDirectory(path, "directory", header.uid, header.gid, header.mode & 0o7777)


def require_directories(archive: ContainerArchive, components: Components) -> ContainerArchive:
    """Return the archive when all components are directories.

    Raises `DirectoryGoneError` or `PathObstructedError` when one is not.
    """
    if (exception := Look(archive).find_first_exception(components)) is not None:
        where, found = exception
        path = render_volume_path(where)
        if found is None:
            archive.require_container()
            raise DirectoryGoneError(f"{path} does not exist", hint="the agent looks again by itself")
        raise build_obstructed_error(found.kind, path)
    return archive

"""Moving, measuring and removing trees, and small files of ours, through the helper container."""

from __future__ import annotations

import io
import tarfile
import time
from contextlib import closing
from typing import TYPE_CHECKING

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.volume.access import MAX_FILE_BYTES, TreeSize
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    ToolFailedError,
    ToolMissingError,
    build_obstructed_error,
)
from hostk8s_agent.volume.helper_life import VOLUME_FOLDER
from hostk8s_agent.volume.helper_looking import Look, container_path, require_directories
from hostk8s_agent.volume.mapping import Components, render_volume_path
from hostk8s_agent.volume.tar_members import iterate_contents
from hostk8s_agent.volume.tree_moving import build_occupied_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hostk8s_agent.volume.archive import ContainerArchive
    from hostk8s_agent.volume.tools import VolumeTools

_FILE_MODE = 0o600


def move(archive: ContainerArchive, tools: VolumeTools, source: Components, target: Components) -> None:
    """Rename a directory, and look afterwards whether it is what was moved."""
    require_directories(archive, source)
    if target[:-1]:
        require_directories(archive, target[:-1])
    before = archive.read_first_header(container_path(source))
    path = render_volume_path(target)
    if archive.find_stat(container_path(target)) is not None:
        raise build_occupied_error(path)
    try:
        tools.rename(container_path(source), container_path(target))
    except FileExistsError as error:
        raise build_occupied_error(path) from error
    # `mv -n` says nothing when it did nothing.
    if archive.find_stat(container_path(source)) is not None and archive.find_stat(container_path(target)) is None:
        raise ToolFailedError(f"{render_volume_path(source)} was not moved", hint="try again; nothing was changed")
    require_directories(archive, target)
    after = archive.read_first_header(container_path(target))
    if (after.uid, after.gid, after.mode) != (before.uid, before.gid, before.mode):
        # Someone put another directory, or a link to one, in the way while we looked.
        raise ToolFailedError(
            f"{path} is not the directory that was to be moved: someone changed the volume meanwhile",
            hint="look at it; nothing was removed",
        )


def exchange(archive: ContainerArchive, tools: VolumeTools, first: Components, second: Components) -> None:
    """Let two directories change places."""
    for components in (first, second):
        require_directories(archive, components)
    tools.exchange(container_path(first), container_path(second))
    for components in (first, second):
        require_directories(archive, components)


def move_entry(archive: ContainerArchive, tools: VolumeTools, source: Components, target: Components) -> None:
    """Rename an entry of any kind; what leads to it and to its new place are directories."""
    _require_parents(archive, source, target)
    _require_there(archive, source)
    try:
        tools.rename(container_path(source), container_path(target))
    except FileExistsError as error:
        raise build_occupied_error(render_volume_path(target)) from error
    # `mv -n` says nothing when it did nothing.
    if archive.find_stat(container_path(source)) is not None:
        raise ToolFailedError(f"{render_volume_path(source)} was not moved", hint="try again; nothing was changed")


def exchange_entries(archive: ContainerArchive, tools: VolumeTools, first: Components, second: Components) -> None:
    """Let two entries of any kind change places."""
    _require_parents(archive, first, second)
    for components in (first, second):
        _require_there(archive, components)
    tools.exchange(container_path(first), container_path(second))


def _require_parents(archive: ContainerArchive, *places: Components) -> None:
    for components in places:
        if components[:-1]:
            require_directories(archive, components[:-1])


def _require_there(archive: ContainerArchive, components: Components) -> None:
    if archive.find_stat(container_path(components)) is None:
        raise DirectoryGoneError(f"{render_volume_path(components)} does not exist", hint="look what there is")


def measure(
    archive: ContainerArchive, tools: VolumeTools, places: Sequence[Components]
) -> tuple[TreeSize | VolumeError, ...]:
    """Return what each tree holds, with one container for all; without a tool each is read as a stream."""
    results: list[TreeSize | VolumeError | None] = []
    for components in places:
        try:
            require_directories(archive, components)
        except VolumeError as error:
            results.append(error)
        else:
            results.append(None)
    asked = [components for components, result in zip(places, results, strict=True) if result is None]
    if not asked:
        return tuple(result for result in results if result is not None)
    try:
        sizes: Iterable[TreeSize | None] = tools.measure([container_path(components) for components in asked])
    except ToolMissingError:
        sizes = [_measure_stream(archive, components) for components in asked]
    found = iter(
        size or DirectoryGoneError(f"{render_volume_path(components)} went away", hint="look again")
        for components, size in zip(asked, sizes, strict=True)
    )
    return tuple(next(found) if result is None else result for result in results)


def remove(archive: ContainerArchive, tools: VolumeTools, components: Components) -> None:
    """Remove a tree for good."""
    if (exception := Look(archive).find_first_exception(components[:-1])) is not None:
        where, found = exception
        if found is None:
            return
        raise build_obstructed_error(found.kind, render_volume_path(where))
    if archive.find_stat(container_path(components)) is None:
        archive.require_container()
        return
    tools.remove(container_path(components))


def read_files(archive: ContainerArchive, components: Components) -> dict[str, bytes]:
    """Return the small files in a folder: one stream of all of it, which is small because it is ours."""
    try:
        require_directories(archive, components)
        with archive.open_stream(f"{container_path(components)}/.", f"read {render_volume_path(components)}") as opened:
            chunks = archive.iterate_stream(opened, "read the agent's own files")
            return _collect_files(_limit(chunks))
    except DirectoryGoneError:
        return {}


def write_file(archive: ContainerArchive, components: Components, content: bytes) -> None:
    """Write a small file, as one member of a tar stream."""
    if components[:-1]:
        require_directories(archive, components[:-1])
    entry = tarfile.TarInfo("/".join(components))
    entry.size, entry.mode, entry.mtime = len(content), _FILE_MODE, int(time.time())
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(content))
    archive.write_tar(VOLUME_FOLDER, body.getvalue(), f"write {render_volume_path(components)}")


def _measure_stream(archive: ContainerArchive, components: Components) -> TreeSize:
    size_bytes, entries, modified_at = 0, -1, 0.0
    source = f"{container_path(components)}/."
    with archive.open_stream(source, f"measure {render_volume_path(components)}") as opened, closing(opened):
        for header, content in iterate_contents(archive.iterate_stream(opened, "measure a directory")):
            entries += 1
            size_bytes += header.size if content is not None else 0
            modified_at = max(modified_at, float(header.mtime))
    return TreeSize(size_bytes, entries, modified_at)


def _collect_files(chunks: Iterable[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for header, content in iterate_contents(chunks):
        name = header.name.removeprefix("./")
        if content is not None and "/" not in name and not name.endswith("~"):
            found[name] = content.read(MAX_FILE_BYTES)
    return found


def _limit(chunks: Iterable[bytes]) -> Iterable[bytes]:
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        if taken > _FOLDER_LIMIT_BYTES:
            raise ToolFailedError(
                "the agent's own folder in the volume holds more than it ever writes", hint="look what lies in it"
            )
        yield chunk


_FOLDER_LIMIT_BYTES = 16 * MAX_FILE_BYTES

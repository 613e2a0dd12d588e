"""Making directories through the archive API: all entries of all actions in one call."""

from __future__ import annotations

import io
import re
import tarfile
import time
from datetime import datetime
from typing import TYPE_CHECKING

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory, DirectoryAction
from hostk8s_agent.volume.errors import (
    DirectoryGoneError,
    EngineUnreachableError,
    HelperGoneError,
    PathObstructedError,
    build_obstructed_error,
)
from hostk8s_agent.volume.helper_life import VOLUME_FOLDER
from hostk8s_agent.volume.helper_looking import Look, container_path, require_directories
from hostk8s_agent.volume.mapping import Components, parse_volume_path, render_volume_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostk8s_agent.volume.archive import ContainerArchive, PathStat

_PARENT_MODE = 0o755
_RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")


def apply_actions(archive: ContainerArchive, actions: Sequence[DirectoryAction]) -> tuple[VolumeError | None, ...]:
    """One PUT for all; when the engine refuses it, one for each, to learn which of them it was."""
    look = Look(archive)
    made: set[Components] = set()
    outcomes: list[VolumeError | None] = []
    entries: list[tarfile.TarInfo] = []
    for action in actions:
        try:
            entries += _plan_entries(look, action, made)
        except (EngineUnreachableError, HelperGoneError):
            raise
        except VolumeError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)
    if not entries:
        return tuple(outcomes)
    try:
        _put_entries(archive, entries)
    except (EngineUnreachableError, HelperGoneError):
        raise
    except VolumeError as error:
        if len(actions) == 1:
            return (_sharpen(archive, actions[0], error),)
        return tuple(outcome for action in actions for outcome in apply_actions(archive, (action,)))
    return tuple(outcomes)


def _sharpen(archive: ContainerArchive, action: DirectoryAction, error: VolumeError) -> VolumeError:
    """Say what stands in the way, where the engine only said that something does."""
    if not isinstance(error, PathObstructedError):
        return error
    try:
        require_directories(archive, parse_volume_path(action.path))
    except PathObstructedError as obstructed:
        return obstructed
    except VolumeError:
        return error
    return error


def _plan_entries(look: Look, action: DirectoryAction, made: set[Components]) -> list[tarfile.TarInfo]:
    """Return the tar entries for one action; `made` holds what this call makes, and grows."""
    components = parse_volume_path(action.path)
    missing: list[Components] = []
    for depth in range(1, len(components) + 1):
        place = components[:depth]
        if place in made:
            continue
        # What this call makes is empty until then: nothing below it needs a look.
        is_below_made = place[:-1] in made
        found = None if missing or is_below_made else look.find_stat(place)
        if found is None:
            missing.append(place)
        elif found.kind != "directory":
            raise build_obstructed_error(found.kind, render_volume_path(place))
    if isinstance(action, ChangeDirectory):
        if missing:
            look.archive.require_container()
            raise DirectoryGoneError(f"{action.path} does not exist", hint="the agent looks again by itself")
        return [_build_change(look, action, components)]
    made.update(missing)
    parents = [_build_entry(place, 0, 0, _PARENT_MODE) for place in missing if place != components]
    return [*parents, _build_create(look, action, components)]


def _build_create(look: Look, action: CreateDirectory, components: Components) -> tarfile.TarInfo:
    return _build_entry(components, action.uid, action.gid, action.mode, look.known.get(components))


def _build_change(look: Look, action: ChangeDirectory, components: Components) -> tarfile.TarInfo:
    # An entry always carries owner and mode: what is not to change is written as it is.
    uid, gid, mode = action.uid, action.gid, action.mode
    found = look.known.get(components)
    if not action.changes_owner:
        header = look.archive.read_first_header(container_path(components))
        uid, gid = header.uid, header.gid
    if not action.changes_mode and found is not None:
        mode = found.mode
    return _build_entry(components, uid, gid, mode, found)


def _build_entry(
    components: Components, uid: int, gid: int, mode: int, existing: PathStat | None = None
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("/".join(components))
    entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, uid, gid, mode
    entry.mtime = int(time.time())
    if existing is not None and (moment := _parse_rfc3339(existing.modified_at)):
        # The engine sets the time of every directory in the tar: an existing one keeps its own.
        entry.pax_headers = {"mtime": moment}
    return entry


def _parse_rfc3339(text: str) -> str:
    """Return the engine's time as pax has it, seconds since the epoch to the nanosecond; empty when it is none."""
    if (match := _RFC3339.match(text)) is None:
        return ""
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return f"{int(whole.timestamp())}{match[2] or ''}"


def _put_entries(archive: ContainerArchive, entries: Sequence[tarfile.TarInfo]) -> None:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            tar.addfile(entry)
    names = ", ".join(render_volume_path(tuple(entry.name.split("/"))) for entry in entries[:3])
    archive.write_tar(VOLUME_FOLDER, body.getvalue(), f"make {names}")

"""Telling the volume that held this workspace's data from another one of its name.

Two things are remembered of a volume: an ID that we put into it as a file, which goes wherever its data goes, and what
the engine says of it. Either is enough to know it again: a volume that was moved with its data has the file, one from
which somebody removed the file still is the engine's same volume. When both differ, the data is gone.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import structlog

from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.volume.errors import TarRefusedError, VolumeLostError

if TYPE_CHECKING:
    from hostk8s_agent.errors import VolumeError
    from hostk8s_agent.volume.access import VolumeAccess

log = structlog.get_logger()

OWN_FOLDER = "/mnt/pv/.hostk8s-agent"
"""Where in the volume we keep what is to be known of it, for root alone."""

IDENTITY_FILE = "volume.json"
IDENTITY_WRITTEN = "volume.identity_written"

_FORMAT = 1
_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class RememberedVolume:
    """A volume that was in use. `marker` is the ID in its file, the rest what the engine said of it.

    `root_inode` is the mountpoint's, 0 where it cannot be seen.
    """

    name: str
    marker: str
    engine_id: str
    volume_id: str = ""
    created_at: str = ""
    mountpoint: str = ""
    root_inode: int = 0

    def is_same_to_engine(self, other: RememberedVolume) -> bool:
        """Whether the engine has not made it anew since."""
        inodes = {self.root_inode, other.root_inode} - {0}
        compared = ["name", "engine_id", "volume_id", "mountpoint"]
        if not self.volume_id:
            # Docker 20.10 gives as this time when the volume's folder last changed (moby, volume/local, CreatedAt):
            # it may call a volume lost that is not, never the reverse. One with an ID of ours needs no such doubt.
            compared.append("created_at")
        return len(inodes) <= 1 and all(getattr(self, name) == getattr(other, name) for name in compared)

    def render(self) -> str:
        """Return it as the text that the records keep."""
        return json.dumps(asdict(self), sort_keys=True)


def parse_remembered(text: str, name: str) -> RememberedVolume | None:
    """Return what the records say of the volume `name`; None when they say nothing, or speak of another volume."""
    try:
        known = json.loads(text)
        given = {field.name: known[field.name] for field in fields(RememberedVolume) if field.name in known}
        remembered = RememberedVolume(**given)
    except (ValueError, TypeError):
        return None
    return remembered if remembered.name == name else None


def recognise(
    access: VolumeAccess, seen: RememberedVolume, remembered: RememberedVolume | None, *, may_write: bool
) -> RememberedVolume:
    """Return the volume as it is to be remembered from now on. Raises `VolumeLostError`.

    `seen` is what the engine says now, its `marker` empty. Where nothing is remembered yet, the volume is taken as it
    is, and given an ID unless another workspace did so before; with `may_write` False nothing is written.
    """
    found = _find_marker(access)
    if remembered is None:
        return _as_known(seen, found or _write_marker(access, uuid.uuid4().hex, may_write=may_write))
    if found == remembered.marker:
        return _as_known(seen, found)
    if not found and remembered.is_same_to_engine(seen):
        return _as_known(seen, _write_marker(access, remembered.marker, may_write=may_write))
    raise build_lost_error(seen.name, "what has its name now is another one", seen.engine_id, remembered)


def build_lost_error(name: str, what: str, engine_id: str, remembered: RememberedVolume) -> VolumeLostError:
    """Return the error for the loss of a volume; `what` says what there is now."""
    elsewhere = "" if engine_id == remembered.engine_id else f", in another Docker engine than before ({engine_id})"
    return VolumeLostError(
        f"the Docker volume {name} that held this workspace's data is gone; {what}{elsewhere}. Nothing is made in its "
        "place",
        hint="bring the volume back (from a copy of its files, or by the former engine), and the agent goes on by "
        "itself; or begin anew with an empty one, `hostk8s-agent volume --accept-loss`, and restore each stack, "
        "`hostk8s-agent snapshot restore STACK`",
    )


def make_own_folder(access: VolumeAccess, path: str) -> VolumeError | None:
    """Make a folder of ours and what is missing above it, for root alone; return why it failed, None when it did not.

    Where an ordinary user's host directory serves, it is that user's.
    """
    parts = path.removeprefix("/mnt/pv/").split("/")
    folders = ["/mnt/pv/" + "/".join(parts[: depth + 1]) for depth in range(len(parts))]
    actions = [CreateDirectory(folder, 0, 0, _FOLDER_MODE, "the agent's own") for folder in folders]
    return next((one for one in access.apply_directories(actions) if one is not None), None)


def _find_marker(access: VolumeAccess) -> str:
    """Return the ID in the volume, empty where there is none, or none that is whole."""
    try:
        content = access.read_files(OWN_FOLDER).get(IDENTITY_FILE, b"")
        known: Any = json.loads(content)
        return str(known["id"])
    except (ValueError, TypeError, KeyError, TarRefusedError):
        return ""


def _write_marker(access: VolumeAccess, marker: str, *, may_write: bool) -> str:
    if not may_write:
        return marker
    if (error := make_own_folder(access, OWN_FOLDER)) is not None:
        raise error
    access.write_file(f"{OWN_FOLDER}/{IDENTITY_FILE}", json.dumps({"format": _FORMAT, "id": marker}).encode())
    log.info(IDENTITY_WRITTEN, marker=marker)
    return marker


def _as_known(seen: RememberedVolume, marker: str) -> RememberedVolume:
    return RememberedVolume(**{**asdict(seen), "marker": marker})

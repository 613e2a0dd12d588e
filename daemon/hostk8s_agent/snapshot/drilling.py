"""The restore drill: the newest snapshot of a stack is restored into scratch, every file is compared, all is removed.

Reading an archive back proves its bytes. The drill proves the rest of the way: that the files come out of it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.attributes import AttributeComparer
from hostk8s_agent.snapshot.durable import make_folder, written
from hostk8s_agent.snapshot.errors import SnapshotDamagedError
from hostk8s_agent.snapshot.exporting import export_snapshot, iterate_entries
from hostk8s_agent.snapshot.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository

_PREFIX: Final = "drill-"
_CHUNK_BYTES: Final = 1 << 20
_KINDS: Final = {
    "directory": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "hardlink": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
}


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill has compared: so many regular files. `not_compared` says what could not be, and why, else empty."""

    files: int
    not_compared: str


def drill_snapshot(repository: Repository, snapshot: SnapshotManifest, meter: Meter | None = None) -> Drilled:
    """Restore a snapshot into scratch and compare everything that it keeps.

    Raises `SnapshotDamagedError` with the first path that is not what was snapshotted. One at a time: what an earlier
    one left when it was killed is removed first.
    """
    meter = meter or Meter()
    with _scratch(repository) as folder:
        export_snapshot(repository, snapshot, folder, meter=meter)
        files, attributes = 0, AttributeComparer()
        for path, entry in iterate_entries(repository, snapshot, ""):
            meter.advance(0)
            if not entry.is_device:
                _compare(folder / path, entry, attributes)
            files += entry.kind == "file"
        return Drilled(files, "; ".join(attributes.not_compared))


@contextmanager
def _scratch(repository: Repository) -> Iterator[Path]:
    # On the repository's disk: that one has the space that the settings ask for.
    place = repository.folder.parent / "drills"
    make_folder(place)
    with written(f"empty {place}"):
        for left in place.glob(f"{_PREFIX}*"):
            shutil.rmtree(left)
    folder = place / f"{_PREFIX}{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(path: Path, entry: Entry, attributes: AttributeComparer) -> None:
    try:
        status = path.lstat()
        # The attributes last: where one is missing it is tried whether it can be set.
        difference = _find_difference(path, status, entry) or attributes.find_difference(path, entry)
    except OSError as error:
        raise SnapshotDamagedError(
            f"the drill did not find {path.name} where it belongs: {error.strerror}",
            hint="look at the disk that the repository lies on; take another snapshot",
        ) from error
    if difference:
        raise SnapshotDamagedError(
            f"the drill restored {path.name} as something else than what was snapshotted: its {difference} differs",
            hint="look at the disk that the repository lies on; take another snapshot",
        )


def _find_difference(path: Path, status: os.stat_result, entry: Entry) -> str:
    """Return what of a restored entry is not as it was, empty when all is."""
    if _KINDS[entry.kind] != stat.S_IFMT(status.st_mode):
        return "kind"
    checks = {
        "target": entry.kind != "symlink" or str(path.readlink()) == entry.target,
        "content": entry.kind != "file" or (status.st_size == entry.size and _hash(path) == entry.sha256),
        # What a link's own mode is, no system says the same of.
        "mode": entry.kind == "symlink" or stat.S_IMODE(status.st_mode) == entry.mode,
        "time": status.st_mtime_ns == _parse_nanoseconds(entry.mtime),
        # An ordinary user's files are that user's.
        "owner": os.geteuid() != 0 or (status.st_uid, status.st_gid) == (entry.uid, entry.gid),
    }
    return next((name for name, is_same in checks.items() if not is_same), "")


def _parse_nanoseconds(text: str) -> int:
    whole, _, fraction = text.partition(".")
    nanoseconds = int(fraction.ljust(9, "0") or 0)
    return int(whole) * 10**9 + (-nanoseconds if whole.startswith("-") else nanoseconds)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

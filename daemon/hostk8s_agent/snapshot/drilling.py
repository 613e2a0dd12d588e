"""The restore drill: the newest snapshot of a stack is restored into scratch, every file is compared, all is removed.

Reading an archive back proves its bytes. The drill proves the rest of the way: that the files come out of it.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.durable import make_folder, written
from hostk8s_agent.snapshot.errors import SnapshotDamagedError
from hostk8s_agent.snapshot.exporting import export_snapshot, iterate_entries
from hostk8s_agent.snapshot.progress import Meter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.listing import Entry
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository

_PREFIX: Final = "drill-"
_CHUNK_BYTES: Final = 1 << 20


def drill_snapshot(repository: Repository, snapshot: SnapshotManifest, meter: Meter | None = None) -> int:
    """Restore a snapshot into scratch and compare everything; return the number of files.

    Raises `SnapshotDamagedError` with the first path that is not what was snapshotted. One at a time: what an earlier
    one left when it was killed is removed first.
    """
    meter = meter or Meter()
    with _scratch(repository) as folder:
        export_snapshot(repository, snapshot, folder, meter=meter)
        files = 0
        for path, entry in iterate_entries(repository, snapshot, ""):
            meter.advance(0)
            if not entry.is_device:
                _compare(folder / path, entry)
            files += entry.kind == "file"
        return files


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


def _compare(path: Path, entry: Entry) -> None:
    try:
        status = path.lstat()
        is_same = _is_same(path, status, entry)
    except OSError as error:
        raise SnapshotDamagedError(
            f"the drill did not find {path.name} where it belongs: {error.strerror}",
            hint="look at the disk that the repository lies on; take another snapshot",
        ) from error
    if not is_same:
        raise SnapshotDamagedError(
            f"the drill restored {path.name} as something else than what was snapshotted",
            hint="look at the disk that the repository lies on; take another snapshot",
        )


def _is_same(path: Path, status: os.stat_result, entry: Entry) -> bool:
    if entry.kind == "directory":
        return stat.S_ISDIR(status.st_mode)
    if entry.kind == "symlink":
        return stat.S_ISLNK(status.st_mode) and str(path.readlink()) == entry.target
    if entry.kind == "file":
        return status.st_size == entry.size and _hash(path) == entry.sha256
    return True


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

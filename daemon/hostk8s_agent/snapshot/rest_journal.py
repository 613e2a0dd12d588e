"""What has to be woken, on disk before it is put to sleep: a crash leaves a note of every paused container.

One file a rest, in a folder of the state folder, written beside and renamed, and made durable before the first
container is paused. No command of a hook is in it: those may hold what is secret, and stand in the pod.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = structlog.get_logger()

ENTRY_DAMAGED = "rest.journal_damaged"

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class RestEntry:
    """One thing to undo: a container to wake, or to end (`restart`), or the hook of a pod that is to run afterwards.

    `node` is the node's name and `node_id` the id of its container, which a re-created cluster has anew; `container` is
    containerd's id. `namespace`, `pod` and `pod_uid` name the pod.
    """

    kind: Literal["paused", "restart", "hook"]
    node: str
    node_id: str
    container: str
    namespace: str
    pod: str
    pod_uid: str


class RestJournal:
    """One rest's file. It exists from `write` to `remove`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[RestEntry, ...]:
        """Return what it holds; nothing when it is gone or cannot be understood, which is logged."""
        try:
            return _parse(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning(ENTRY_DAMAGED, file=str(self._path), reason=str(error))
            return ()

    def write(self, entries: Iterable[RestEntry]) -> None:
        """Hold these and no others, durably. Raises `OSError`."""
        content = json.dumps({"format": FORMAT_VERSION, "entries": [asdict(one) for one in entries]}).encode()
        write_whole(self._path, content)

    def remove(self) -> None:
        """Have nothing to undo any more."""
        remove_whole(self._path)


class RestJournals:
    """The folder of all journals."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> RestJournal:
        """Return a new journal, without a file yet. Raises `OSError` when the folder cannot be made."""
        return RestJournal(new_journal_path(self._folder))

    def list_left(self) -> tuple[RestJournal, ...]:
        """Return the journals that stand there: those of rests that are under way, and of those that crashed."""
        return tuple(RestJournal(one) for one in sorted(self._folder.glob("*.json")))


def new_journal_path(folder: Path) -> Path:
    """Return where a new journal of a folder of the state folder is to be. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{secrets.token_hex(8)}.json"


def write_whole(path: Path, content: bytes) -> None:
    """Write a journal durably, over its former state. Raises `OSError`."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.rename(path)
    _sync_folder(path)


def remove_whole(path: Path) -> None:
    """Remove a journal durably; one that is not there is no error. Raises `OSError`."""
    with suppress(FileNotFoundError):
        path.unlink()
        _sync_folder(path)


def _parse(text: bytes) -> tuple[RestEntry, ...]:
    content = json.loads(text)
    if content["format"] != FORMAT_VERSION:
        raise ValueError(f"format {content['format']}")
    return tuple(RestEntry(**one) for one in content["entries"])


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

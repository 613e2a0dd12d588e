"""Whether a directory has changed since it was last captured, told without reading a file.

A scan is one digest of every entry's path, type, size, times, inode, owner and mode, by find(1): 40,000 entries in a
tenth of a second. A change of content changes the change time (ctime), which nobody can set, so that equal scans mean
equal trees, with two exceptions. The clock of a file system ticks, so that two changes in one tick look like one; and
what is written through a memory map shows when the page is next written back (30 s, /proc/sys/vm/dirty_*). A scan is
therefore believed only when the newest change in it was `SETTLED_SECONDS` old when it was made.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.snapshot.durable import remove_durably, write_durably
from hostk8s_agent.snapshot.model import ArchiveReference
from hostk8s_agent.snapshot.reading import CHUNK_BYTES, build_environment, descriptor_folder
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.snapshot.model import DirectoryManifest
    from hostk8s_agent.volume.access import VolumeAccess

SETTLED_SECONDS: Final = 60.0

# The change time first: the greatest record is then the newest one.
_FORMAT = r"%C@ %y %s %T@ %i %U %G %m %n %P %l\0"
_TIMEOUT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Scan:
    """A directory at an instant. `is_settled` says that an equal scan means an equal tree."""

    digest: str
    is_settled: bool


@dataclass(frozen=True, slots=True)
class Recognised:
    """What is kept of a captured directory, so that it is known again."""

    scan: str
    observed_owner: str
    observed_mode: int
    tree: str
    stored_as: str
    packed_bytes: int
    engine: str
    home: str
    entries: int
    files: int
    byte_count: int
    lost: tuple[str, ...]

    @property
    def archive(self) -> ArchiveReference:
        """Its archive."""
        return ArchiveReference(self.tree, self.stored_as, self.packed_bytes, self.engine, self.home)


def scan_directory(access: VolumeAccess, path: str, settled_seconds: float = SETTLED_SECONDS) -> Scan | None:
    """Scan the directory at a contract's path; None where that cannot be done, or something cannot be looked at."""
    program = _find_program()
    if not isinstance(access, TreeAccess) or not program:
        return None
    began = time.time()
    with access.open_directory(path) as descriptor, tempfile.TemporaryFile() as words:
        process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
            [program, ".", "-printf", _FORMAT],
            cwd=descriptor_folder(descriptor),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            env=build_environment(),
            bufsize=0,
        )
        digest, newest = _read_records(process)
        if process.returncode != 0 or words.tell():
            return None
    try:
        return Scan(digest, float(newest.split(b" ", 1)[0]) < began - settled_seconds)
    except ValueError:
        return None


def _read_records(process: subprocess.Popen[bytes]) -> tuple[str, bytes]:
    """Return the digest of all that find prints, and its greatest record; a million entries are never held at once."""
    digest, newest, rest = hashlib.sha256(), b"", b""
    watchdog = threading.Timer(_TIMEOUT_SECONDS, process.kill)
    watchdog.daemon = True
    watchdog.start()
    with process:
        if process.stdout is None:
            raise AssertionError("it was asked for a pipe")
        while chunk := process.stdout.read(CHUNK_BYTES):
            digest.update(chunk)
            *records, rest = (rest + chunk).split(b"\0")
            newest = max((newest, *records))
    watchdog.cancel()
    return digest.hexdigest(), newest


def name_scan(stack: str, path: str, volume: str) -> str:
    """Return the name under which a directory's scan is kept."""
    return hashlib.sha256(os.fsencode(f"{stack}\0{path}\0{volume}")).hexdigest()


def load_recognised(file: Path) -> Recognised | None:
    """Return what was kept, None when there is nothing that can be used."""
    try:
        kept: dict[str, Any] = json.loads(file.read_bytes())
        return Recognised(**{**kept, "lost": tuple(kept["lost"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep_recognised(file: Path, scan: Scan | None, directory: DirectoryManifest) -> None:
    """Keep what a directory is known by, or forget what was kept when the scan does not tell, or it changed since."""
    if scan is None or not scan.is_settled or directory.changed:
        if file.exists():
            remove_durably(file)
        return
    kept = Recognised(
        scan.digest,
        directory.observed_owner,
        directory.observed_mode,
        directory.archive.tree,
        directory.archive.stored_as,
        directory.archive.packed_bytes,
        directory.archive.engine,
        directory.archive.home,
        directory.entries,
        directory.files,
        directory.byte_count,
        directory.lost,
    )
    write_durably(file, json.dumps(asdict(kept)).encode())


@functools.cache
def _find_program() -> str:
    """Return GNU find, empty where there is none: -printf is its own."""
    program = shutil.which("find") or ""
    if program:
        asked = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=10)  # noqa: S603
        if b"GNU findutils" not in asked.stdout:
            return ""
    return program

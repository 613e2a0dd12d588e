"""Who holds a workspace's lock: in the holder's own words, else as the kernel tells it."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# More than the words ever are; what is longer was not written by us.
MAX_WORDS_BYTES = 4096
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock. What is not known is 0 or empty; `since` is RFC 3339 in UTC."""

    pid: int = 0
    user: str = ""
    since: str = ""

    def __str__(self) -> str:
        """Describe the holder as a message has it: `process 4711 of ada, since 2025-01-31T08:00:00Z`."""
        words = f"process {self.pid}" if self.pid else "a process that cannot be seen from here"
        if self.user:
            words += f" of {self.user}"
        return f"{words}, since {self.since}" if self.since else words


def describe_ourselves() -> Holder:
    """Return this process as a holder from now on."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Holder(os.getpid(), _find_user_name(os.geteuid()), now)


def render_words(holder: Holder) -> bytes:
    """Return the holder's words as they are kept in the lock file."""
    return json.dumps({"pid": holder.pid, "user": holder.user, "since": holder.since}).encode() + b"\n"


def parse_words(words: bytes) -> Holder | None:
    """Return the holder that `words` name, None when they name none (the lock was freed, or is just being taken)."""
    try:
        read = json.loads(words)
        return Holder(int(read["pid"]), str(read["user"]), str(read["since"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def find_holder(locked: os.stat_result, words: Path) -> Holder:
    """Return who holds the flock of the file that has the status `locked`.

    The kernel knows best (`/proc/locks`, proc(5)); the words add what it does not tell, and serve where it tells
    nothing: on macOS, and for a holder in another PID namespace, which it shows as process 0.
    """
    pids = _find_lock_pids(locked)
    written = _load_words(words)
    if written is not None and (not pids or written.pid in pids):
        return written
    return _observe_process(pids[0]) if pids else Holder()


def is_locked(file: os.stat_result) -> bool:
    """Whether a process that can be seen from here holds a flock of the file; False where the kernel does not tell."""
    return bool(_find_lock_pids(file))


def _find_lock_pids(locked: os.stat_result) -> list[int]:
    """The processes with a flock on the file; as a rule one, several when its descriptor was inherited.

    A line of /proc/locks is `1: FLOCK  ADVISORY  WRITE 4711 08:01:131080 0 EOF`: the pid, then device and inode.
    """
    try:
        lines = (_PROC / "locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    exact = f"{os.major(locked.st_dev):02x}:{os.minor(locked.st_dev):02x}:{locked.st_ino}"
    found = [
        (place, int(pid))
        for _number, kind, _advisory, access, pid, place, *_range in (
            line.split() for line in lines if "->" not in line
        )
        if kind == "FLOCK" and access == "WRITE" and place.rpartition(":")[2] == str(locked.st_ino) and int(pid) > 0
    ]
    # The device is the superblock's, which is not what stat tells on btrfs and overlayfs: there the inode must do.
    return [pid for place, pid in found if place == exact] or [pid for _place, pid in found]


def _observe_process(pid: int) -> Holder:
    try:
        uid = (_PROC / str(pid)).stat().st_uid
    except OSError:
        return Holder(pid)
    return Holder(pid, _find_user_name(uid))


def _load_words(path: Path) -> Holder | None:
    try:
        with path.open("rb") as file:
            return parse_words(file.read(MAX_WORDS_BYTES))
    except OSError:
        return None


def _find_user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"

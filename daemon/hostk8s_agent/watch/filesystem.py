"""What the file system below a folder can do: its type, and the kernel's limits on events."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Changes made by another machine, the host of a virtual machine or a user-space server send no inotify
# events, or only some, although those made here do: a canary written here would pass and still prove nothing.
_REMOTE_TYPES = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "drvfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "prl_fs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    },
)
_OCTAL_ESCAPE = re.compile(rb"\\([0-7]{3})")


def find_filesystem_type(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Given a folder, return its file system's type (`ext4`, `9p`, `fuse.sshfs`), None if unknown.

    Reads the format of proc_pid_mountinfo(5): the mount point is field 5 with octal escapes, the type the
    first field after the lone hyphen. The deepest mount point wins; of two on one point the later one covers
    the other.
    """
    try:
        lines = mountinfo.read_bytes().splitlines()
    except OSError:
        return None
    path = os.fsencode(os.path.realpath(folder))
    best_length, best_type = -1, None
    for line in lines:
        head, separator, tail = line.partition(b" - ")
        fields, kinds = head.split(b" "), tail.split(b" ")
        if not separator or len(fields) <= 4:  # noqa: PLR2004  # the mount point is the fifth field
            continue
        point = _OCTAL_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), fields[4]).rstrip(b"/")
        if (path == point or path.startswith(point + b"/")) and len(point) >= best_length:
            best_length, best_type = len(point), os.fsdecode(kinds[0])
    return best_type


def has_native_events(filesystem_type: str | None) -> bool:
    """Whether every change on such a file system sends an event. Unknown ones do: the canary checks."""
    if filesystem_type is None:
        return True
    return filesystem_type not in _REMOTE_TYPES and not filesystem_type.startswith("fuse")


def find_inotify_watch_limit(setting: Path = Path("/proc/sys/fs/inotify/max_user_watches")) -> int | None:
    """Return how many inotify watches a user may have, None where the kernel does not say."""
    try:
        return int(setting.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def find_identity(folder: Path) -> tuple[int, int] | None:
    """Return (device, inode) of a folder, links followed; None if it cannot be looked at.

    A path whose identity changed is another folder, whatever its name.
    """
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino

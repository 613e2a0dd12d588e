"""What the dashboard keeps across restarts: the key of its sessions, and its port.

So an open page finds the agent again at its old address, and is still let in.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "dashboard.json"
KEY_BYTES = 32
FILE_MODE = 0o600
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Kept:
    """`wanted_port` is the setting for which `port` was found, both 0 while the dashboard never ran."""

    key: bytes
    wanted_port: int = 0
    port: int = 0


def load_kept(folder: Path) -> Kept:
    """Return what is kept in `folder`; a new key where nothing is, or nothing that can be read."""
    try:
        read = json.loads((folder / FILE_NAME).read_bytes())
        key = bytes.fromhex(read["key"])
        kept = Kept(key, int(read["wantedPort"]), int(read["port"]))
    except (OSError, ValueError, TypeError, KeyError):
        kept = Kept(b"")
    return kept if len(kept.key) == KEY_BYTES else Kept(secrets.token_bytes(KEY_BYTES))


def save_kept(folder: Path, kept: Kept) -> None:
    """Write it: the old file or the new one is there, ours alone from its first byte. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    text = json.dumps({"key": kept.key.hex(), "wantedPort": kept.wanted_port, "port": kept.port})
    beside = folder / f".{FILE_NAME}.new"
    # Whoever left one behind may have left it readable.
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / FILE_NAME)

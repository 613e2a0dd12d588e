"""Which snapshots came, and which were forgotten: one line each, appended, so that one that vanished is missed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.documents import ID_PATTERN
from hostk8s_agent.snapshot.durable import make_folder_durable, written

if TYPE_CHECKING:
    from pathlib import Path

LEDGER_FILE: Final = "ledger"


class Ledger:
    """The ledger of a repository. Appended to under the repository's lock."""

    def __init__(self, repository: Path) -> None:
        self._file = repository / LEDGER_FILE

    def load(self) -> set[str]:
        """Return the ids of the snapshots that came and were not forgotten."""
        known: set[str] = set()
        for line in self._read():
            if line.startswith("+ "):
                known.add(line[2:])
            else:
                known.discard(line[2:])
        return known

    def load_forgotten(self) -> set[str]:
        """Return the ids of the snapshots that were forgotten, and did not come again."""
        return {line[2:] for line in self._read()} - self.load()

    def append(self, sign: str, snapshot_id: str) -> None:
        """Write down that a snapshot came (`+`) or is forgotten (`-`)."""
        with written(f"write {self._file}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._file, flags, 0o600)
            try:
                # A line end first: what a crash cut before must not swallow this line.
                os.write(descriptor, f"\n{sign} {snapshot_id}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            make_folder_durable(self._file.parent)

    def _read(self) -> list[str]:
        try:
            text = self._file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return []
        # A line that a crash cut has no id.
        return [line for line in text.splitlines() if ID_PATTERN.fullmatch(line[2:]) and line[:2] in ("+ ", "- ")]

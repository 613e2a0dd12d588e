"""Whether a process does anything: by what the kernel counts of it.

restic 0.14 can wait for itself for ever once the repository's disk is full, and goes on to tell its progress meanwhile;
a server that is silent holds it up as long as its connection lives. Neither shows in what restic says.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_STEP_BYTES: Final = 4096
_STEP_TICKS: Final = 50
"""Half a second of the processor: telling one's progress takes milliseconds."""


class Activity:
    """Looks at a process of ours. Where the system does not tell (macOS), it counts as busy. Used by one thread."""

    def __init__(self, process: int) -> None:
        self._folder = Path(f"/proc/{process}")
        self._last: tuple[int, int] = (0, 0)
        self._since = time.monotonic()

    def find_quiet_seconds(self, told_bytes: int) -> float:
        """Return for how long nothing was read, written or computed, `told_bytes` of messages left out."""
        found = self._look()
        if found is None:
            return 0.0
        moved, ticks = found[0] - told_bytes, found[1]
        if moved - self._last[0] > _STEP_BYTES or ticks - self._last[1] > _STEP_TICKS:
            self._last, self._since = (moved, ticks), time.monotonic()
        return time.monotonic() - self._since

    def _look(self) -> tuple[int, int] | None:
        with suppress(OSError, ValueError, IndexError):
            # proc(5): rchar and wchar count what passed by read and write, of files, pipes and sockets alike.
            lines = (self._folder / "io").read_text().splitlines()
            counts = dict(line.split(": ") for line in lines)
            stat = (self._folder / "stat").read_text().rpartition(")")[2].split()
            return int(counts["rchar"]) + int(counts["wchar"]), int(stat[11]) + int(stat[12])
        return None

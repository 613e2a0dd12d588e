"""How far long work on snapshots is, told now and then to whoever waits for it; it ends here when it is to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hostk8s_agent.snapshot.errors import SnapshotStoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Phase = Literal["waiting", "reading", "verifying", "restoring", "swapping", "exporting", "importing", "recovering"]

TELL_SECONDS: Final = 0.5
"""How often progress is told within a phase: its begin is told at once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a phase; `waiting` is for whoever else works on the repository.

    Of `swapping`, which puts restored trees in place and removes the old ones, its begin alone is told.

    `total_bytes` is None where nobody knows how much there is; of a directory that is read it is what it held when it
    was last looked at. `seconds_left` is None until there is a rate to reckon with.
    """

    phase: Phase
    done_bytes: int
    total_bytes: int | None
    bytes_per_second: int
    seconds_left: int | None


def ignore(_progress: Progress) -> None:
    """Tell nobody."""


class Meter:
    """Counts the bytes of one phase after the other. Used from one thread.

    Once `is_stopping` says so, each call raises `SnapshotStoppedError`: what is being done is undone on that way out.
    """

    def __init__(
        self,
        tell: Callable[[Progress], None] = ignore,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tell = tell
        self._is_stopping = is_stopping
        self._clock = clock
        self._phase: Phase = "reading"
        self._total: int | None = None
        self._done = 0
        self._began_at = self._told_at = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens: what is asked for the sake of a total alone is not asked otherwise."""
        return self._tell is not ignore

    def begin(self, phase: Phase, total_bytes: int | None = None) -> None:
        """Begin a phase, and tell so."""
        self._require_time()
        self._phase, self._total, self._done = phase, total_bytes, 0
        self._began_at = self._clock()
        self._say()

    def advance(self, byte_count: int) -> None:
        """Count what has passed, and tell it when it is time."""
        self._require_time()
        self._done += byte_count
        if self._clock() - self._told_at >= TELL_SECONDS:
            self._say()

    def count(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the chunks on, and count them. An empty one means that there is none for the time being."""
        for chunk in chunks:
            if chunk:
                yield chunk
            self.advance(len(chunk))

    def _require_time(self) -> None:
        if self._is_stopping():
            raise SnapshotStoppedError(
                "the agent was stopped meanwhile; nothing was added and nothing replaced", hint="start it again"
            )

    def _say(self) -> None:
        self._told_at = self._clock()
        seconds = self._told_at - self._began_at
        rate = int(self._done / seconds) if seconds > 0 else 0
        # A tar stream has headers besides the files, and a directory may have grown: never more than everything.
        total = None if self._total is None else max(self._total, self._done)
        left = None if total is None or not rate else (total - self._done) // rate
        self._tell(Progress(self._phase, self._done, total, rate, left))

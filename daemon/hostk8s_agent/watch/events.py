"""The two sides of file system events: what a source tells, and what can be asked of one.

A source translates the events of one operating system and decides nothing. All paths are absolute strings
that begin with the stacks folder's path as it was given, never its resolved form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class EventSink(Protocol):
    """Who is told. Called from a source's own threads, also concurrently; never raises."""

    def contract_written(self, folder: str) -> None:
        """The contract in `folder` is complete: closed after writing, or moved there."""

    def contract_unsettled(self, folder: str) -> None:
        """The contract in `folder` was created or is gone: look again when the save is over."""

    def folder_appeared(self, folder: str, watch: Callable[[str], None]) -> None:
        """A folder was created, linked or moved here; `watch` each folder before listing it."""

    def folder_gone(self, folder: str) -> None:
        """A folder was removed or moved away with all that is in it."""

    def canary_seen(self) -> None:
        """The event of a canary file arrived."""

    def events_lost(self) -> None:
        """The operating system dropped events: only a scan knows what happened."""


class EventSource(Protocol):
    """One running subscription to the events below one stacks folder."""

    @property
    def backend(self) -> str:
        """What delivers the events: `inotify`, `fsevents` and so on."""

    @property
    def unwatched(self) -> int:
        """How many folders the system refused to watch since the last `forgive_refusals`."""

    def forgive_refusals(self) -> None:
        """Forget what was refused: the next `watch_folder` tries again."""

    def watch_folder(self, folder: str) -> None:
        """Make sure that `folder` (not what is below it) is watched. Never raises."""

    def is_alive(self) -> bool:
        """Whether every thread that delivers events still runs, and the folder is the one it was opened for."""

    def close(self) -> None:
        """End the subscription and join its threads. May be called twice, not from its own threads."""


OpenSource = Callable[[str, EventSink], EventSource]
"""Opens a source for a stacks folder (absolute path). Raises OSError if the system gives none."""

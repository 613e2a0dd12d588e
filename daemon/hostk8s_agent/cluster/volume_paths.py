"""Which PersistentVolumes lead to a path of the node: asked in runs of stacks, and so without a look at all of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from hostk8s_agent.contract.paths import as_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.plan.observed import ObservedObject


class VolumePaths:
    """Names of PersistentVolumes by the paths that they lead to. Not thread-safe."""

    def __init__(self) -> None:
        # In order, what lies in a folder comes in a row right behind it.
        self._entries: list[tuple[str, str]] = []

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def add(self, volume: ObservedObject) -> None:
        """Take a volume in; any other object leads nowhere."""
        if volume.path:
            insort(self._entries, (as_prefix(volume.path), volume.key.name))

    def discard(self, volume: ObservedObject) -> None:
        """Take out a volume that was taken in as it is."""
        if volume.path:
            del self._entries[bisect_left(self._entries, (as_prefix(volume.path), volume.key.name))]

    def find(self, path: str) -> set[str]:
        """Return the names of those that lead to a path, into it, or to what it lies in."""
        wanted = as_prefix(path)
        found = set(self._iterate(wanted))
        while (wanted := wanted[: wanted.rstrip("/").rfind("/") + 1]) != "":
            found.update(self._iterate(wanted, is_exact=True))
        return found

    def _iterate(self, prefix: str, *, is_exact: bool = False) -> Iterator[str]:
        for index in range(bisect_left(self._entries, (prefix, "")), len(self._entries)):
            path, name = self._entries[index]
            if path != prefix if is_exact else not path.startswith(prefix):
                return
            yield name

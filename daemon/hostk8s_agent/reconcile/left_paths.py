"""The directories that stacks have left behind, by place: asked in each run of each stack, so that it must be quick."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from hostk8s_agent.contract.paths import VOLUME_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class LeftPaths:
    """Paths of contracts, which are clean, each with the stack that left it. Not thread-safe."""

    def __init__(self) -> None:
        self._at: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._at_or_in: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, path: str, stack: str) -> None:
        """Take in that a stack has left a path behind."""
        self._count(path, stack, 1)

    def discard(self, path: str, stack: str) -> None:
        """Take in that it is left behind no more; it must have been."""
        self._count(path, stack, -1)

    def has_any(self, paths: Iterable[str], besides: str) -> bool:
        """Whether a stack besides this one has left one of the paths, or what lies in or around it."""
        return any(
            self._is_others(self._at_or_in, path, besides)
            or any(self._is_others(self._at, above, besides) for above in _iterate_upwards(path))
            for path in paths
        )

    def _count(self, path: str, stack: str, step: int) -> None:
        self._count_at(self._at, path, stack, step)
        for place in _iterate_upwards(path):
            self._count_at(self._at_or_in, place, stack, step)

    @staticmethod
    def _count_at(index: defaultdict[str, Counter[str]], place: str, stack: str, step: int) -> None:
        index[place][stack] += step
        if not index[place][stack]:
            del index[place][stack]
        if not index[place]:
            del index[place]

    @staticmethod
    def _is_others(index: defaultdict[str, Counter[str]], place: str, besides: str) -> bool:
        stacks = index.get(place)
        return stacks is not None and (len(stacks) > 1 or besides not in stacks)


def _iterate_upwards(path: str) -> Iterator[str]:
    """Yield the path and the folders that it lies in, within the volume."""
    while len(path) > len(VOLUME_ROOT):
        yield path
        path = path.rpartition("/")[0]

"""Which stacks have an interest in which object, so that a change of the object brings them a run."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.plan.desired import ObjectKey


@dataclass(slots=True)
class InterestIndex:
    """Thread-safe. An update costs what one stack has, however many stacks there are."""

    _objects: dict[str, frozenset[ObjectKey]] = field(default_factory=dict)
    _stacks: defaultdict[ObjectKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, stack: str, keys: Iterable[ObjectKey]) -> None:
        """Say that `stack` asks for just these objects."""
        wanted = frozenset(keys)
        with self._lock:
            before = self._objects.get(stack, frozenset())
            if wanted == before:
                return
            self._objects[stack] = wanted
            for key in before - wanted:
                self._drop(key, stack)
            for key in wanted - before:
                self._stacks[key].add(stack)

    def add(self, stack: str, keys: Iterable[ObjectKey]) -> None:
        """Say that `stack` waits for these objects as well, until it says again what it asks for."""
        with self._lock:
            known = self._objects.get(stack, frozenset())
        if more := frozenset(keys) - known:
            self.record(stack, known | more)

    def forget(self, stack: str) -> None:
        """Say that `stack` asks for nothing any more."""
        with self._lock:
            for key in self._objects.pop(stack, frozenset()):
                self._drop(key, stack)

    def stacks_of(self, key: ObjectKey) -> frozenset[str]:
        """The stacks that ask for the object; empty when it is none of ours."""
        with self._lock:
            return frozenset(self._stacks.get(key, ()))

    def _drop(self, key: ObjectKey, stack: str) -> None:
        self._stacks[key].discard(stack)
        if not self._stacks[key]:
            del self._stacks[key]

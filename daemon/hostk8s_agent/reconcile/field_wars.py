"""Field wars: who changes a field again and again is not fought without end."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostk8s_agent.plan.drifting import FieldKey, FoundDrift

REPAIRS_ALLOWED = 5
WINDOW_SECONDS = 60.0
TRUCE_SECONDS = 300.0
_KEPT = 4_096
"""Of how many changes and fields is known that they were put right."""


@dataclass(frozen=True, slots=True)
class War:
    """A field that is left alone `until`, in seconds since the epoch; `drift` is the change that was one too many."""

    drift: FoundDrift
    until: float


@dataclass(slots=True)
class FieldWars:
    """Counts how often each field was changed back. Thread-safe; the time is the caller's.

    A field that was changed back `REPAIRS_ALLOWED` times within `WINDOW_SECONDS` and is changed once more is left
    alone for `TRUCE_SECONDS`. Then it is tried again, from the beginning.
    """

    _repairs: defaultdict[FieldKey, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=REPAIRS_ALLOWED))
    )
    _wars: dict[FieldKey, War] = field(default_factory=dict)
    _tokens: dict[tuple[FieldKey, str], None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, found: Iterable[FoundDrift], now: float) -> tuple[dict[FieldKey, War], tuple[War, ...]]:
        """Return, of the drift that a run has found, what is to be left alone, and which wars begin with it."""
        held: dict[FieldKey, War] = {}
        begun: list[War] = []
        with self._lock:
            self._end_wars(now)
            for one in found:
                repairs = self._repairs.get(one.key, ())
                if one.key not in self._wars and sum(now - at < WINDOW_SECONDS for at in repairs) >= REPAIRS_ALLOWED:
                    self._wars[one.key] = War(one, now + TRUCE_SECONDS)
                    begun.append(self._wars[one.key])
                if war := self._wars.get(one.key):
                    held[one.key] = war
        return held, tuple(begun)

    def note_repair(self, found: FoundDrift, now: float) -> bool:
        """Count one change that was put right; return False when it was counted before, from another stack's run."""
        with self._lock:
            if found.token:
                if (found.key, found.token) in self._tokens:
                    return False
                self._tokens[found.key, found.token] = None
                while len(self._tokens) > _KEPT:
                    del self._tokens[next(iter(self._tokens))]
            self._repairs[found.key].append(now)
            if len(self._repairs) > _KEPT:
                recent = {key: times for key, times in self._repairs.items() if now - times[-1] < WINDOW_SECONDS}
                self._repairs.clear()
                self._repairs.update(recent)
            return True

    def _end_wars(self, now: float) -> None:
        for key in [key for key, war in self._wars.items() if war.until <= now]:
            del self._wars[key]
            self._repairs.pop(key, None)

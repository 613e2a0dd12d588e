"""How long to wait before trying again: exponential back-off with jitter, the constants of client-go."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Backoff:
    """A growing wait. Not thread-safe: each worker has its own.

    The defaults are client-go's reflector constants (tools/cache/reflector.go): 0.8 s to 30 s, doubled
    each time, spread over one to two times the value so that many waiters never wake together.
    """

    initial_seconds: float = 0.8
    cap_seconds: float = 30.0
    factor: float = 2.0
    jitter: float = 1.0
    random: Callable[[], float] = field(default=random.random, repr=False)
    failures: int = 0

    def next_seconds(self) -> float:
        """Count one more failure and return the wait before the next attempt, in seconds."""
        # The exponent is bounded so that a failure of many days never overflows a float.
        base = min(self.initial_seconds * self.factor ** min(self.failures, 64), self.cap_seconds)
        self.failures += 1
        return base * (1 + self.jitter * self.random())

    def reset(self) -> None:
        """Forget all failures: the next wait is the initial one."""
        self.failures = 0

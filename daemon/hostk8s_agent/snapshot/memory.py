"""How the C library keeps what a long work has freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

ARENAS: Final = 2

# mallopt(3).
_ARENA_MAX = -8


def share_heaps() -> None:
    """Have the threads of this process share two heaps; nothing where the C library is not glibc.

    Left alone, glibc gives each thread one of its own, up to eight times the processors, and each that has moved
    megabytes keeps some 20 MB of what it has freed for as long as the agent runs. The interpreter's lock keeps the
    threads from getting in each other's way.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, ARENAS)

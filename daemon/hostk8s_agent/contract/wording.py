"""How a problem speaks of what a person wrote: quoted, short, and with the name they may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_QUOTED_CHARACTERS: Final = 60


def quote(text: str) -> str:
    r"""Given any text, return it between quotes, escaped and at most `MAX_QUOTED_CHARACTERS` long.

    Control characters and whatever else does not print come out escaped, so that no text of a contract
    can move the cursor of a terminal or reverse a line: for instance `quote("\x1b[2J")` is `'\\x1b[2J'`.
    """
    escaped = escape(text[: MAX_QUOTED_CHARACTERS + 1])
    if len(escaped) > MAX_QUOTED_CHARACTERS:
        escaped = f"{escaped[:MAX_QUOTED_CHARACTERS]}…"
    return f"'{escaped}'"


def escape(text: str) -> str:
    """Given any text, return it with whatever does not print escaped, also lone surrogates."""
    return repr(text)[1:-1]


def find_nearest(text: str, known: Iterable[str]) -> str | None:
    """Given a name nobody knows, return the known one that it most resembles, or None if none is near.

    Case does not count. A text too long to be a slip of the pen is not compared: that would cost time.
    """
    if len(text) > MAX_QUOTED_CHARACTERS:
        return None
    by_folded = {name.casefold(): name for name in known}
    nearest = get_close_matches(text.casefold(), by_folded, n=1)
    return by_folded[nearest[0]] if nearest else None


def join_words(words: Iterable[str], *, last: str = "or") -> str:
    """Given words, return them as a person lists them: `a`, `a or b`, `a, b or c`."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one: `1 character`, `70 characters`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

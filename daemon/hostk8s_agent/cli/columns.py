"""Rows of text as columns that fit: rich would take 70 ms of the 100 that `status` has.

Widths are in columns of a terminal: a Chinese character takes two, a combining accent none.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hostk8s_agent.cli.output import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hostk8s_agent.cli.output import Color, Screen

GAP = "  "
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT = 1024
# The last column keeps this much, whatever the others take.
MIN_LAST_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of a table, and its colour where there are colours."""

    text: str
    color: Color | None = None


def render_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], screen: Screen) -> list[str]:
    """Return the lines of a table, the headers first; nothing at all without rows.

    On a terminal the last column is cut to the width, and no line is longer than it.
    """
    if not rows:
        return []
    texts = [tuple(headers), *(tuple(escape_controls(cell.text) for cell in row) for row in rows)]
    widths = [max(measure(row[index]) for row in texts) for index in range(len(headers) - 1)]
    last_width = None
    if screen.width is not None:
        last_width = max(screen.width - sum(widths) - len(GAP) * len(widths), MIN_LAST_WIDTH)
    colors: list[list[Color | None]] = [["bold"] * len(headers), *([cell.color for cell in row] for row in rows)]
    return [
        _render_row(row, row_colors, widths, last_width, screen) for row, row_colors in zip(texts, colors, strict=True)
    ]


def drop_columns(
    headers: Sequence[str], rows: Sequence[Sequence[Cell]], screen: Screen, order: Sequence[str]
) -> tuple[list[str], list[list[Cell]]]:
    """Return the table with as many of its columns as a terminal has room for; `order` has what goes first.

    The last of those is kept as long as any other is left; where it goes, the others get its room. Where nothing is
    left to go, the first column is cut.
    """
    if screen.width is None or not rows:
        return list(headers), [list(row) for row in rows]
    # Once for all: with a thousand rows it is what this costs.
    widths = [
        max(measure(header), *(measure(escape_controls(row[index].text)) for row in rows))
        for index, header in enumerate(headers)
    ]
    *early, last = order
    for gone in ({*more, *early[:number]} for more in ([], [last]) for number in range(len(early) + 1)):
        kept = [index for index, header in enumerate(headers) if header not in gone]
        *first, final = (widths[index] for index in kept)
        excess = sum(first) + min(final, MIN_LAST_WIDTH) + len(GAP) * len(first) - screen.width
        if excess <= 0:
            break
    cells = [[row[index] for index in kept] for row in rows]
    if excess > 0:
        width = max(1, widths[0] - excess)
        cells = [[Cell(cut(escape_controls(row[0].text), width), row[0].color), *row[1:]] for row in cells]
    return [headers[index] for index in kept], cells


def measure(text: str) -> int:
    """Return how many columns the text takes."""
    if text.isascii():
        return len(text)
    return sum(_measure_character(character) for character in text)


def cut(text: str, width: int | None) -> str:
    """Return the text, ended with `…` where it would take more than `width` columns; None means any length."""
    if width is None or measure(text) <= width:
        return text
    kept, taken = [], 1
    for character in text:
        taken += _measure_character(character)
        if taken > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def wrap(text: str, indent: str, screen: Screen) -> Iterator[str]:
    """Give the lines of a text, indented, broken between words where a terminal ends."""
    escaped = escape_controls(text)
    if screen.width is None or len(indent) + measure(escaped) <= screen.width:
        yield indent + escaped
        return
    line = ""
    for word in escaped.split(" "):
        longer = f"{line} {word}" if line else word
        if line and len(indent) + measure(longer) > screen.width:
            yield indent + line
            longer = word
        line = longer
    yield indent + line


def render_bytes(number: int) -> str:
    """Return a size as people read it, for instance `1.5 GiB`."""
    size, unit = float(number), 0
    while size >= _UNIT and unit < len(_UNITS) - 1:
        size, unit = size / _UNIT, unit + 1
    return f"{number} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def render_age(at: str, now: float) -> str:
    """Given a time (RFC 3339) and Unix time, return how long ago it was, in its largest unit: `5m`, `3h`, `12d`."""
    try:
        seconds = max(0, int(now - datetime.fromisoformat(at).timestamp()))
    except ValueError:
        return at
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _render_row(
    texts: Sequence[str], colors: Sequence[Color | None], widths: Sequence[int], last_width: int | None, screen: Screen
) -> str:
    cells = [
        screen.paint(text, color) + " " * (width - measure(text))
        for text, color, width in zip(texts[:-1], colors[:-1], widths, strict=True)
    ]
    cells.append(screen.paint(cut(texts[-1], last_width), colors[-1]))
    return GAP.join(cells).rstrip()


def _measure_character(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1

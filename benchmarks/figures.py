"""Figures: samples of one measure, what must be reached, and the verdict, which is always computed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(slots=True)
class Samples:
    """One measured value for each round, in milliseconds unless the owner says otherwise; at least one when read."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Take the value of one more round."""
        self.values.append(value)

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def quantile(self, share: float) -> float:
        """The value that `share` (0 to 1) of the rounds do not exceed, by the nearest rank: one really measured."""
        ordered = sorted(self.values)
        return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]

    def __str__(self) -> str:
        return (
            f"{render_milliseconds(self.median)} "
            f"({render_milliseconds(self.quantile(0.1))} to {render_milliseconds(self.quantile(0.9))})"
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One bound that a figure must keep: `value` at most `limit`, or at least it when `is_floor`.

    `unit` is `ms`, `s`, `TIMES`, `%`, `MB`, or empty for a plain count.
    """

    label: str
    value: float
    limit: float
    unit: str
    is_floor: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the value keeps the bound."""
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    @property
    def bound(self) -> str:
        """The bound as the table has it, for instance `p50 ≤ 25 ms`."""
        return f"{self.label} {'≥' if self.is_floor else '≤'} {render(self.limit, self.unit)}"

    @property
    def miss(self) -> str:
        """By how much the bound is missed."""
        text = f"{self.label} is {render(self.value, self.unit)}"
        if not self.limit or not self.value:
            return f"{text} in place of {render(self.limit, self.unit)}"
        factor = self.limit / self.value if self.is_floor else self.value / self.limit
        relation = "short of" if self.is_floor else "the allowed"
        return f"{text}, {factor:.2f} {TIMES} {relation} {render(self.limit, self.unit)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    `rounds` says how many there were, with their unit; `rivals` holds what was measured beside it in the same run;
    `details` says where the time (or memory) goes, as far as it was measured: for whoever asks why, and under each
    miss.
    """

    work: str
    rounds: str
    measured: str
    rivals: tuple[str, ...]
    checks: tuple[Check, ...]
    details: tuple[str, ...] = ()

    @property
    def misses(self) -> tuple[Check, ...]:
        """The bounds that were not kept."""
        return tuple(check for check in self.checks if not check.is_reached)

    @property
    def verdict(self) -> str:
        """`reached`, or by how much it was missed."""
        return "reached" if not self.misses else "missed: " + "; ".join(check.miss for check in self.misses)

    @property
    def must_reach(self) -> str:
        """All bounds in one line."""
        return ", ".join(check.bound for check in self.checks)

    @property
    def ratios(self) -> str:
        """The measured ratios to the rivals in one line."""
        return ", ".join(f"{check.label}: {render(check.value, TIMES)}" for check in self.checks if check.unit == TIMES)


def render(value: float, unit: str) -> str:
    """Return a value with its unit, in as many digits as it deserves."""
    if unit == "ms":
        return render_milliseconds(value)
    digits = 0 if value == int(value) or value >= 100 else 2 if value < 10 else 1
    return f"{value:.{digits}f} {unit}".rstrip()


def render_milliseconds(value: float) -> str:
    """Return milliseconds as a person reads them: `12.3 ms`, `1.24 s`."""
    if value >= 1000:
        return f"{value / 1000:.2f} s" if value < 100_000 else f"{value / 1000:.0f} s"
    return f"{value:.0f} ms" if value >= 100 or value == int(value) else f"{value:.1f} ms"


def render_rivals(rivals: Iterable[tuple[str, Samples]]) -> tuple[str, ...]:
    """Return each rival with its median and spread."""
    return tuple(f"{name} {samples}" for name, samples in rivals)

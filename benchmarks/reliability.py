"""Rows of the fault catalogue: trials of one fault, what failed in them, and what was measured.

A test with the marker `fault` is a row. It takes the fixture `row`, makes its trials in a loop, and asserts in them:

```python
@pytest.mark.fault("W1", "inotify overflow", holds="every contract converges", target="0 missed", short=1, full=20)
def test_an_overflow_loses_nothing(row: Row, site: Site) -> None:
    for trial in row.trials():
        with trial:
            ...  # an AssertionError in here is one failure
            row.measure("settled after", seconds, "s", limit=2)
```

`make test` makes `short` trials and ends with the first failure; `make faults` makes `full`, `make soak` those `soak`
that a row names, and counts the failures. What is measured is shown beside its limit and fails nothing: the machine may
be slow, and a test asserts on no time beyond a generous deadline.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from figures import Samples, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

Length = Literal["short", "full", "soak"]
Statistic = Literal["p50", "p95", "max", "mean"]

FAILURES_TOLD = 5
PROGRESS_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One row as the catalogue has it. `short`, `full` and `soak` are numbers of trials; no `soak`, no soak."""

    id: str
    fault: str
    holds: str
    target: str
    short: int = 1
    full: int = 20
    soak: int = 0

    def count(self, length: Length) -> int:
        """How many trials a run of that length makes. A soak makes the longest that the row has."""
        return {"short": self.short, "full": self.full, "soak": self.soak or self.full}[length]


@dataclass(slots=True)
class Measure:
    """One figure of a row over all trials, with the limit that it should keep (None: it has none)."""

    unit: str
    limit: float | None
    statistic: Statistic
    samples: Samples = field(default_factory=Samples)

    def render(self, label: str) -> str:
        """Return for instance `settled after p95 1.2 s (p50 0.9 s, limit 2 s)`."""
        value = self._value
        words = f"{label} {self.statistic} {render(value, self.unit)}"
        rest = [] if self.statistic in ("p50", "mean") else [f"p50 {render(self.samples.median, self.unit)}"]
        if self.limit is not None:
            rest.append(f"{'limit' if value <= self.limit else 'MISSES the limit'} {render(self.limit, self.unit)}")
        return f"{words} ({', '.join(rest)})" if rest else words

    @property
    def _value(self) -> float:
        if self.statistic == "mean":
            return sum(self.samples.values) / len(self.samples.values)
        return self.samples.quantile({"p50": 0.5, "p95": 0.95, "max": 1.0}[self.statistic])


class Trial:
    """One trial, as a context manager: what is raised in it is a failure of the row."""

    def __init__(self, row: Row, number: int) -> None:
        self._row = row
        self.number = number

    def __enter__(self) -> int:
        return self.number

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        del kind, trace
        self._row.tried += 1
        # pytest's own failures (a fixture's `pytest.fail`, a timeout) are no `Exception`.
        if error is None or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            return False
        self._row.failures.append(f"trial {self.number}: {type(error).__name__}: {error}")
        return self._row.is_counting


class Row:
    """The trials of one fault. `is_counting` goes on after a failure, which a short run does not."""

    def __init__(self, fault: Fault, length: Length) -> None:
        self.fault = fault
        self.length = length
        self.is_counting = length != "short"
        self.tried = 0
        self.failures: list[str] = []
        self.measures: dict[str, Measure] = {}
        self.notes: dict[str, None] = {}
        self.began = time.monotonic()
        self._said_at = time.monotonic()

    @property
    def count(self) -> int:
        """How many trials are to be made."""
        return self.fault.count(self.length)

    def trials(self) -> Iterator[Trial]:
        """Give the trials, numbered from 0. Raises `AssertionError` at the end when any of them failed."""
        for number in range(self.count):
            self._say_progress(number)
            yield Trial(self, number)
        assert not self.failures, self.describe_failures()

    def measure(
        self, label: str, value: float, unit: str = "", *, limit: float | None = None, statistic: Statistic = "p95"
    ) -> None:
        """Take one sample of a figure; the figure is its `statistic` over all samples. `unit` as in `figures`."""
        self.measures.setdefault(label, Measure(unit, limit, statistic)).samples.add(value)

    def note(self, words: str) -> None:
        """Say something of the row that is no figure, once: how it was made to happen, or what does not count."""
        self.notes[words] = None

    def describe_failures(self) -> str:
        """Return what failed, the first few of it in words."""
        return f"{len(self.failures)} of {self.tried} failed: " + "; ".join(self.failures[:FAILURES_TOLD])

    def render_figures(self) -> list[str]:
        """Return each figure and note in words."""
        return [one.render(label) for label, one in self.measures.items()] + list(self.notes)

    def render_record(self, date: str) -> dict[str, Any]:
        """Return the row as it is kept: JSON values alone."""
        return {
            "id": self.fault.id,
            "fault": self.fault.fault,
            "holds": self.fault.holds,
            "target": self.fault.target,
            "length": self.length,
            "n": self.tried,
            "failures": len(self.failures),
            "failed": [one.partition("\n")[0][:300] for one in self.failures[:FAILURES_TOLD]],
            "figures": self.render_figures(),
            "seconds": round(time.monotonic() - self.began, 1),
            "date": date,
        }

    def _say_progress(self, number: int) -> None:
        now = time.monotonic()
        if self.is_counting and now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            left = (now - self.began) / max(number, 1) * (self.count - number)
            words = f"{self.fault.id}: trial {number + 1} of {self.count}, {len(self.failures)} failed"
            print(f"faults: {words}, about {left:.0f} s left", file=sys.__stderr__, flush=True)

"""The rows of results.md as they were measured last, kept as JSON: one can be measured again alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import Check, Figure
from report import render_results

if TYPE_CHECKING:
    from collections.abc import Sequence

STORE = Path(__file__).with_name("results.json")
PAGE = Path(__file__).with_name("results.md")


@dataclass(frozen=True, slots=True)
class Result:
    """One row: the measurement's name, what it gave, when, and the machine's load (15 minutes) before the run."""

    name: str
    measured_at: str
    load: str
    figure: Figure


def record_result(result: Result, machine: Sequence[tuple[str, str]], order: Sequence[str]) -> None:
    """Keep a result in place of the one of its name, and write the page anew, its rows in `order`."""
    kept = {one.name: one for one in load_results()} | {result.name: result}
    ordered = [kept[name] for name in order if name in kept]
    STORE.write_text(json.dumps([asdict(one) for one in ordered], indent=1) + "\n", encoding="utf-8")
    rows = [(one.figure, f"{one.measured_at}, load {one.load}") for one in ordered]
    PAGE.write_text(render_results(rows, machine), encoding="utf-8")


def load_results() -> list[Result]:
    """Return the results that are kept; none when there is no store yet."""
    if not STORE.exists():
        return []
    return [_load(one) for one in json.loads(STORE.read_text(encoding="utf-8"))]


def _load(record: dict[str, Any]) -> Result:
    figure = record["figure"]
    figure["checks"] = tuple(Check(**one) for one in figure["checks"])
    figure["rivals"], figure["details"] = tuple(figure["rivals"]), tuple(figure["details"])
    return Result(**{**record, "figure": Figure(**figure)})

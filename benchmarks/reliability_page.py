"""docs/reliability.md: the table of all rows, each as it was measured last.

The rows are kept beside this module as JSON, so that one row can be measured again without all the others.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import describe_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

STORE = Path(__file__).with_name("reliability.json")
PAGE = Path(__file__).parent.parent / "docs/reliability.md"

_HEAD = """\
# Reliability

Written by `make faults` and `make soak`; nobody edits it. Each row is a fault that was made to happen n times on the
real components; in `make test` the same rows are tried a few times.

Zero failures in n trials say no more than that the rate is below 3/n (with 95 % confidence): that is the bound.
A figure that misses its limit says so. Compare figures with care: the machine is small and shared.
"""
_HEADINGS = ("row", "fault", "must hold", "n", "failures", "bound", "figures", "target", "measured")


def record_row(record: dict[str, Any]) -> None:
    """Keep a row in place of the one that was measured before, and write the page anew."""
    rows = {one["id"]: one for one in load_rows()}
    rows[record["id"]] = record
    ordered = [rows[name] for name in sorted(rows, key=_rank)]
    machine = [list(pair) for pair in describe_machine(())]
    STORE.write_text(json.dumps({"machine": machine, "rows": ordered}, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render_page(ordered, machine), encoding="utf-8")


def load_rows() -> list[dict[str, Any]]:
    """Return the rows that are kept; none when there is no store yet."""
    if not STORE.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(STORE.read_text(encoding="utf-8"))["rows"]
    return rows


def render_page(rows: Sequence[dict[str, Any]], machine: Sequence[Sequence[str]]) -> str:
    """Return the page: the table, what failed, and the machine of the last run."""
    lines = [_HEAD, _render_cells(_HEADINGS), _render_cells(["---"] * len(_HEADINGS))]
    lines += [_render_cells(_cells(row)) for row in rows]
    failed = [row for row in rows if row["failures"]]
    if failed:
        lines += ["", "## What failed", ""]
        lines += [f"- {row['id']}: {words}" for row in failed for words in row["failed"]]
    lines += ["", "## The machine of the last run", "", *(f"- {name}: {value}" for name, value in machine), ""]
    return "\n".join(lines)


def render_bound(n: int, failures: int) -> str:
    """Return what n trials say of the rate of failures: for instance `< 1.5 %`, or `2 of 200` where some failed."""
    if not n:
        return "nothing was tried"
    return f"{failures} of {n}" if failures else f"< {min(300 / n, 100):.3g} %"


def render_line(record: dict[str, Any]) -> str:
    """Return a row as one line for a terminal."""
    n, failures = record["n"], record["failures"]
    words = f"{record['id']:<4} n={n:<5} failures={failures:<3} rate {render_bound(n, failures)}"
    return "; ".join((words, *record["figures"]))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    length = " (soak)" if row["length"] == "soak" else ""
    return (
        row["id"],
        row["fault"],
        row["holds"],
        str(row["n"]),
        str(row["failures"]),
        render_bound(row["n"], row["failures"]),
        "<br>".join(row["figures"]),
        row["target"],
        f"{row['date']}, {row['seconds']:.0f} s{length}",
    )


def _render_cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _rank(name: str) -> tuple[str, int, str]:
    match = re.match(r"([A-Z]+)(\d+)", name)
    return (match[1], int(match[2]), name) if match else (name, 0, name)

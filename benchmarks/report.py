"""What is printed and written: the table, the machine, and for each miss what holds it back."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Figure

NOTHING = "\N{EN DASH}"
HEADINGS = (
    "work",
    "must reach",
    "measured: median (p10 to p90)",
    "rivals in the same run",
    "ratios",
    "rounds",
    "verdict",
    "measured on",
)


def render_figure(figure: Figure) -> str:
    """Return one figure as lines for a terminal."""
    lines = [
        figure.work,
        f"  must reach  {figure.must_reach}",
        f"  measured    {figure.measured}, {figure.rounds}",
        *(f"  rival       {rival}" for rival in figure.rivals),
        *([f"  ratios      {figure.ratios}"] if figure.ratios else []),
        *(f"              {detail}" for detail in figure.details),
        f"  verdict     {figure.verdict}",
    ]
    return "\n".join(lines)


def render_results(rows: Sequence[tuple[Figure, str]], machine: Sequence[tuple[str, str]]) -> str:
    """Return `results.md`: each figure with when and under which load it was measured, and the last run's machine."""
    lines = [
        "# Results",
        "",
        "Written by `make bench`, row by row as they are measured; how: [README.md](README.md).",
        "Rivals, measured in the same run in turns with the agent: (a) the bare limit, raw HTTP on 8 connections;",
        "(b) `kubectl apply --server-side -f`; (c) the calls that HostK8s' script makes.",
        "Compare ratios, not times: the machine is small and shared.",
        "",
        _render_row(HEADINGS),
        _render_row(["---"] * len(HEADINGS)),
    ]
    for one, measured in rows:
        rivals = "<br>".join(one.rivals) or NOTHING
        cells = (one.work, one.must_reach, one.measured, rivals, one.ratios or NOTHING, one.rounds, one.verdict)
        lines.append(_render_row((*cells, measured)))
    figures = [figure for figure, _ in rows]
    lines += ["", "## The machine of the last run", "", *(f"- {name}: {value}" for name, value in machine), ""]
    missed = [figure for figure in figures if figure.misses]
    lines += ["## What was missed, and what holds it back", ""]
    if not missed:
        lines += ["Nothing was missed.", ""]
    for one in missed:
        lines += [f"### {one.work}", "", *(f"- {check.miss}" for check in one.misses)]
        lines += [*(f"- {detail}" for detail in one.details), ""]
    kept = [figure for figure in figures if not figure.misses and figure.details]
    if kept:
        lines += ["## Where the time goes in the others", ""]
        lines += [f"- {one.work}: {'; '.join(one.details)}" for one in kept]
        lines.append("")
    return "\n".join(lines)


def render_misses(figures: Sequence[Figure], failures: Sequence[str]) -> str:
    """Return the last lines of a run: what was missed, and what could not be measured."""
    missed = [f"missed: {figure.work}: {check.miss}" for figure in figures for check in figure.misses]
    unmeasured = [f"not measured: {failure}" for failure in failures]
    return "\n".join((*missed, *unmeasured)) if missed or unmeasured else "every bound was reached"


def _render_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def describe_machine(versions: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What matters for the figures and tells nothing of whose machine it is."""
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="ascii"), re.MULTILINE)
    return [
        ("date", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("cores", f"{len(os.sched_getaffinity(0))}{f' ({model[1]})' if model else ''}"),
        ("memory", f"{int(memory[1]) / 1024 / 1024:.0f} GiB" if memory else "unknown"),
        ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}"),
        ("load before the run", f"{os.getloadavg()[2]:.2f}"),
        ("Python", platform.python_version()),
        *versions,
    ]

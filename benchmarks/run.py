"""`make bench`: measures the agent and its rivals in one run, prints every figure, and keeps them in results.md.

The exit code is 0 also when a bound is missed: a benchmark is no test. It is 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ground import Ground
from measure_changes import measure_checkout, measure_drift
from measure_cold_start import measure_cold_start
from measure_dashboard import measure_dashboard, measure_open_pages
from measure_freeze import measure_freeze
from measure_large_file import measure_large_file
from measure_recreated import measure_recreated
from measure_save import measure_direct_save, measure_helper_save
from measure_scale import measure_scale
from measure_settled import measure_idle, measure_restart, measure_touched
from measure_snapshots import measure_snapshots
from measure_status import measure_status
from report import describe_machine, render_figure, render_misses
from results import PAGE, Result, record_result
from trial import Progress, Sizes, Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from figures import Figure


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the table: its name for `--only`, what it does, and about how many seconds it takes."""

    name: str
    measure: Callable[[Trial], Figure]
    estimate_seconds: Callable[[Sizes], float]


MEASUREMENTS = (
    Measurement("save", measure_direct_save, lambda sizes: 25 + 2.2 * sizes.rounds),
    Measurement("save-helper", measure_helper_save, lambda sizes: 25 + 1.5 * sizes.rounds),
    Measurement("cold-start", measure_cold_start, lambda sizes: 15 + sizes.cold_rounds * (22 + 0.028 * sizes.stacks)),
    Measurement("recreated", measure_recreated, lambda sizes: 25 + 16 * sizes.cold_rounds),
    Measurement("drift", measure_drift, lambda sizes: 25 + 0.8 * sizes.rounds),
    Measurement("checkout", measure_checkout, lambda sizes: 30 + sizes.cold_rounds * (6 + 0.015 * sizes.stacks)),
    Measurement("restart", measure_restart, lambda sizes: 20 + 0.01 * sizes.stacks + 5 * sizes.rounds),
    Measurement("touched", measure_touched, lambda sizes: 20 + 0.01 * sizes.stacks + 4 * sizes.rounds),
    Measurement("scale", measure_scale, lambda sizes: 40 + 0.01 * sizes.many_stacks + 1.8 * sizes.rounds),
    Measurement("idle", measure_idle, lambda sizes: 20 + 0.01 * sizes.stacks + sizes.idle_windows * sizes.idle_seconds),
    Measurement("dashboard", measure_dashboard, lambda sizes: 20 + 0.01 * sizes.stacks + 2 * sizes.rounds),
    Measurement("pages", measure_open_pages, lambda sizes: 30 + 0.01 * sizes.stacks + sizes.idle_seconds),
    Measurement("snapshots", measure_snapshots, lambda sizes: 160 + 90 * min(5, sizes.rounds)),
    Measurement("large-file", measure_large_file, lambda _sizes: 200),
    Measurement("freeze", measure_freeze, lambda sizes: 45 + 3 * min(10, sizes.rounds)),
    Measurement("status", measure_status, lambda sizes: 35 + 0.01 * sizes.stacks + 1.5 * sizes.rounds),
)


def main() -> int:
    """Measure what was asked for."""
    options = _parse_options(sys.argv[1:])
    sizes = Sizes(
        options.rounds, options.cold_rounds, options.idle_windows, options.idle_seconds, options.stacks, options.many
    )
    chosen = [one for one in MEASUREMENTS if not options.only or one.name in options.only]
    minutes = sum(one.estimate_seconds(sizes) for one in chosen) / 60
    say = Progress("all").say
    say(f"about {minutes:.0f} minutes; Ctrl-C ends it and takes everything down")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    started = time.monotonic()
    try:
        outcome = _measure_all(chosen, sizes, is_recording=options.record)
    except KeyboardInterrupt:
        say("interrupted; everything is down again")
        return 130
    except (OSError, RuntimeError) as error:
        say(f"cannot begin: {error}")
        return 1
    say(f"took {(time.monotonic() - started) / 60:.0f} minutes")
    if options.record:
        say(f"written: {PAGE.name}")
    print(render_misses(outcome.figures, outcome.failures))
    return 1 if outcome.failures else 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a run gave: its figures, and why others could not be measured."""

    figures: list[Figure]
    failures: list[str]


def _measure_all(chosen: list[Measurement], sizes: Sizes, *, is_recording: bool) -> _Outcome:
    figures: list[Figure] = []
    failures: list[str] = []
    load = f"{os.getloadavg()[2]:.1f}"
    with Ground() as ground:
        for one in chosen:
            progress = Progress(one.name)
            progress.say(f"about {one.estimate_seconds(sizes):.0f} s")
            try:
                figures.append(one.measure(Trial(ground, sizes, progress)))
            except (OSError, RuntimeError) as error:
                # The others are worth having: a whole run takes half an hour.
                failures.append(f"{one.name}: {error}")
                progress.say(f"could not be measured: {error}")
            else:
                print(f"{render_figure(figures[-1])}\n", flush=True)
                if is_recording:
                    result = Result(one.name, dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"), load, figures[-1])
                    order = [measurement.name for measurement in MEASUREMENTS]
                    record_result(result, describe_machine(ground.versions()), order)
        return _Outcome(figures, failures)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End the measuring; a second Ctrl-C must not end the taking down."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parse_options(arguments: list[str]) -> argparse.Namespace:
    default = Sizes()
    parser = argparse.ArgumentParser(description="Measure the agent and its rivals in one run.")
    names = [one.name for one in MEASUREMENTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="rounds of what is cheap (%(default)s)")
    parser.add_argument("--cold-rounds", type=int, default=default.cold_rounds, help="of cold starts (%(default)s)")
    parser.add_argument("--idle-windows", type=int, default=default.idle_windows, help="(%(default)s)")
    parser.add_argument("--idle-seconds", type=float, default=default.idle_seconds, help="of a window (%(default)s)")
    parser.add_argument("--stacks", type=int, default=default.stacks, help="in place of a thousand, for a trial")
    parser.add_argument("--many", type=int, default=default.many_stacks, help="in place of 5,000, for a trial")
    parser.add_argument("--record", action="store_true", help=f"keep what is measured in {PAGE.name}")
    options = parser.parse_args(arguments)
    if options.record and (options.stacks, options.many) != (default.stacks, default.many_stacks):
        parser.error("what is measured with other sizes is a trial, and is not recorded")
    return options


if __name__ == "__main__":
    sys.exit(main())

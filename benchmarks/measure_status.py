"""`status` as a whole process, as a person or a script starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from figures import Check, Figure, Samples, render_milliseconds, render_rivals
from saving import time_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trial import Trial

FEW = 10


def measure_status(trial: Trial) -> Figure:
    """`status` with few and with many stacks, beside a Python that does nothing and a `kubectl get`, in turns."""
    ground, stacks = trial.ground, trial.sizes.stacks
    runs = 2 * trial.sizes.rounds
    few, many, bare, kubectl = Samples(), Samples(), Samples(), Samples()
    with (
        trial.ready_agent(FEW) as few_site,
        trial.ready_agent(stacks, instance="bench-many") as many_site,
    ):
        commands = ground.commands(many_site.cluster)
        contestants: tuple[tuple[Samples, Sequence[str], Mapping[str, str]], ...] = (
            (few, few_site.agent.status_command, few_site.agent.environment),
            (many, many_site.agent.status_command, many_site.agent.environment),
            (bare, [sys.executable, "-c", "pass"], few_site.agent.environment),
            (kubectl, [commands.kubectl, "get", "persistentvolumes"], commands.environment),
        )
        for number in trial.progress.rounds(runs + 1):
            for samples, command, surroundings in contestants:
                milliseconds = _time_process(command, surroundings)
                # The first round warms up.
                if number:
                    samples.add(milliseconds)
    return Figure(
        work="`status` as a whole process",
        rounds=f"{runs} processes each",
        measured=f"p95 {render_milliseconds(few.quantile(0.95))} with {FEW} stacks (p50 {few}), "
        f"p95 {render_milliseconds(many.quantile(0.95))} with {stacks:,} (p50 {many})",
        rivals=render_rivals((("a Python that does nothing", bare), ("`kubectl get persistentvolumes`", kubectl))),
        checks=(
            Check(f"p95 with {FEW} stacks", few.quantile(0.95), 250, "ms"),
            Check(f"p95 with {stacks:,} stacks", many.quantile(0.95), 250, "ms"),
        ),
    )


def _time_process(command: Sequence[str], environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    milliseconds = time_milliseconds(started)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
    return milliseconds

"""`status` as a whole process, as a person or a script starts it."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from agent_process import AgentProcess
from figures import Check, Figure, Samples, render_milliseconds, render_rivals
from saving import time_milliseconds
from trial import SETTLE_SECONDS, Trial
from workload import Edition, name_stacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEW = 10


def measure_status(trial: Trial) -> Figure:
    """`status` with few and with many stacks, beside a Python that does nothing and a `kubectl get`, in turns."""
    ground, stacks = trial.ground, trial.sizes.stacks
    runs = 2 * trial.sizes.rounds
    few, many, bare, kubectl = Samples(), Samples(), Samples(), Samples()
    with trial.ready_agent(stacks) as site, ExitStack() as stack:
        volume = stack.enter_context(ground.volume())
        checkout = stack.enter_context(ground.checkout())
        home = stack.enter_context(ground.private_folder())
        checkout.write([Edition(name) for name in name_stacks("few", FEW)])
        environment = ground.environment(site.cluster, volume, home)
        small = stack.enter_context(AgentProcess(checkout, environment, home / "agent.log"))
        small.wait_until_settled(SETTLE_SECONDS)
        small.require_ready(FEW)
        commands = ground.commands(site.cluster)
        contestants: tuple[tuple[Samples, Sequence[str], Mapping[str, str]], ...] = (
            (few, small.status_command, small.environment),
            (many, site.agent.status_command, site.agent.environment),
            (bare, [sys.executable, "-c", "pass"], small.environment),
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

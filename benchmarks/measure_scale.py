"""One save among few stacks and among many: does the size of the workspace show?"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_process import AgentProcess
from figures import TIMES, Check, Figure
from observing import Observer
from saving import REST_SECONDS, SaveSamples, measure_save
from trial import SETTLE_SECONDS, Trial
from workload import Checkout, Edition, name_stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ground import Volume

FEW = 10


@dataclass(slots=True)
class _Site:
    """One agent with its own cluster, volume and workspace."""

    checkout: Checkout
    volume: Volume
    observer: Observer
    agent: AgentProcess
    saves: SaveSamples = field(default_factory=SaveSamples.begin)


def measure_scale(trial: Trial) -> Figure:
    """Save in turns in a small and in a large workspace, each with an agent and a cluster of its own."""
    many_stacks, rounds = trial.sizes.many_stacks, trial.sizes.rounds
    with _site(trial, FEW, "bench") as few, _site(trial, many_stacks, "bench-many") as many:
        for number in trial.progress.rounds(rounds + 2):
            for site in (few, many) if number % 2 else (many, few):
                # The same ten stacks in both, so that nothing else differs.
                edition = Edition(name_stacks("stack", FEW)[number % FEW], number + 1)
                timing = measure_save(site.checkout, site.volume, site.observer, edition)
                # The first two rounds warm up.
                if number >= 2:
                    site.saves.add(timing)
                time.sleep(REST_SECONDS)
        ratio = max(many.saves.whole.median, few.saves.whole.median) / min(
            many.saves.whole.median, few.saves.whole.median
        )
        return Figure(
            work=f"one save among {FEW} and among {many_stacks:,} stacks",
            rounds=f"{rounds} rounds",
            measured=f"among {FEW}: {few.saves.whole}; among {many_stacks:,}: {many.saves.whole}",
            rivals=(),
            checks=(Check("of each other", ratio, 1.3, TIMES),),
            details=(
                *(f"among {FEW}: {one}" for one in few.saves.describe(few.agent.read_reconcile_milliseconds(rounds))),
                *(
                    f"among {many_stacks:,}: {one}"
                    for one in many.saves.describe(many.agent.read_reconcile_milliseconds(rounds))
                ),
            ),
        )


@contextmanager
def _site(trial: Trial, stacks: int, instance: str) -> Iterator[_Site]:
    ground = trial.ground
    with ExitStack() as stack:
        cluster = stack.enter_context(ground.cluster(instance))
        volume = stack.enter_context(ground.volume())
        checkout = stack.enter_context(ground.checkout())
        home = stack.enter_context(ground.private_folder())
        checkout.write([Edition(name) for name in name_stacks("stack", stacks)])
        trial.progress.say(f"putting {stacks} stacks in place")
        agent = stack.enter_context(
            AgentProcess(checkout, ground.environment(cluster, volume, home), home / "agent.log")
        )
        agent.wait_until_settled(SETTLE_SECONDS)
        agent.require_ready(stacks, SETTLE_SECONDS)
        agent.wait_until_idle()
        yield _Site(checkout, volume, stack.enter_context(Observer(cluster.server)), agent)

"""One save among few stacks and among many: does the size of the workspace show?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from figures import TIMES, Check, Figure
from saving import REST_SECONDS, SaveSamples, measure_save
from workload import Edition, name_stacks

if TYPE_CHECKING:
    from trial import Site, Trial

FEW = 10
WARM_UP_ROUNDS = 2


def measure_scale(trial: Trial) -> Figure:
    """Save in turns in a small and in a large workspace, each with an agent and a cluster of its own."""
    sizes = trial.sizes
    with (
        trial.ready_agent(FEW) as few,
        trial.ready_agent(sizes.many_stacks, instance="bench-many") as many,
    ):
        contestants = [(few, SaveSamples.begin()), (many, SaveSamples.begin())]
        for number in trial.progress.rounds(sizes.rounds + WARM_UP_ROUNDS):
            for site, saves in contestants if number % 2 else contestants[::-1]:
                # The same ten stacks in both, so that nothing else differs.
                edition = Edition(name_stacks(FEW)[number % FEW], number + 1)
                timing = measure_save(site, edition)
                if number >= WARM_UP_ROUNDS:
                    saves.add(timing)
                time.sleep(REST_SECONDS)
        faster, slower = sorted(saves.whole.median for _, saves in contestants)
        return Figure(
            work=f"one save among {FEW} and among {sizes.many_stacks:,} stacks",
            rounds=f"{sizes.rounds} rounds",
            measured="; ".join(f"among {_size(site)}: {saves.whole}" for site, saves in contestants),
            rivals=(),
            checks=(Check("the slower / the faster", slower / faster, 1.3, TIMES),),
            details=tuple(
                f"among {_size(site)}: {detail}"
                for site, saves in contestants
                for detail in saves.describe(site.agent.read_reconcile_milliseconds(sizes.rounds))
            ),
        )


def _size(site: Site) -> str:
    return f"{len(site.editions):,}"

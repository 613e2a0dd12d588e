"""With everything in place: a restart, contracts touched without change, and doing nothing at all."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from agent_process import AgentProcess, Memory
from api import RequestCounter, count_heartbeats, count_storage_requests
from figures import Check, Figure, Samples, render
from saving import time_milliseconds

if TYPE_CHECKING:
    from trial import Trial

RESTART_SECONDS = 120.0


def measure_restart(trial: Trial) -> Figure:
    """From the start of the process until the agent says that its first pass is over, everything Ready."""
    times, processor, writes, reads = Samples(), Samples(), 0, 0
    with trial.ready_agent(trial.sizes.stacks) as site:
        counter = RequestCounter(site.cluster.server)
        try:
            # The next ones use the same state, once this one has let go of the workspace.
            site.agent.stop()
            for _ in trial.progress.rounds(trial.sizes.rounds):
                before = counter.wait_until_quiet()
                with AgentProcess(site.checkout, site.agent.environment, site.agent.log) as agent:
                    times.add((agent.wait_until_settled(RESTART_SECONDS) - agent.started_at) * 1000)
                    processor.add(agent.cpu_seconds() * 1000)
                    agent.require_ready(trial.sizes.stacks)
                counts = counter.read() - before
                writes += count_storage_requests(counts, only_writes=True)
                reads += count_storage_requests(counts) - count_storage_requests(counts, only_writes=True)
        finally:
            counter.close()
    rounds = trial.sizes.rounds
    return Figure(
        work=f"restart with everything in place, {trial.sizes.stacks:,} stacks",
        rounds=f"{rounds} rounds",
        measured=f"{times}, {writes} writes in all rounds",
        rivals=(),
        checks=(Check("p50", times.median / 1000, 3, "s"), Check("writes", writes, 0, "")),
        details=(
            f"the agent used {processor} of processor time in it",
            f"{reads / rounds:.1f} reads of volumes, claims and classes for each restart, by the API server's count",
        ),
    )


def measure_touched(trial: Trial) -> Figure:
    """Each contract is written anew with the content that it has: what does the API server see?"""
    requests, heartbeats, processor = 0, 0, Samples()
    with trial.ready_agent(trial.sizes.stacks) as site:
        counter = RequestCounter(site.cluster.server)
        try:
            began = time.perf_counter()
            for _ in trial.progress.rounds(trial.sizes.rounds):
                before = counter.wait_until_quiet()
                cpu_before = site.agent.cpu_seconds()
                site.checkout.touch(site.editions)
                site.agent.wait_until_idle()
                processor.add((site.agent.cpu_seconds() - cpu_before) * 1000)
                counts = counter.read() - before
                requests += count_storage_requests(counts)
                heartbeats += count_heartbeats(counts)
            seconds = time_milliseconds(began) / 1000
        finally:
            counter.close()
    return Figure(
        work=f"{trial.sizes.stacks:,} contracts touched without change",
        rounds=f"{trial.sizes.rounds} rounds",
        measured=f"{requests} API calls in all rounds; {processor} of processor time a round",
        rivals=(),
        checks=(Check("API calls", requests, 0, ""),),
        details=(f"besides, {heartbeats} heartbeats in {seconds:.0f} s (the UID of kube-system), as without saves",),
    )


def measure_idle(trial: Trial) -> Figure:
    """A thousand stacks, nothing happens: processor and memory over whole windows."""
    shares: list[float] = []
    memories: list[Memory] = []
    with trial.ready_agent(trial.sizes.stacks) as site:
        for _ in trial.progress.rounds(trial.sizes.idle_windows):
            began, cpu_before = time.perf_counter(), site.agent.cpu_seconds()
            time.sleep(trial.sizes.idle_seconds)
            shares.append((site.agent.cpu_seconds() - cpu_before) / (time.perf_counter() - began) * 100)
            memories.append(site.agent.memory())
    share = statistics.median(shares)
    resident = max(memory.resident for memory in memories)
    return Figure(
        work=f"idle with {trial.sizes.stacks:,} stacks, over {trial.sizes.idle_seconds:.0f} s",
        rounds=f"{trial.sizes.idle_windows} windows",
        measured=f"{render(share, '%')} of one core ({render(min(shares), '%')} to {render(max(shares), '%')}), "
        f"{render(resident, 'MB')} resident",
        rivals=(),
        checks=(Check("of one core", share, 0.5, "%"), Check("resident", resident, 120, "MB")),
        details=(f"proportional set size {render(max(memory.proportional for memory in memories), 'MB')}",),
    )

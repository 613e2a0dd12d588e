"""What every measurement is given: the ground, how many rounds, and where to say how far it is."""

from __future__ import annotations

import contextlib
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_process import AgentProcess
from api import RawPool
from observing import Observer
from workload import Checkout, Edition, name_stacks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ground import Cluster, Ground, Volume

SETTLE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int = 20
    cold_rounds: int = 20
    idle_windows: int = 3
    idle_seconds: float = 60.0
    stacks: int = 1000
    many_stacks: int = 5000


class Progress:
    """Says on stderr how far a measurement is, at most each few seconds."""

    def __init__(self, work: str) -> None:
        self._work = work
        self._started = time.monotonic()
        self._said_at = float("-inf")

    def say(self, what: str) -> None:
        """Say one line."""
        self._said_at = time.monotonic()
        print(f"bench: {self._work}: {what}", file=sys.stderr, flush=True)

    def rounds(self, count: int) -> Iterator[int]:
        """Give the numbers of the rounds, with an estimate of what is left."""
        self._started = time.monotonic()
        for number in range(count):
            now = time.monotonic()
            if now - self._said_at >= 5:
                left = f", about {(now - self._started) / number * (count - number):.0f} s left" if number else ""
                self.say(f"round {number + 1} of {count}{left}")
            yield number


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement's means."""

    ground: Ground
    sizes: Sizes
    progress: Progress

    @contextlib.contextmanager
    def ready_agent(self, stacks: int, *, instance: str = "bench", access: str = "auto") -> Iterator[Site]:
        """Give an agent on a cluster of its own with so many stacks, all Ready, and everyone quiet."""
        ground = self.ground
        with (
            ground.cluster(instance) as cluster,
            ground.volume() as volume,
            ground.checkout() as checkout,
            ground.private_folder() as home,
        ):
            editions = [Edition(stack) for stack in name_stacks(stacks)]
            checkout.write(editions)
            self.progress.say(f"putting {stacks:,} stacks in place")
            environment = ground.environment(cluster, volume, home, access=access)
            with ExitStack() as stack:
                with Observer(cluster.server) as observer:
                    observer.expect(name for edition in editions for name in edition.object_names)
                    agent = stack.enter_context(AgentProcess(checkout, environment, home / "agent.log"))
                    observer.wait(SETTLE_SECONDS)
                make_available(cluster, editions)
                agent.wait_until_settled(SETTLE_SECONDS)
                agent.require_ready(stacks, SETTLE_SECONDS)
                agent.wait_until_idle()
                # Anew: a server ends the watch of who is slow to read what the above brings.
                observer = stack.enter_context(Observer(cluster.server))
                yield Site(cluster, volume, checkout, editions, observer, agent, home)


def make_available(cluster: Cluster, editions: list[Edition]) -> None:
    """Do what the controller manager does with new PersistentVolumes, which takes it 50 s for a thousand of them."""
    with RawPool(cluster.server) as pool:
        pool.patch([edition.availability for edition in editions])


@dataclass(frozen=True, slots=True)
class Site:
    """Where an agent has everything in place, and an observer sees what comes."""

    cluster: Cluster
    volume: Volume
    checkout: Checkout
    editions: list[Edition]
    observer: Observer
    agent: AgentProcess
    home: Path

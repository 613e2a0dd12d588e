"""Save → StorageClass, PersistentVolume and directory there; directly and through the helper container."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api import RawPool
from figures import TIMES, Check, Figure, Samples, render_rivals
from rivals import Commands, EngineConnection, write_manifests
from saving import REST_SECONDS, SaveSamples, measure_save, time_milliseconds
from workload import Edition, name_stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trial import Site, Trial

STACKS = 10


@dataclass(slots=True)
class _Contest:
    """One agent and its rivals on one cluster. Each turn of a contestant makes objects that nobody made before."""

    site: Site
    pool: RawPool
    commands: Commands
    engine: EngineConnection
    saves: SaveSamples = field(default_factory=SaveSamples.begin)
    raw: Samples = field(default_factory=Samples)
    kubectl: Samples = field(default_factory=Samples)
    script: Samples = field(default_factory=Samples)
    archive: Samples = field(default_factory=Samples)

    def save(self, number: int) -> None:
        edition = Edition(name_stacks(STACKS)[number % STACKS], number)
        self.saves.add(measure_save(self.site, edition))
        time.sleep(REST_SECONDS)

    def apply_raw(self, number: int) -> None:
        patches = Edition("raw", number).patches(self.site.checkout.root)
        self.pool.warm()
        started = time.perf_counter()
        self.pool.patch(patches)
        self.raw.add(time_milliseconds(started))

    def apply_with_kubectl(self, number: int) -> None:
        file = self.site.home / "objects.json"
        write_manifests(file, Edition("kubectl", number).manifests(self.site.checkout.root))
        started = time.perf_counter()
        self.commands.apply_server_side(file)
        self.kubectl.add(time_milliseconds(started))

    def run_script_calls(self, number: int) -> None:
        edition = Edition("script", number)
        manifests = edition.manifests(self.site.checkout.root)
        started = time.perf_counter()
        self.commands.run_script_calls(edition, manifests, self.site.volume.node)
        self.script.add(time_milliseconds(started))

    def put_archive(self, number: int) -> None:
        edition = Edition("archive", number)
        started = time.perf_counter()
        self.engine.put_directory(self.site.volume.node, edition)
        self.archive.add(time_milliseconds(started))

    def forget_samples(self) -> None:
        """Begin anew, after the warm-up."""
        self.saves = SaveSamples.begin()
        self.raw, self.kubectl, self.script, self.archive = Samples(), Samples(), Samples(), Samples()


def measure_direct_save(trial: Trial) -> Figure:
    """One save through the volume's mountpoint, beside all three rivals."""
    with _contest(trial, "direct") as contest:
        turns = (contest.save, contest.apply_raw, contest.apply_with_kubectl, contest.run_script_calls)
        _take_turns(trial, contest, turns)
        p50 = contest.saves.whole.median
        return Figure(
            work="save → StorageClass, PV and directory there; direct",
            rounds=f"{trial.sizes.rounds} rounds",
            measured=f"{contest.saves.whole}",
            rivals=render_rivals(
                (
                    ("(a)", contest.raw),
                    ("(b)", contest.kubectl),
                    ("(c)", contest.script),
                )
            ),
            checks=(
                Check("p50", p50, 25, "ms"),
                Check("agent / (a)", p50 / contest.raw.median, 3, TIMES),
                Check("(b) / agent", contest.kubectl.median / p50, 6, TIMES, is_floor=True),
                Check("(c) / agent", contest.script.median / p50, 30, TIMES, is_floor=True),
            ),
            details=contest.saves.describe(contest.site.agent.read_reconcile_milliseconds(trial.sizes.rounds)),
        )


def measure_helper_save(trial: Trial) -> Figure:
    """One save through the helper container, beside the bare limit, kubectl, and the engine's one call."""
    with _contest(trial, "helper-container") as contest:
        _take_turns(trial, contest, (contest.save, contest.apply_raw, contest.apply_with_kubectl, contest.put_archive))
        p50 = contest.saves.whole.median
        return Figure(
            work="the same through the helper container",
            rounds=f"{trial.sizes.rounds} rounds",
            measured=f"{contest.saves.whole}",
            rivals=render_rivals(
                (("(a)", contest.raw), ("(b)", contest.kubectl), ("one bare `PUT archive`", contest.archive))
            ),
            checks=(Check("p50", p50, 120, "ms"),),
            details=contest.saves.describe(contest.site.agent.read_reconcile_milliseconds(trial.sizes.rounds)),
        )


def _take_turns(trial: Trial, contest: _Contest, turns: tuple[Callable[[int], None], ...]) -> None:
    """Let each contestant have its turn in each round, each time another one first; the first two rounds warm up."""
    for number in (1, 2):
        for turn in turns:
            turn(number)
    contest.forget_samples()
    for number in trial.progress.rounds(trial.sizes.rounds):
        first = number % len(turns)
        for turn in turns[first:] + turns[:first]:
            turn(number + 3)


@contextmanager
def _contest(trial: Trial, access: str) -> Iterator[_Contest]:
    with (
        trial.ready_agent(STACKS, access=access) as site,
        RawPool(site.cluster.server) as pool,
        closing(EngineConnection(trial.ground.docker_host)) as engine,
    ):
        yield _Contest(site, pool, trial.ground.commands(site.cluster), engine)

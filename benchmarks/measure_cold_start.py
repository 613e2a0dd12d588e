"""Cold start: a thousand contracts, an empty volume, an empty cluster, no agent yet."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from agent_process import AgentProcess
from api import RawPool
from figures import TIMES, Check, Figure, Samples, render_rivals
from observing import Observer
from rivals import Commands, write_manifests
from saving import time_milliseconds
from workload import Checkout, Edition, Patch, is_directory_right, name_stacks

if TYPE_CHECKING:
    from pathlib import Path

    from ground import Cluster, Volume
    from trial import Trial

COLD_SECONDS = 300.0
# A cluster that has just come up still makes its own roles and namespaces.
REST_SECONDS = 2.0


def measure_cold_start(trial: Trial) -> Figure:
    """From the start of the agent's process to all objects seen, beside the bare limit and kubectl."""
    ground, count = trial.ground, trial.sizes.stacks
    agent, raw, kubectl, processor = Samples(), Samples(), Samples(), Samples()
    with ExitStack() as stack:
        cluster = stack.enter_context(ground.cluster())
        volume = stack.enter_context(ground.volume())
        checkout = stack.enter_context(ground.checkout())
        scratch = stack.enter_context(ground.private_folder())
        commands = ground.commands(cluster)
        editions = [Edition(name) for name in name_stacks(count)]
        checkout.write(editions)
        manifests = [one for edition in editions for one in edition.manifests(checkout.root)]
        write_manifests(scratch / "objects.json", manifests)
        patches = [one for edition in editions for one in edition.patches(checkout.root)]

        def start_agent() -> None:
            with ground.private_folder() as home:
                environment = ground.environment(cluster, volume, home)
                milliseconds, cpu_milliseconds = _start_cold(cluster, volume, checkout, editions, environment, home)
                agent.add(milliseconds)
                processor.add(cpu_milliseconds)

        turns = (
            start_agent,
            lambda: raw.add(_apply_raw(cluster, patches)),
            lambda: kubectl.add(_apply_with_kubectl(commands, scratch / "objects.json")),
        )
        for number in trial.progress.rounds(trial.sizes.cold_rounds):
            for turn in (turns[(number + offset) % len(turns)] for offset in range(len(turns))):
                cluster.wipe()
                volume.empty()
                time.sleep(REST_SECONDS)
                turn()
    return Figure(
        work=f"cold start, {count:,} stacks with one StorageClass and one PV each, empty cluster",
        rounds=f"{trial.sizes.cold_rounds} rounds",
        measured=f"{agent}",
        rivals=render_rivals((("(a)", raw), ("(b)", kubectl))),
        checks=(
            Check("agent / (a)", agent.median / raw.median, 1.5, TIMES),
            Check("(b) / agent", kubectl.median / agent.median, 1.5, TIMES, is_floor=True),
        ),
        details=(
            f"the agent used {processor} of processor time in it, its start and the directories included",
            "the API server, etcd and the controller manager share the machine's processors with the contestants",
        ),
    )


def _start_cold(
    cluster: Cluster,
    volume: Volume,
    checkout: Checkout,
    editions: list[Edition],
    environment: dict[str, str],
    home: Path,
) -> tuple[float, float]:
    """Return the milliseconds until everything was seen, and those of processor time that the agent used for it."""
    with Observer(cluster.server) as observer:
        observer.expect(name for edition in editions for name in edition.object_names)
        with AgentProcess(checkout, environment, home / "agent.log") as agent:
            seen_at = observer.wait(COLD_SECONDS)
            cpu_seconds = agent.cpu_seconds()
            # Each directory is made before its PersistentVolume: nothing is left to wait for.
            wrong = [one.path for one in editions if not is_directory_right(volume.place_of(one))]
            if wrong:
                raise RuntimeError(f"{len(wrong)} directories are not as declared, such as {wrong[0]}")
            return (max(seen_at.values()) - agent.started_at) * 1000, cpu_seconds * 1000


def _apply_raw(cluster: Cluster, patches: list[Patch]) -> float:
    with RawPool(cluster.server) as pool:
        pool.warm()
        started = time.perf_counter()
        pool.patch(patches)
        return time_milliseconds(started)


def _apply_with_kubectl(commands: Commands, file: Path) -> float:
    # What kubectl remembers of a cluster outlives the cluster: let it learn the new one first.
    json.loads(commands.run(commands.kubectl, "get", "persistentvolumes,storageclasses", "--output", "json"))
    started = time.perf_counter()
    commands.apply_server_side(file)
    return time_milliseconds(started)

"""The cluster is made again behind the agent's back: how long after its API server is ready is everything back?"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from figures import Check, Figure, Samples, render_milliseconds, render_rivals
from observing import Observer
from trial import make_available

if TYPE_CHECKING:
    from api import ApiServer
    from ground import Cluster
    from trial import Site, Trial

STACKS = 100
BACK_SECONDS = 90.0
READY_SECONDS = 120.0
LOOK_SECONDS = 0.01
# What is asked for is two objects a stack; nobody is faster than the bare limit with them.
LIMIT_SECONDS = 2.0


def measure_recreated(trial: Trial) -> Figure:
    """From the first `ok` of `/readyz` to the last object seen, while the agent notices everything by itself."""
    back, away = Samples(), Samples()
    with trial.ready_agent(STACKS) as site:
        for _ in trial.progress.rounds(trial.sizes.cold_rounds):
            down_milliseconds, back_milliseconds = _recreate(site)
            away.add(down_milliseconds)
            back.add(back_milliseconds)
            make_available(site.cluster, site.editions)
            site.agent.require_ready(STACKS, BACK_SECONDS)
            site.agent.wait_until_idle()
    return Figure(
        work=f"cluster re-created (etcd emptied, same address), {STACKS} stacks with one StorageClass and one PV each",
        rounds=f"{trial.sizes.cold_rounds} rounds",
        measured=f"{back}",
        rivals=render_rivals((("time without an API server", away),)),
        checks=(Check("p50", back.median / 1000, LIMIT_SECONDS, "s"),),
        details=(
            f"the slowest round took {render_milliseconds(max(back.values))}",
            "the clock starts when /readyz first says ok, which is later than the server's first answers",
        ),
    )


def _recreate(site: Site) -> tuple[float, float]:
    """Return the milliseconds without an API server, and those from its readiness until all objects were seen."""
    wiping = threading.Thread(target=site.cluster.wipe)
    wiping.start()
    try:
        down_at = _wait_for_readiness(site.cluster, wanted=False)
        ready_at = _wait_for_readiness(site.cluster, wanted=True)
        with Observer(site.cluster.server, from_the_start=True) as observer:
            observer.expect(name for edition in site.editions for name in edition.object_names)
            seen_at = observer.wait(BACK_SECONDS)
    except TimeoutError as error:
        raise RuntimeError(f"{error}; the agent's log ends with\n{site.agent.read_log_end()}") from error
    finally:
        wiping.join()
    return (ready_at - down_at) * 1000, (max(seen_at.values()) - ready_at) * 1000


def _wait_for_readiness(cluster: Cluster, *, wanted: bool) -> float:
    """Return when the API server was first seen to be ready, or not to be."""
    deadline = time.monotonic() + READY_SECONDS
    while _is_ready(cluster.server) is not wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the API server did not become {'ready' if wanted else 'unready'}")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter()


def _is_ready(server: ApiServer) -> bool:
    connection = server.connect()
    try:
        return connection.get("/readyz") == b"ok"
    except (OSError, RuntimeError):
        return False
    finally:
        connection.close()

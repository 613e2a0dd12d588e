"""Changes of what is in place: somebody edits an object in the cluster, and a checkout replaces every contract."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from api import RawPool
from change_observing import ChangeObserver
from figures import TIMES, Check, Figure, Samples, render_rivals
from saving import time_milliseconds
from workload import Edition, Patch, name_stacks

if TYPE_CHECKING:
    from trial import Site, Trial

STACKS = 20
REPAIR_SECONDS = 30.0
CHECKOUT_SECONDS = 300.0
REST_SECONDS = 0.5
DECLARED, FOREIGN, OTHER = "1Gi", "9Gi", "2Gi"
_VOLUMES = "/api/v1/persistentvolumes"


def measure_drift(trial: Trial) -> Figure:
    """From the moment when a watcher sees a foreign size to the one when it sees the declared size again."""
    repairs, raw = Samples(), Samples()
    with (
        trial.ready_agent(STACKS) as site,
        ChangeObserver(site.cluster.server) as observer,
        RawPool(site.cluster.server) as pool,
    ):
        _make_raw_volume(pool)
        for number in trial.progress.rounds(trial.sizes.rounds):
            # Each time another stack's: who changes one field again and again is left alone.
            volume = site.editions[number % STACKS].persistent_volume
            seen_at = _edit(pool, observer, volume)
            repaired_at = observer.wait({volume: DECLARED}, REPAIR_SECONDS, after=seen_at)[volume]
            repairs.add((repaired_at - seen_at) * 1000)
            raw.add(_repair_raw(pool, observer))
            time.sleep(REST_SECONDS)
    return Figure(
        work=f"a PersistentVolume's size edited in the cluster, put back; {STACKS} stacks",
        rounds=f"{trial.sizes.rounds} rounds",
        measured=f"{repairs} after a watcher sees the edit",
        rivals=render_rivals((("(a) one raw apply, by who watches already", raw),)),
        checks=(Check("p50", repairs.median, 60, "ms"),),
        details=("both moments are the same watcher's: on a busy machine it reads edit and repair at one stroke",),
    )


def _edit(pool: RawPool, observer: ChangeObserver, volume: str) -> float:
    """Change the size as a person does; return when the watcher saw it."""
    observer.forget()
    body = b'{"spec":{"capacity":{"storage":"%s"}}}' % FOREIGN.encode()
    pool.patch([Patch(f"{_VOLUMES}/{volume}?fieldManager=somebody", body, "application/merge-patch+json")])
    return observer.wait({volume: FOREIGN}, REPAIR_SECONDS)[volume]


_RAW_VOLUME = "raw-drift"


def _raw_apply(size: str) -> Patch:
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "raw",
        "hostPath": {"path": "/mnt/pv/raw"},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": _RAW_VOLUME}, "spec": spec}
    return Patch(f"{_VOLUMES}/{_RAW_VOLUME}?fieldManager=raw&force=true", json.dumps(body).encode())


def _make_raw_volume(pool: RawPool) -> None:
    pool.patch([_raw_apply(DECLARED)])


def _repair_raw(pool: RawPool, observer: ChangeObserver) -> float:
    """Return how long it takes whoever sees the edit and sends the apply at once."""
    pool.warm()
    seen_at = _edit(pool, observer, _RAW_VOLUME)
    pool.patch([_raw_apply(DECLARED)])
    repaired_at = observer.wait({_RAW_VOLUME: DECLARED}, REPAIR_SECONDS, after=seen_at)[_RAW_VOLUME]
    return (repaired_at - seen_at) * 1000


def measure_checkout(trial: Trial) -> Figure:
    """`git checkout` of a branch in which every contract has another size, in turns with raw HTTP on other volumes."""
    count = trial.sizes.stacks
    whole, writing, raw = Samples(), Samples(), Samples()
    with (
        trial.ready_agent(count) as site,
        ChangeObserver(site.cluster.server) as observer,
        RawPool(site.cluster.server) as pool,
    ):
        _make_branches(site)
        rivals = [Edition(f"raw-{stack}") for stack in name_stacks(count)]
        pool.patch([patch for rival in rivals for patch in rival.patches(site.checkout.root)])
        made_anew = 0
        for number in trial.progress.rounds(trial.sizes.cold_rounds):
            size = (OTHER, DECLARED)[number % 2]
            _rest(site)
            before = dict(observer.counts)
            milliseconds, written = _check_out(site, observer, size)
            whole.add(milliseconds)
            writing.add(written)
            _rest(site)
            made_anew += sum(observer.counts[kind] - before[kind] for kind in ("ADDED", "DELETED"))
            raw.add(_apply_raw(site, pool, rivals, size))
        site.agent.require_ready(count, CHECKOUT_SECONDS)
    return Figure(
        work=f"{count:,} contracts replaced by a `git checkout`, each with another size",
        rounds=f"{trial.sizes.cold_rounds} rounds",
        measured=f"{whole} from the start of the checkout until a watcher has seen every size; "
        f"{made_anew} objects removed or made",
        rivals=render_rivals((("(a) the same changes", raw), ("`git checkout` alone", writing))),
        checks=(
            Check("agent / (a)", whole.median / raw.median, 1.5, TIMES),
            Check("objects removed or made", made_anew, 0, ""),
        ),
        details=("the files come one by one, and the agent begins with the first",),
    )


def _rest(site: Site) -> None:
    """Wait until the agent has written its records and looked at what came after."""
    site.agent.wait_until_idle()


def _make_branches(site: Site) -> None:
    """Make a repository of the workspace: one branch with the contracts as they are, one with another size in each."""
    _git(site, "init", "--quiet", "--initial-branch", DECLARED)
    for branch in (DECLARED, OTHER):
        if branch == OTHER:
            _git(site, "checkout", "--quiet", "-b", OTHER)
            site.checkout.write([replace(edition, size=OTHER) for edition in site.editions])
        _git(site, "add", "software")
        _git(site, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", branch)
    _git(site, "checkout", "--quiet", DECLARED)


def _check_out(site: Site, observer: ChangeObserver, size: str) -> tuple[float, float]:
    """Return the milliseconds until all was seen, and those that git itself took."""
    observer.forget()
    began = time.perf_counter()
    _git(site, "checkout", "--quiet", size)
    written = time_milliseconds(began)
    wanted = {edition.persistent_volume: size for edition in site.editions}
    try:
        seen_at = observer.wait(wanted, CHECKOUT_SECONDS)
    except RuntimeError as error:
        raise RuntimeError(f"{error}; the agent's log ends with\n{site.agent.read_log_end()}") from error
    return (max(seen_at.values()) - began) * 1000, written


def _apply_raw(site: Site, pool: RawPool, rivals: list[Edition], size: str) -> float:
    """Return how long the same changes of as many other volumes take, until the answers are in."""
    editions = [replace(rival, size=size) for rival in rivals]
    volumes = [edition.patches(site.checkout.root)[-1] for edition in editions]
    pool.warm()
    started = time.perf_counter()
    pool.patch(volumes)
    return time_milliseconds(started)


def _git(site: Site, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(site.checkout.root), *arguments], check=True, capture_output=True)

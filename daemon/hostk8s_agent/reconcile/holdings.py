"""The memory of who held each PersistentVolume, in which cluster, so that a volume made anew finds its claim again."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.errors import ClusterError, Problem
from hostk8s_agent.plan.reserving import Holding, explain_reservation, is_reserved, may_reserve

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.plan.desired import DesiredState, ObjectKey
    from hostk8s_agent.plan.observed import ObservedClaim, ObservedObject, ObservedState

FACT_PREFIX = "holder/"
"""In the records each volume has a fact of its own: the newest holding first, at most one of each cluster."""

# A workspace has one cluster, and now and then another; whoever tries many is not followed for ever.
_CLUSTERS = 4


class Holdings:
    """Thread-safe. `facts` are the records', `on_fact` gets each one that changed."""

    def __init__(self, facts: Mapping[str, str], on_fact: Callable[[str, str], None]) -> None:
        self._on_fact = on_fact
        self._lock = threading.Lock()
        self._holdings: dict[str, tuple[Holding, ...]] = {}
        # A claim holds one volume; which it was last is what counts.
        self._volumes: dict[tuple[str, str], str] = {}
        for name, value in facts.items():
            if name.startswith(FACT_PREFIX) and (known := _parse_holdings(value)):
                self._store(name.removeprefix(FACT_PREFIX), known)

    def record(self, objects: Mapping[ObjectKey, ObservedObject], cluster: ClusterAccess) -> None:
        """Take in who holds the volumes now.

        A claim that is gone is remembered, because its data is still there. A volume that is Available again and
        names no claim was set free by somebody: nobody holds it any more.
        """
        uid = cluster.cluster_uid
        for key, found in objects.items():
            if key.kind != "PersistentVolume" or found.is_in_file or not uid:
                continue
            known = self._find(key.name, uid)
            if found.claim and (found.phase == "Bound" or is_reserved(found)):
                if known is None or not known.requested or not _is_of(known, found):
                    self._remember(key.name, self._describe(key.name, found, cluster), known)
            elif not found.claim and found.phase == "Available" and known is not None:
                self._forget(key.name, uid)

    def find_reservations(
        self, desired: DesiredState, observed: ObservedState, find_cluster: Callable[[], ClusterAccess]
    ) -> Mapping[str, str]:
        """Return for which claim each volume that does not exist is to be reserved, by the volume's name."""
        found: dict[str, str] = {}
        if isinstance(observed.objects, Problem):
            return found
        for wanted in desired.objects:
            if wanted.key.kind != "PersistentVolume" or wanted.key in observed.objects:
                continue
            try:
                cluster = find_cluster()
                holding = self._find_last(wanted.key.name, cluster.cluster_uid)
                claim = _find_claim(holding.claim, cluster) if holding is not None else None
            except ClusterError:
                continue  # then nothing is applied either
            if holding is not None and may_reserve(holding, wanted.manifest, claim):
                found[wanted.key.name] = holding.claim
        return found

    def _describe(self, volume: str, found: ObservedObject, cluster: ClusterAccess) -> Holding:
        path, storage_class = _read_spec(found)
        holding = Holding(found.claim, cluster.cluster_uid, path, storage_class)
        try:
            claim = _find_claim(found.claim, cluster)
        except ClusterError:
            claim = None
        if claim is not None:
            return replace(holding, access_modes=claim.access_modes, requested=claim.requested)
        with self._lock:
            before = next((one for one in self._holdings.get(volume, ()) if one.claim == found.claim), holding)
        return replace(holding, access_modes=before.access_modes, requested=before.requested)

    def _find(self, volume: str, cluster: str) -> Holding | None:
        with self._lock:
            return next((one for one in self._holdings.get(volume, ()) if one.cluster == cluster), None)

    def _find_last(self, volume: str, cluster: str) -> Holding | None:
        """Return the holding in this cluster, else the newest of any: a re-created cluster has another UID."""
        with self._lock:
            known = self._holdings.get(volume, ())
        return next((one for one in known if one.cluster == cluster), known[0] if known else None)

    def _remember(self, volume: str, holding: Holding, known: Holding | None) -> None:
        if holding == known:
            return
        with self._lock:
            former = self._volumes.get((holding.cluster, holding.claim), volume)
        if former != volume:
            self._forget(former, holding.cluster)
        with self._lock:
            others = [one for one in self._holdings.get(volume, ()) if one.cluster != holding.cluster]
            self._replace(volume, (holding, *others)[:_CLUSTERS])

    def _forget(self, volume: str, cluster: str) -> None:
        with self._lock:
            self._replace(volume, tuple(one for one in self._holdings.get(volume, ()) if one.cluster != cluster))

    def _replace(self, volume: str, holdings: tuple[Holding, ...]) -> None:
        for one in self._holdings.pop(volume, ()):
            self._volumes.pop((one.cluster, one.claim), None)
        self._store(volume, holdings)
        self._on_fact(FACT_PREFIX + volume, json.dumps([asdict(one) for one in holdings]))

    def _store(self, volume: str, holdings: tuple[Holding, ...]) -> None:
        if holdings:
            self._holdings[volume] = holdings
        for one in holdings:
            self._volumes[one.cluster, one.claim] = volume


def explain_reservations(observed: ObservedState, find_cluster: Callable[[], ClusterAccess]) -> tuple[Problem, ...]:
    """Return what to tell of reserved volumes for which a claim of another name waits. Costs nothing without one."""
    if isinstance(observed.objects, Problem):
        return ()
    told: list[Problem] = []
    for found in observed.objects.values():
        if found.key.kind == "PersistentVolume" and is_reserved(found):
            try:
                claims = find_cluster().observe_claims_of_class(_read_spec(found)[1])
            except ClusterError:
                continue
            told += filter(None, (explain_reservation(found, claims),))
    return tuple(told)


def _is_of(holding: Holding, found: ObservedObject) -> bool:
    return (holding.claim, holding.path, holding.storage_class) == (found.claim, *_read_spec(found))


def _read_spec(found: ObservedObject) -> tuple[str, str]:
    """Return the path and the StorageClass of a volume, empty where the object has none."""
    spec = found.manifest.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    return found.path, str(spec.get("storageClassName") or "")


def _find_claim(full_name: str, cluster: ClusterAccess) -> ObservedClaim | None:
    namespace, _, name = full_name.partition("/")
    return cluster.find_claim(namespace, name)


def _parse_holdings(value: str) -> tuple[Holding, ...]:
    """Return what a fact holds, nothing for one that cannot be read: then nothing is reserved."""
    try:
        return tuple(_parse_holding(one) for one in json.loads(value))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _parse_holding(one: Mapping[str, Any]) -> Holding:
    return Holding(
        claim=str(one["claim"]),
        cluster=str(one["cluster"]),
        path=str(one["path"]),
        storage_class=str(one["storage_class"]),
        access_modes=tuple(map(str, one.get("access_modes", ()))),
        requested=str(one.get("requested", "")),
    )

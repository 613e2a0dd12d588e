"""Who held which volume: remembered across clusters and restarts, and forgotten when somebody sets it free."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from hostk8s_agent.cluster.access import ClusterAccess
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.errors import ClusterError
from hostk8s_agent.plan.desired import DesiredState, ObjectKey
from hostk8s_agent.plan.objects import render_desired_state
from hostk8s_agent.plan.observed import ObservedClaim, ObservedObject, ObservedState
from hostk8s_agent.reconcile.holdings import Holdings, explain_reservations

CONTRACT = b"""\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: app
spec:
  directories:
    - {name: one, path: /mnt/pv/app/one, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: app}
    - {name: two, path: /mnt/pv/app/two, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: app}
"""
ONE = ObjectKey("PersistentVolume", "hostk8s-app-one-pv")
TWO = ObjectKey("PersistentVolume", "hostk8s-app-two-pv")


@dataclass
class Claims:
    """A cluster of which only the claims are asked for."""

    cluster_uid: str = "cluster-1"
    claims: dict[tuple[str, str], ObservedClaim] = field(default_factory=dict)
    is_away: bool = False

    def find_claim(self, namespace: str, name: str) -> ObservedClaim | None:
        if self.is_away:
            raise ClusterError("away")
        return self.claims.get((namespace, name))

    def observe_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        if self.is_away:
            raise ClusterError("away")
        return tuple(one for one in self.claims.values() if one.storage_class == storage_class)

    def add(self, name: str, volume: str = "") -> None:
        """Make a claim in the namespace `ns`."""
        claim = ObservedClaim("ns", name, "Bound" if volume else "Pending", volume, "app", ("ReadWriteOnce",), "1Gi")
        self.claims["ns", name] = claim


class Memory:
    """Holdings with their records."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.holdings = Holdings(self.facts, self.facts.__setitem__)
        self.claims = Claims()
        contract = parse_contract(CONTRACT, file="x", stack="app")
        self.desired: DesiredState = render_desired_state(contract, "/work")

    @property
    def cluster(self) -> ClusterAccess:
        """The cluster, as the holdings see it."""
        return cast("ClusterAccess", self.claims)

    def see(self, key: ObjectKey, phase: str, claim: str = "", uid: str = "") -> None:
        """Observe one volume."""
        manifest = next(one.manifest for one in self.desired.objects if one.key == key)
        found = ObservedObject(key, manifest, "u", "1", (), phase, claim, uid)
        self.holdings.record({key: found}, self.cluster)

    def bind(self, key: ObjectKey, name: str) -> None:
        """Observe a volume that a claim has."""
        self.claims.add(name, key.name)
        self.see(key, "Bound", f"ns/{name}", "c-uid")

    def recreate(self, uid: str) -> None:
        """Another cluster, without anything in it."""
        self.claims.cluster_uid = uid
        self.claims.claims.clear()

    def reservations(self) -> dict[str, str]:
        """For whom the volumes would be reserved if none existed."""
        return self.reservations_beside()

    def reservations_beside(self, *existing: ObservedObject) -> dict[str, str]:
        """The same while some of them exist."""
        state = ObservedState({}, {one.key: one for one in existing})
        return dict(self.holdings.find_reservations(self.desired, state, lambda: self.cluster))


@pytest.fixture
def memory() -> Memory:
    """A memory of nothing."""
    return Memory()


def test_each_volume_goes_back_to_its_claim_in_a_new_cluster(memory: Memory) -> None:
    """Two claims of one class must not change places: each has its own data."""
    memory.bind(ONE, "a")
    memory.bind(TWO, "b")
    assert memory.reservations() == {}, "the claims still have their volumes"
    memory.recreate("cluster-2")

    assert memory.reservations() == {ONE.name: "ns/a", TWO.name: "ns/b"}
    assert memory.reservations_beside(ObservedObject(ONE, {}, "u", "1")) == {TWO.name: "ns/b"}
    unseen = ObservedState({}, ClusterError("away").problem)
    assert memory.holdings.find_reservations(memory.desired, unseen, lambda: memory.cluster) == {}
    memory.claims.is_away = True
    assert memory.reservations() == {}


def test_the_memory_survives_a_restart_and_damage(memory: Memory) -> None:
    """It is in the records; what cannot be read there reserves nothing."""
    memory.bind(ONE, "a")
    memory.bind(TWO, "b")
    memory.facts[f"holder/{TWO.name}"] = '[{"claim": 7'
    memory.facts["docker.engine_id"] = "E"
    memory.recreate("cluster-2")
    memory.holdings = Holdings(memory.facts, memory.facts.__setitem__)

    assert memory.reservations() == {ONE.name: "ns/a"}


def test_a_claim_that_was_deleted_is_remembered_and_one_that_was_let_go_is_not(memory: Memory) -> None:
    """Released: its data is still there. Available without a claim: somebody set the volume free."""
    memory.bind(ONE, "a")
    memory.claims.claims.clear()
    memory.see(ONE, "Released", "ns/a", "c-uid")
    assert memory.reservations() == {ONE.name: "ns/a"}

    memory.see(ONE, "Available")
    assert memory.reservations() == {}


def test_a_volume_that_another_program_made_in_a_new_cluster_keeps_its_memory(memory: Memory) -> None:
    """Only who freed it in this very cluster meant it; a volume that was just made has no claim yet."""
    memory.bind(ONE, "a")
    memory.recreate("cluster-2")
    memory.see(ONE, "Available")
    assert memory.reservations() == {ONE.name: "ns/a"}

    memory.bind(ONE, "b")
    memory.claims.claims.clear()
    assert memory.reservations() == {ONE.name: "ns/b"}
    memory.recreate("cluster-1")
    assert memory.reservations() == {ONE.name: "ns/a"}


def test_a_claim_counts_for_the_volume_that_it_held_last(memory: Memory) -> None:
    """One claim cannot have two volumes: the older memory gives way."""
    memory.bind(ONE, "a")
    memory.see(ONE, "Released", "ns/a", "c-uid")
    memory.bind(TWO, "a")
    memory.see(ONE, "Released", "ns/a", "c-uid")
    memory.recreate("cluster-2")

    assert memory.reservations() == {TWO.name: "ns/a"}


def test_a_reservation_that_was_changed_is_followed(memory: Memory) -> None:
    """Whoever gives a reserved volume to another claim means it for the next cluster too."""
    memory.bind(ONE, "a")
    memory.recreate("cluster-2")
    memory.see(ONE, "Available", "ns/a")
    memory.see(ONE, "Available", "ns/b")
    memory.recreate("cluster-3")

    assert memory.reservations() == {ONE.name: "ns/b"}


def test_what_stands_in_files_or_comes_before_a_cluster_is_not_remembered(memory: Memory) -> None:
    """Without a cluster nobody holds anything."""
    memory.claims.cluster_uid = ""
    memory.bind(ONE, "a")
    assert memory.facts == {}


def test_waiting_claims_are_told_for_reserved_volumes_alone(memory: Memory) -> None:
    """And a cluster that is away tells nothing."""
    manifest = next(one.manifest for one in memory.desired.objects if one.key == ONE)
    reserved = ObservedObject(ONE, manifest, "u", "1", (), "Available", "ns/a")
    memory.claims.add("other")

    def explain(found: ObservedObject) -> list[str]:
        state = ObservedState({}, {found.key: found})
        return [one.code for one in explain_reservations(state, lambda: memory.cluster)]

    assert explain(reserved) == ["VolumeReserved"]
    assert explain(replace(reserved, claim_uid="c")) == []
    memory.claims.is_away = True
    assert explain(reserved) == []
    away = ObservedState({}, ClusterError("away").problem)
    assert explain_reservations(away, lambda: memory.cluster) == ()

"""Who uses a stack's directories: what a kubelet has not told yet is never taken for nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.plan.observed import ObservedClaim, ObservedContainer, ObservedPod
from hostk8s_agent.snapshot.users import RestError, find_users, require_started

CONTRACT = b"""\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata: {name: web}
spec:
  directories:
    - {name: one, path: /mnt/pv/one, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: web}
"""
DIRECTORIES = parse_contract(CONTRACT, file="hostk8s.storage.yaml", stack="web").directories


@dataclass(frozen=True)
class FakeCluster:
    """A cluster with one claim on the directory and the pods that it is given."""

    pods: tuple[ObservedPod, ...]

    def observe_claims(self, _keys: object) -> tuple[ObservedClaim, ...]:
        return (ObservedClaim("shop", "claim", "Bound", "hostk8s-web-one-pv", "web"),)

    def observe_pods(self) -> tuple[ObservedPod, ...]:
        return self.pods


def pod(container: ObservedContainer, *, node: str = "node", phase: str = "Running") -> ObservedPod:
    return ObservedPod("shop", "db", "uid", node, phase, ("claim",), (container,))


def users_of(one: ObservedPod) -> Any:
    return find_users(cast("Any", FakeCluster((one,))), "web", DIRECTORIES)


def test_a_container_that_runs_and_mounts_the_claim_is_a_user() -> None:
    container = ObservedContainer("db", "containerd://1", is_running=True, claims=("claim",))
    [use] = users_of(pod(container))
    assert (use.name, use.containers, use.is_starting) == ("shop/db", (container,), False)
    require_started([use])


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_container_that_may_run_by_now_is_no_proof_that_nobody_writes(phase: str) -> None:
    """The kubelet tells a start up to seconds later: such a stack is never told as unused."""
    [use] = users_of(pod(ObservedContainer("db", "", is_running=False, claims=("claim",)), phase=phase))
    assert use.is_starting
    with pytest.raises(RestError, match="shop/db is starting"):
        require_started([use])


def test_a_container_that_mounts_the_directory_itself_is_a_user() -> None:
    """In whatever namespace: a `hostPath` volume needs no claim. A claim of the same name elsewhere is another one."""
    container = ObservedContainer(
        "db", "containerd://1", is_running=True, claims=("claim",), host_paths=("/mnt/pv/one/",)
    )
    elsewhere = replace(pod(container), namespace="elsewhere")
    assert [use.name for use in users_of(elsewhere)] == ["elsewhere/db"]
    other = replace(container, host_paths=("/mnt/pv/other",))
    assert users_of(replace(elsewhere, containers=(other,))) == ()


def test_what_cannot_write_is_no_user() -> None:
    """A pod that nobody has scheduled, one that is over, a container that has ended or mounts something else."""
    waiting = ObservedContainer("db", "", is_running=False, claims=("claim",))
    ended = ObservedContainer("db", "containerd://1", is_running=False, claims=("claim",), is_over=True)
    other = ObservedContainer("db", "containerd://1", is_running=True, claims=())
    for one in (pod(waiting, node="", phase="Pending"), pod(waiting, phase="Succeeded"), pod(ended), pod(other)):
        assert users_of(one) == ()

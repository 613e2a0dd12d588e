"""Why a claim is Pending, from what a real API server has: every reason that its volume controller goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.cluster.asking_once import open_once
from hostk8s_agent.cluster.binding import ClaimFinding, ClaimGround, judge_claim
from hostk8s_agent.cluster.claim_ground import load_claim_ground
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource, load_kubeconfig

pytestmark = pytest.mark.cluster


@pytest.fixture
def claims(person: Any, kubeconfig: Path) -> dict[str, ClaimFinding]:
    """One volume, held back from all but `theirs`, two classes, and claims that each fail in one way; judged."""
    prefix = person.prefix
    late = {**person.storage_class(), "volumeBindingMode": "WaitForFirstConsumer"}
    late["metadata"] = {"name": f"{prefix}-late"}
    foreign = {**person.storage_class(), "provisioner": "example.com/cloud"}
    foreign["metadata"] = {"name": f"{prefix}-foreign"}
    reserved = {"namespace": "default", "name": f"{prefix}-theirs"}
    volume = person.volume("one", claimRef=reserved, storageClassName=f"{prefix}-none")

    def claim(name: str, **spec: Any) -> dict[str, Any]:
        made = person.claim(name, "")
        made["spec"] = {**made["spec"], "storageClassName": f"{prefix}-none", **spec}
        del made["spec"]["volumeName"]
        return {**made, "spec": {**made["spec"], **spec}}

    person.apply(
        late,
        foreign,
        volume,
        claim(
            "all",
            accessModes=["ReadWriteMany"],
            resources={"requests": {"storage": "2Gi"}},
            selector={"matchLabels": {"tier": "db"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]},
        ),
        claim("named", volumeName=f"{prefix}-nowhere"),
        claim("late", storageClassName=f"{prefix}-late"),
        claim("foreign", storageClassName=f"{prefix}-foreign"),
        claim("odd", storageClassName=f"{prefix}-missing"),
    )
    source = KubeconfigSource((kubeconfig,), "settings")
    with open_once(load_kubeconfig(source)) as client:
        return {
            name: judge_claim(load_claim_ground(client, f"default/{prefix}-{name}"))
            for name in ("all", "named", "late", "foreign", "odd", "gone")
        }


def test_each_reason_is_told_in_words(claims: dict[str, ClaimFinding], person: Any) -> None:
    """What does not fit of the volume that comes nearest, who has it, and what the class says."""
    prefix = person.prefix
    every = "\n".join(claims["all"].because)
    assert claims["all"].state == "Pending"
    for words in (
        f"the volume {prefix}-one does not fit",
        f"its class {prefix}-none does not exist",
        f"reserved for default/{prefix}-theirs",
        "it has 1Gi, 2Gi are asked",
        "its access modes are ReadWriteOnce, ReadWriteMany is asked",
        "selector asks for the label tier=db, it has none",
        "selector asks for x Exists",
    ):
        assert words in every
    assert f"asks for the volume {prefix}-nowhere by name, and there is none" in "\n".join(claims["named"].because)
    late = "\n".join(claims["late"].because)
    assert "WaitForFirstConsumer), and no pod in default uses it" in late
    assert f"no volume of class {prefix}-late exists" in late
    assert "start a pod that uses it" in claims["late"].to_change
    assert "made by example.com/cloud, not by this agent" in claims["foreign"].because[0]
    assert f"its class {prefix}-missing does not exist" in claims["odd"].because
    assert (claims["gone"].state, claims["gone"].to_change) == ("not there", ("make it",))


def test_what_no_server_shows_at_will_is_told_too() -> None:
    """A Released volume, one that fits and is about to be bound, a lost one, one on its way out, no class at all."""

    def judge(spec: dict[str, Any], *volumes: dict[str, Any], **more: Any) -> str:
        claim = {"metadata": more.pop("metadata", {}), "spec": spec, "status": {"phase": more.pop("phase", "Pending")}}
        found = judge_claim(ClaimGround("ns/c", claim, volumes=volumes, **more))
        return "\n".join((found.state, *found.because))

    def volume(phase: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": "v"}, "spec": {"storageClassName": "s", **spec}, "status": {"phase": phase}}

    asked = {"storageClassName": "s"}
    mine = {"namespace": "ns", "name": "c", "uid": "old"}
    assert "it is Released: ns/c, which held it, was deleted" in judge(asked, volume("Released", claimRef=mine))
    assert "held by ns/d" in judge(asked, volume("Bound", claimRef={"namespace": "ns", "name": "d"}))
    assert "the volume v fits it" in judge(asked, volume("Available"))
    assert "Block is asked" in judge({**asked, "volumeMode": "Block"}, volume("Available"))
    assert "gone, or is another one's" in judge(asked, phase="Lost")
    assert "its users: nobody any more" in judge(asked, metadata={"deletionTimestamp": "t"}, phase="Bound")
    assert "names no class" in judge({})
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"]}]}
    bound_to_nodes = volume("Available", nodeAffinity={"required": {"nodeSelectorTerms": [term]}})
    assert "for a pod on a node with kubernetes.io/hostname In elsewhere" in judge(asked, bound_to_nodes)
    # A volume of a class that is gone can be bound all the same; and no contract can give one without a class.
    waiting = {"metadata": {}, "spec": {**asked, "volumeMode": "Block"}, "status": {}}
    found = judge_claim(ClaimGround("ns/c", waiting, volumes=[volume("Available")]))
    assert not any(one.startswith("use one of") for one in found.to_change)
    bare = judge_claim(ClaimGround("ns/c", {"metadata": {}, "spec": {"storageClassName": ""}, "status": {}}))
    assert bare.to_change == ("make it anew with the class of a directory",)
    assert "the cluster says: why" in judge(asked, told=["why", "older"])

"""A reserved PersistentVolume on a real control plane: who gets it, and that our later applies leave it to him."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.plan.observed import ObservedObject
from hostk8s_agent.plan.reserving import is_reserved, keep_claim, reserve_for

pytestmark = pytest.mark.cluster

if TYPE_CHECKING:
    from tests.cluster.conftest import Connected, Person

Wait = Callable[..., None]


def claim_anything(person: Person, name: str) -> dict[str, Any]:
    """A claim that takes any volume of its class."""
    claim = person.claim(name, "")
    del claim["spec"]["volumeName"]
    return claim


def test_a_reserved_volume_goes_to_its_claim_and_stays_with_it(
    connected: Connected, person: Person, wait_until: Wait
) -> None:
    """A claim of another name waits; the right one gets the volume, and a later apply does not take it away."""
    volume = person.volume("a")
    reserved = reserve_for(volume, f"default/{person.prefix}-mine")
    person.apply(person.storage_class(), claim_anything(person, "other"))
    [applied] = connected.apply(dict(reserved))
    assert isinstance(applied, ObservedObject), applied
    assert is_reserved(applied)
    wait_until(lambda: connected.observe(volume).phase == "Available", "the controller has seen it")
    person.apply(claim_anything(person, "mine"))
    wait_until(lambda: connected.observe(volume).phase == "Bound", "it is bound")
    bound = connected.observe(volume)
    assert (bound.claim, bool(bound.claim_uid)) == (f"default/{person.prefix}-mine", True)

    person.kubectl("label", "pv", volume["metadata"]["name"], "app.kubernetes.io/managed-by-")
    wait_until(lambda: "labels" not in connected.observe(volume).manifest["metadata"], "the edit is seen")
    [mended] = connected.apply(dict(keep_claim(volume, connected.observe(volume))))
    assert isinstance(mended, ObservedObject), mended
    assert mended.manifest["metadata"]["labels"] == volume["metadata"]["labels"]
    assert (mended.phase, mended.claim, mended.claim_uid) == ("Bound", bound.claim, bound.claim_uid)
    other = person.get("pvc", f"{person.prefix}-other")
    assert other["status"]["phase"] == "Pending"

"""Pruning and releasing through the real client, server and socket."""

from __future__ import annotations

from typing import Any

import pytest

from hostk8s_agent.control.client import RemoteError


def test_what_would_be_pruned_is_shown_and_confirmed(client: Any, agent: Any) -> None:
    """A look changes nothing; the confirmation is a request of its own."""
    held = {"code": "VolumeInUse", "message": "the claim old/one holds it", "hint": "delete the claim"}
    shown = client.preview_pruning()
    assert shown["objects"] == [
        {
            "stack": "old",
            "subject": "PersistentVolume/hostk8s-old-one-pv",
            "isHeld": True,
            "afterSeconds": 0.0,
            "problem": {**held, "file": None, "line": None, "column": None},
        }
    ]
    assert (shown["problem"]["code"], agent.lifecycle.confirmed) == ("PruneBrake", 0)
    assert (client.confirm_pruning()["problem"], agent.lifecycle.confirmed) == (None, 1)


def test_a_volume_is_released(client: Any, agent: Any) -> None:
    """The agent is asked for just that, and its sentence is the answer."""
    answer = client.release("hostk8s-sample-one-pv", "sample/one")
    assert answer["message"] == "hostk8s-sample-one-pv is reserved for sample/one"
    assert agent.lifecycle.released == [("hostk8s-sample-one-pv", "sample/one")]


@pytest.mark.parametrize("claim", ["", "one", "a/b/c", "A/b", "a/../b", "a/b\n"])
def test_what_is_no_claim_is_refused(client: Any, agent: Any, claim: str) -> None:
    """It never reaches the agent, nor a request to the cluster."""
    with pytest.raises(RemoteError) as raised:
        client.release("hostk8s-sample-one-pv", claim)
    assert (raised.value.code, agent.lifecycle.released) == ("RequestInvalid", [])

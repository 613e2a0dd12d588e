"""The resources of the volume, over the real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.control.client import RemoteError

if TYPE_CHECKING:
    from tests.control.conftest import FakeAgent

    from hostk8s_agent.control.client import ControlClient

PATH = "/mnt/pv/old/data"


def test_an_orphan_goes_into_the_trash_and_back(client: ControlClient) -> None:
    """Each resource gives what the agent says, in camelCase."""
    (orphan,) = client.orphans()["orphans"]
    assert (orphan["path"], orphan["stack"], orphan["sizeBytes"], orphan["keptBecause"]) == (PATH, "old", 1536, "")
    assert client.care_for("purge", path=PATH)["purged"]["path"] == PATH
    assert client.orphans() == {"orphans": []}
    assert [one["id"] for one in client.trash()["trash"]] == ["20250131-080000-abc123"]
    assert client.care_for("purge/undo", path=PATH)["restored"]["path"] == PATH
    answer = client.purge(PATH, 10, without_snapshot=True)
    assert answer["secured"] == {"snapshot": "", "reason": "none was asked for"}
    assert [one["path"] for one in client.care_for("purge/empty")["deleted"]] == [PATH]


@pytest.mark.parametrize(
    ("what", "fields", "code"),
    [
        ("purge", {"path": "/mnt/pv/other"}, "NotAnOrphan"),
        ("purge/undo", {"path": PATH}, "NotInTrash"),
        ("purge", {}, "RequestInvalid"),
        ("purge", {"path": ""}, "RequestInvalid"),
        ("purge", {"path": PATH, "force": "yes"}, "RequestInvalid"),
        ("purge", {"path": PATH, "withoutSnapshot": "yes"}, "RequestInvalid"),
    ],
)
def test_what_cannot_be_done_is_said(client: ControlClient, what: str, fields: dict[str, str], code: str) -> None:
    """Refusals come with their own code."""
    with pytest.raises(RemoteError) as refused:
        client.care_for(what, **fields)
    assert refused.value.code == code


def test_holders_are_shown_and_taken_over_from(client: ControlClient) -> None:
    """Who holds what, and from whom it was taken; nobody when nobody held it."""
    (holder,) = client.holders()["holders"]
    assert (holder["workspace"], holder["paths"], holder["isSilent"]) == ("/home/ada/hostk8s", ["/mnt/pv/a"], False)
    assert client.care_for("volume/take-over", path="/mnt/pv/held") == {"takenFrom": ["/home/ada/other"]}
    assert client.care_for("volume/take-over", path="/mnt/pv/free") == {"takenFrom": []}


def test_a_loss_is_accepted_once(agent: FakeAgent, client: ControlClient) -> None:
    """True when there was one."""
    agent.care.is_lost = True
    assert client.care_for("volume/accept-loss") == {"accepted": True}
    assert client.care_for("volume/accept-loss") == {"accepted": False}

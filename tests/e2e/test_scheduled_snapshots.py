"""Scheduled snapshots end to end: save a contract, and its snapshots are taken, shown, and expire."""

from __future__ import annotations

import json
from typing import Any

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.workspace import Workspace

SNAPSHOTS = "  snapshots: {schedule: every 1d, keep: {last: 1}}\n"


def ask(site: Any) -> ControlClient:
    """The agent's socket: a command takes a second to start."""
    return ControlClient(Workspace(site.root.resolve()))


def snapshots(site: Any) -> list[dict[str, Any]]:
    """What `snapshot list` has."""
    found: list[dict[str, Any]] = ask(site).snapshots(None)["snapshots"]
    return found


def test_a_saved_schedule_is_in_force_at_once_and_what_it_does_not_keep_expires(site: Any) -> None:
    """Without the schedule there is no snapshot; with it the first one comes by itself, read back, and is shown."""
    site.environment["HOSTK8S_AGENT_SNAPSHOT_SCHEDULE"] = "off"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_MIN_FREE_PERCENT"] = "0"
    site.environment["HOSTK8S_AGENT_SNAPSHOT_MIN_BATTERY_PERCENT"] = "0"
    site.start()
    text = site.render("sample")
    site.save("sample", text)
    site.wait_for("sample", "Ready")
    [protection] = site.status()["snapshots"]["directories"]
    assert (protection["isProtected"], protection["nextDueAt"]) == (False, "")

    site.save("sample", text + SNAPSHOTS)

    site._wait_until(lambda: snapshots(site), "the first one is taken")
    site._wait_until(lambda: site.status()["snapshots"]["directories"][0]["isProtected"], "it is protected")
    [first] = snapshots(site)
    assert (first["state"], first["tags"]) == ("good", ["scheduled"])
    assert site.status()["snapshots"]["directories"][0]["nextDueAt"] > first["takenAt"]

    ask(site).ask_of_snapshots("create", {"stack": "sample"}, 60)
    shown = json.loads(site.run("snapshot", "expire", "--dry-run", "-o", "json").stdout)
    assert [one["isKept"] for one in shown["stacks"][0]["snapshots"]] == [True, False]
    assert len(snapshots(site)) == 2
    ask(site).ask_of_snapshots("expire", {}, 60)
    [left] = snapshots(site)
    assert left["id"] != first["id"]

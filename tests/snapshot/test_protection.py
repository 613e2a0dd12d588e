"""What `status` says of how a directory is protected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.snapshot.conftest import Ground

from hostk8s_agent.cli.output import Screen
from hostk8s_agent.cli.status_snapshots import render_protection, render_sizes
from hostk8s_agent.snapshot.model import Marks, SnapshotManifest, SnapshotState
from hostk8s_agent.snapshot.protection import Due, describe_protection, index_last_good
from hostk8s_agent.status.model import DirectoryProtection, DirectoryStatus, render_json

AT = "2026-01-31T08:00:00.000Z"


def test_a_young_verified_snapshot_protects_and_what_changed_since_is_at_risk(ground: Ground) -> None:
    """Old, suspect or without a schedule it protects nothing; what was not counted since is not known."""
    snapshot = ground.service.select(ground.create())
    directory = DirectoryStatus("data", "/mnt/pv/sample/data", "0:0", "0750", "Ready", used_bytes=9000)
    counted = replace(directory, changed_bytes=512, changed_since=AT)
    due = Due(3600, ground.now + timedelta(hours=1))

    def describe(one: DirectoryStatus, *, hours: float = 1, **fields: object) -> DirectoryProtection:
        marked = replace(snapshot, marks=replace(snapshot.marks, **fields))  # type: ignore[arg-type]
        (found,) = describe_protection("sample", [one], [marked], due, ground.now + timedelta(hours=hours))
        return found

    assert describe(counted) == DirectoryProtection(
        "sample",
        "data",
        is_protected=True,
        snapshots=1,
        last_good_at=AT,
        last_verified_at=AT,
        next_due_at="2026-01-31T09:00:00.000Z",
        bytes_at_risk=512,
        size_bytes=9000,
        size_from="measurement",
    )
    assert not describe(counted, hours=2).is_protected
    assert not describe_protection("sample", [counted], [snapshot], None, ground.now)[0].is_protected
    suspect = describe(counted, state=SnapshotState.SUSPECT)
    assert (suspect.is_protected, suspect.last_good_at, suspect.bytes_at_risk) == (False, "", 9000)
    assert describe(directory).bytes_at_risk is None
    assert describe(replace(counted, changed_since="2026-01-31T07:00:00.000Z")).bytes_at_risk is None
    assert index_last_good([snapshot]) == {("sample", "data"): datetime(2026, 1, 31, 8, tzinfo=UTC)}


def test_where_nothing_was_measured_the_newest_snapshot_says_what_was_there(ground: Ground) -> None:
    """Of this directory at this place on this engine, whatever it was taken for; with its time, never as of now."""
    ground.create()
    ground.now += timedelta(hours=1)
    (ground.path() / "more").write_bytes(b"x" * 5000)
    taken = ground.service.select(ground.create(tags=("before-restore",)))
    snapshots = list(ground.service.list()[0])
    directory = DirectoryStatus("data", "/mnt/pv/sample/data", "0:0", "0750", "Ready")

    def size(one: DirectoryStatus, held: list[SnapshotManifest], engine: str = "") -> tuple[object, ...]:
        (found,) = describe_protection("sample", [one], held, None, ground.now, engine=engine)
        return found.size_bytes, found.size_from, found.size_at, found.size_snapshot

    by_snapshot = (taken.byte_count, "snapshot", "2026-01-31T09:00:00.000Z", taken.id)
    assert size(directory, snapshots) == by_snapshot
    assert size(directory, snapshots[::-1]) == by_snapshot
    assert size(replace(directory, used_bytes=1, used_at=AT), snapshots) == (1, "measurement", AT, "")
    nothing = (None, "", "", "")
    assert size(directory, []) == nothing
    assert size(replace(directory, path="/mnt/pv/sample/elsewhere"), snapshots) == nothing
    assert size(directory, [replace(taken, marks=Marks(SnapshotState.DAMAGED))]) == nothing
    assert size(directory, [replace(taken, docker_engine="a colleague's")], "ours") == nothing
    assert size(directory, [replace(taken, docker_engine="ours")], "ours") == by_snapshot
    assert describe_protection("sample", [directory], snapshots, None, ground.now)[0].bytes_at_risk is None


def test_the_status_of_a_stack_says_of_when_a_size_is() -> None:
    """And that it is not known now; a measured one is not repeated."""
    stack = {"name": "sample", "directories": [{"name": "data", "declaredBytes": 5 << 30}, {"name": "logs"}]}
    by_snapshot = DirectoryProtection(
        "sample", "data", is_protected=True, snapshots=1, size_bytes=1288490188, size_from="snapshot", size_at=AT
    )
    others = [
        replace(by_snapshot, directory="logs", size_bytes=0),
        replace(by_snapshot, stack="other"),
        replace(by_snapshot, size_from="measurement"),
        DirectoryProtection("sample", "none", is_protected=False, snapshots=0),
    ]
    document = {"snapshots": {"directories": render_json([by_snapshot, *others])}}
    now = datetime(2026, 1, 31, 10, 30, tzinfo=UTC).timestamp()
    assert list(render_sizes(document, stack, Screen(), now)) == [
        "  data: 1.2 GiB of 5.0 GiB declared at the snapshot 2h ago; what it holds now is not known",
        "  logs: 0 B at the snapshot 2h ago; what it holds now is not known",
    ]
    assert list(render_sizes({}, stack, Screen(), now)) == []


def test_the_status_of_a_stack_shows_it_all_in_a_table() -> None:
    """Of that stack alone, and why what is due is not taken."""
    one = DirectoryProtection("sample", "data", True, 2, AT, AT, AT, "the battery is low", 2048)  # noqa: FBT003
    other = DirectoryProtection("sample", "logs", False, 0)  # noqa: FBT003
    foreign = DirectoryProtection("other", "logs", False, 0)  # noqa: FBT003
    document = {"snapshots": {"directories": render_json((one, other, foreign))}}
    _, head, *rows = render_protection(document, "sample", Screen())
    assert head.split() == [
        "DIRECTORY",
        "PROTECTED",
        "SNAPSHOTS",
        *["LAST", "GOOD", "LAST", "VERIFIED", "NEXT", "DUE", "AT", "RISK"],
    ]
    assert [row.split() for row in rows] == [
        ["data", "yes", "2", AT, AT, AT, "2.0", "KiB"],
        ["logs", "no", "0", "-", "-", "no", "schedule", "not", "known"],
        ["due", "and", "not", "taken:", "the", "battery", "is", "low"],
    ]
    assert render_protection({}, "sample", Screen()) == []

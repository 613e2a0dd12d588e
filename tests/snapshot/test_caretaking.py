"""Scheduled work on a real repository: what is taken, what expires, what is read back, what is drilled."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from hostk8s_agent.contract.model import Contract, KeepPolicy, Quiesce
from hostk8s_agent.errors import AgentError, VolumeError
from hostk8s_agent.settings import Settings
from hostk8s_agent.snapshot import writing
from hostk8s_agent.snapshot.caretaking import CareSources, Caretaker, KeptFacts
from hostk8s_agent.snapshot.documents import render_moment
from hostk8s_agent.snapshot.expiring import Expiry
from hostk8s_agent.snapshot.model import TAG_BEFORE_PURGE, SnapshotState
from hostk8s_agent.snapshot.policies import PolicyInForce, find_stack_policy, load_default_policy
from hostk8s_agent.snapshot.protection import describe_protection
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.securing import Securing
from hostk8s_agent.status.model import DirectoryStatus

PATH = "/mnt/pv/sample/data"
SETTINGS = Settings(snapshot_min_free_percent=0, snapshot_min_battery_percent=0, snapshot_schedule="every 1d")


@dataclass
class House:
    """A caretaker of the ground's stack, and what it told."""

    ground: Any
    default: PolicyInForce
    facts: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, str, str]] = field(default_factory=list)
    away: str = ""

    @property
    def contract(self) -> Contract:
        """The stack's contract in force."""
        found: Contract = self.ground.surroundings.load_contract("sample")[0]
        return found

    @property
    def expiry(self) -> Expiry:
        """Retention as of the ground's clock."""

        def find(stack: str) -> PolicyInForce | None:
            return find_stack_policy(self.contract if stack == "sample" else None, self.default)

        return Expiry(self.ground.service, find, clock=lambda: self.ground.now)

    def reach(self) -> None:
        """The volume, unless it is away."""
        if self.away:
            raise VolumeError(self.away, hint="wait")

    def hire(self) -> Caretaker:
        """A caretaker, as the next run of the agent has it."""
        kept = KeptFacts(dict(self.facts), self.facts.__setitem__)
        sources = CareSources(
            lambda: {"sample": self.contract}, self.reach, kept, lambda *event: self.told.append(event)
        )
        return Caretaker(self.ground.service, self.expiry, sources, SETTINGS, self.default)

    def securing(self, *, is_off: bool = False) -> Securing:
        """What takes event snapshots; with `is_off` the stack has no schedule."""
        policy = replace(self.default, schedule=None) if is_off else self.default
        return Securing(self.ground.service, lambda: self.ground.access, lambda _stack: policy)

    def list(self) -> list[Any]:
        """The snapshots, the oldest first."""
        return list(self.ground.service.list()[0])


@pytest.fixture
def house(ground: Any) -> House:
    """One whose policy keeps two."""
    default = load_default_policy(SETTINGS)
    policy = PolicyInForce(default.schedule, default.zone, KeepPolicy(last=2), Quiesce.NONE)
    return House(ground, policy)


def test_scheduled_snapshots_are_taken_and_what_no_policy_keeps_expires(house: House) -> None:
    """The archives that no other snapshot has go with them."""
    caretaker = house.hire()
    for number in range(4):
        (house.ground.path() / "changing").write_bytes(b"x" * (1000 + number))
        caretaker.take_snapshot("sample")
        house.ground.now += timedelta(hours=1)

    left = house.list()
    assert [one.tags for one in left] == [("scheduled",), ("scheduled",)]
    assert [one.state for one in left] == [SnapshotState.GOOD] * 2
    assert len(house.ground.archives()) == 2


def test_a_dry_run_says_the_same_and_removes_nothing(house: House) -> None:
    """With each reason."""
    for _ in range(3):
        house.ground.create()
        house.ground.now += timedelta(hours=1)

    [judged] = house.expiry.judge()
    assert len(house.list()) == 3
    [carried_out] = house.expiry.expire()

    assert judged == carried_out
    assert [one.is_kept for one in judged.verdicts] == [True, True, False]
    assert len(house.list()) == 2


def test_an_emptied_directory_is_suspect_and_holds_expiry_until_a_person_accepts_it(house: House) -> None:
    """Fault row I9: the good snapshots are never pushed out by copies of nothing."""
    for _ in range(2):
        house.ground.create()
        house.ground.now += timedelta(hours=1)
    shutil.rmtree(house.ground.path())
    house.ground.path().mkdir(mode=0o750)
    caretaker = house.hire()
    for _ in range(4):
        caretaker.take_snapshot("sample")
        house.ground.now += timedelta(hours=1)

    snapshots = house.list()
    assert [one.state for one in snapshots] == [SnapshotState.GOOD] * 2 + [SnapshotState.SUSPECT] * 4
    [problem, *_] = caretaker.list_problems(snapshots)
    assert problem.code == "SnapshotSuspect"
    assert "data shrank" in problem.message

    for one in snapshots[2:]:
        house.ground.service.accept(one.id)
    caretaker.take_snapshot("sample")
    assert len(house.list()) == 2


def test_nothing_expires_while_a_manifest_cannot_be_trusted_or_a_contract_is_gone(house: House) -> None:
    """Unreadable is never absent, and nobody says what to keep of a stack that is gone."""
    ids = []
    for _ in range(3):
        ids.append(house.ground.create())
        house.ground.now += timedelta(hours=1)
    gone = Expiry(house.ground.service, lambda _stack: None)
    assert "no contract in force" in gone.expire()[0].held

    manifest = house.ground.folder / f"repository/manifests/{ids[1]}.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"sample", b"simple"))
    [judged] = house.expiry.expire()

    assert "not every manifest" in judged.held
    assert len(house.ground.repository.list_ids()) == 3


def test_a_drill_restores_the_newest_good_one_and_leaves_nothing(house: House) -> None:
    """Also what a drill that was killed left; the outcome is known after a restart."""
    left = house.ground.folder / "drills/drill-killed"
    left.mkdir(parents=True)
    house.hire().drill("sample")
    assert house.hire().list_drills() == (), "there was nothing to drill"
    house.ground.create()

    house.hire().drill("sample")

    [drill] = house.hire().list_drills()
    assert (drill.stack, drill.snapshot, drill.is_whole) == ("sample", house.list()[0].id, True)
    assert list((house.ground.folder / "drills").iterdir()) == []


@pytest.mark.parametrize(("option", "words"), [("--touch", "time"), ("--no-same-permissions", "mode"), ("", "")])
def test_a_drill_compares_more_than_contents(
    house: House, monkeypatch: pytest.MonkeyPatch, option: str, words: str
) -> None:
    """What does not come out of the archive as it went in is no restore."""
    house.ground.create()
    kept = tuple(one for one in writing.EXTRACT_OPTIONS if one != "--preserve-permissions" or words != "mode")
    monkeypatch.setattr(writing, "EXTRACT_OPTIONS", (*kept, *filter(None, [option])))

    with pytest.raises(AgentError, match=f"its {words} differs") if words else nullcontext():
        house.hire().drill("sample")


def pack_acl(*entries: tuple[int, int, int]) -> bytes:
    """An ACL as the kernel keeps it: tag, permissions and id of each entry (posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


NOBODY_IN_PARTICULAR = 0xFFFFFFFF
ACL = pack_acl(
    (1, 6, NOBODY_IN_PARTICULAR),
    (2, 7, 4711),
    (4, 4, NOBODY_IN_PARTICULAR),
    (16, 7, NOBODY_IN_PARTICULAR),
    (32, 0, NOBODY_IN_PARTICULAR),
)


def give_attributes(ground: Any) -> None:
    """A file with an attribute and an ACL, a folder whose files inherit one, a link with an attribute of root's."""
    folder = ground.path() / "shared"
    folder.mkdir()
    file = folder / "odd\n\x1b[1m name"
    file.write_bytes(b"content")
    os.setxattr(file, "user.note", b"kept\0whole")
    os.setxattr(file, "system.posix_acl_access", ACL)
    os.setxattr(folder, "system.posix_acl_default", ACL)
    if os.geteuid() == 0:
        (folder / "link").symlink_to("odd")
        os.setxattr(folder / "link", "trusted.note", b"of the link", follow_symlinks=False)


@pytest.mark.parametrize(
    ("option", "name"),
    [("", ""), ("--xattrs-exclude=user.*", "user.note"), ("--xattrs-exclude=system.*", "system.posix_acl_default")],
)
def test_a_drill_compares_extended_attributes_and_acls(
    house: House, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    """One that could be there and is not makes the drill fail; all of them there leave nothing uncompared."""
    give_attributes(house.ground)
    house.ground.create()
    kept = tuple(one for one in writing.EXTRACT_OPTIONS if one != "--acls" or "posix_acl" not in name)
    monkeypatch.setattr(writing, "EXTRACT_OPTIONS", (*kept, *filter(None, [option])))

    with pytest.raises(AgentError, match=f"its {name} differs") if name else nullcontext():
        house.hire().drill("sample")

    [drill] = house.hire().list_drills()
    assert (drill.is_whole, drill.not_compared) == (not name, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can mount a file system without attributes")
def test_a_drill_says_what_its_disk_cannot_hold(house: House) -> None:
    """And is whole, as far as could be told; also after a restart."""
    give_attributes(house.ground)
    house.ground.create()
    place = house.ground.folder / "drills"
    place.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "none", place], check=True)
    try:
        house.hire().drill("sample")
    finally:
        subprocess.run(["umount", place], check=True)

    [drill] = house.hire().list_drills()
    assert (drill.is_whole, drill.message) == (True, "")
    refused = "where the scratch lies none can be set (Operation not supported)"
    assert set(drill.not_compared.split("; ")) == {
        f"{what}: {refused}" for what in ("ACLs", "attributes user.*", "attributes trusted.*")
    }


def test_a_drill_that_an_earlier_agent_recorded_is_known(house: House) -> None:
    """It had no word of what could not be compared."""
    house.facts["snapshot.drill.sample"] = '["20260131-080000-3f9ac2d1", "2026-01-31T09:00:00.000Z", true, ""]'
    [drill] = house.hire().list_drills()
    assert (drill.snapshot, drill.is_whole, drill.not_compared) == ("20260131-080000-3f9ac2d1", True, "")


def test_a_drill_that_fails_is_told(house: House) -> None:
    """As an event, in the status and as a problem."""
    house.ground.create()
    [archive] = house.ground.archives()
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")

    with pytest.raises(AgentError):
        house.hire().drill("sample")

    caretaker = house.hire()
    [drill] = caretaker.list_drills()
    assert not drill.is_whole
    assert [one.code for one in caretaker.list_problems(())] == ["DrillFailed"]
    assert [(name, stack) for name, _, stack in house.told] == [("snapshot.drill_failed", "sample")]


def test_within_a_week_of_days_everything_is_read_back(house: House) -> None:
    """Those first that were verified longest ago; what is damaged is told."""
    for number in range(9):
        (house.ground.path() / "changing").write_bytes(b"y" * (1000 + number))
        house.ground.create()
        house.ground.now += timedelta(hours=1)
    begin = house.ground.now
    house.ground.archives()[3].write_bytes(b"not an archive")

    for _ in range(7):
        house.ground.now += timedelta(days=1)
        house.hire().verify_share()

    snapshots = house.list()
    damaged = [one.id for one in snapshots if one.state is SnapshotState.DAMAGED]
    assert len(damaged) == 1
    assert all(one.verified_at > begin for one in snapshots if one.id not in damaged)
    assert {words.split(":")[0] for _, words, _ in house.told} == set(damaged)


def test_a_snapshot_before_something_dangerous_pushes_out_no_other(house: House) -> None:
    """However many there are; what a snapshot has already costs none."""
    for _ in range(2):
        house.ground.create()
        house.ground.now += timedelta(hours=1)
    secure = house.securing()
    assert secure("sample", PATH, "purge").snapshot == house.list()[-1].id
    for number in range(3):
        (house.ground.path() / "changing").write_bytes(b"x" * (1000 + number))
        assert secure("sample", PATH, "purge").snapshot == house.list()[-1].id
        house.ground.now += timedelta(hours=1)

    house.expiry.expire()

    assert [one.tags for one in house.list()] == [(), (), *[(TAG_BEFORE_PURGE,)] * 3]


def test_a_directory_is_secured_without_its_contract_and_nothing_is_taken_where_nothing_is(house: House) -> None:
    """Its name is known from earlier snapshots; with snapshots off the answer says so."""
    house.ground.create()
    (house.ground.path() / "later").write_text("later")
    contract = house.contract

    def is_gone(_stack: str) -> Any:
        raise AgentError("there is no stack sample")

    house.ground.change(load_contract=is_gone)
    house.ground.now += timedelta(hours=1)
    secured = house.securing()("sample", PATH, "prune", "")
    [first, taken] = house.list()
    assert (secured.snapshot, taken.tags, taken.directories[0].name) == (taken.id, ("before-prune",), "data")
    assert taken.contract_text == first.contract_text
    house.ground.change(load_contract=lambda _stack: (contract, b""))
    assert house.ground.service.select("latest", "sample").id == first.id, "it is not what latest means"

    shutil.rmtree(house.ground.path())
    assert house.securing()("sample", PATH, "purge").reason == "the directory is gone"
    house.ground.path().mkdir()
    assert house.securing()("sample", PATH, "purge").reason == "the directory is empty"
    assert house.securing(is_off=True)("sample", PATH, "purge").reason == "snapshots are off"
    assert len(house.list()) == 2


def test_the_wreck_that_a_restore_replaced_holds_no_expiry(house: House) -> None:
    """It is suspect, so that it counts as good nowhere; it is there for an undo, and goes after its time."""
    for _ in range(3):
        house.ground.create()
        house.ground.now += timedelta(hours=1)
    shutil.rmtree(house.ground.path())
    house.ground.path().mkdir(mode=0o750)
    outcome = house.ground.service.restore(RestoreRequest("sample", "latest"))
    assert outcome.safety is not None
    assert outcome.safety.state is SnapshotState.SUSPECT
    assert house.hire().list_problems(house.list()) == ()
    (protection,) = describe_protection(
        "sample",
        [DirectoryStatus("data", "/mnt/pv/sample/data", "0:0", "0750", "Ready")],
        house.list(),
        None,
        house.ground.now,
    )
    assert protection.last_good_at < render_moment(outcome.safety.taken_at)

    [judged] = house.expiry.expire()
    assert (judged.held, len(house.list())) == ("", 3)
    house.ground.now += timedelta(days=30)
    house.expiry.expire()
    assert outcome.safety.id not in [one.id for one in house.list()]


def test_the_caretaker_takes_what_is_due_and_waits_for_the_volume(
    house: House, wait_until: Callable[..., None]
) -> None:
    """The stack's protection says when the next is due, and why it is late."""
    house.away = "Docker is away"
    caretaker = house.hire()
    caretaker.start()
    try:
        wait_until(lambda: caretaker.list_due()["sample"].delay == "Docker is away", "it is told")
        house.away = ""
        caretaker.look_now()
        wait_until(lambda: len(house.list()) == 1, "the snapshot is taken")
        wait_until(lambda: "snapshot.done.snapshot:sample" in house.facts, "it is remembered")
    finally:
        caretaker.stop()

    [(stack, due)] = caretaker.list_due().items()
    assert (stack, due.interval_seconds, due.delay) == ("sample", 86400, "")

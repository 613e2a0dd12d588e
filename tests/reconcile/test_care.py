"""Orphaned directories: which there are, and what may be done with them; on a real folder, book and inventory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hostk8s_agent.cluster.errors import ClusterUnreachableError
from hostk8s_agent.errors import AgentError, ClusterError, VolumeError
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import ObservedObject, ObservedPod
from hostk8s_agent.reconcile.care import CareSources, VolumeCare
from hostk8s_agent.reconcile.contracts import ContractBook
from hostk8s_agent.reconcile.inventory import Inventory
from hostk8s_agent.reconcile.refusals import PurgeUnsecuredError
from hostk8s_agent.status.orphans import Secured
from hostk8s_agent.volume.holders import HolderLedger, describe_me
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.workspace import Workspace

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - name: one
      path: {path}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: care
"""


class Backends:
    """A real folder as the volume, and the PersistentVolumes that a test says."""

    def __init__(self, folder: Path) -> None:
        self.access = HostDirectoryAccess(folder)
        self.leading: tuple[ObservedObject, ...] = ()
        self.pods: tuple[ObservedPod, ...] = ()
        self.failure: ClusterError | None = None
        self.is_lost = False
        self.ledger = HolderLedger(describe_me("me", folder, "mine"), may_write=True)

    def volume(self) -> HostDirectoryAccess:
        return self.access

    def volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        del path
        if self.failure is not None:
            raise self.failure
        return self.leading

    def pods_at(self, path: str) -> tuple[ObservedPod, ...]:
        return tuple(pod for pod in self.pods if pod.mounts(path))

    def accept_volume_loss(self) -> bool:
        return self.is_lost


class Ground:
    """A workspace in which the stack `old` once had /mnt/pv/old/data, with data in it."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "workspace")
        self.root = folder / "pv"
        (self.root / "old/data").mkdir(parents=True)
        (self.root / "old/data/file").write_text("data")
        self.workspace.stacks_root.mkdir(parents=True)
        self.backends = Backends(self.root)
        self.book = ContractBook(self.workspace, last_good={}, holders={})
        self.events: list[tuple[str, str, str]] = []
        self.inventory = Inventory((), lambda _key, _entry: None, lambda: 1_700_000_000.0)
        self.inventory.record("old", {("Directory", "/mnt/pv/old/data"): "", ("Directory", "/mnt/pv/old/gone"): ""})
        self.inventory.settle("old", ())
        sources = CareSources(self.inventory, self.book, self.backends)
        self.care = VolumeCare(self.workspace, sources, lambda *words: self.events.append(words))

    def save(self, stack: str, path: str) -> None:
        """Put a contract of one directory in force."""
        file = self.workspace.contract_path(stack)
        file.parent.mkdir(parents=True)
        file.write_text(CONTRACT.format(stack=stack, path=path))
        loaded, _ = self.book.load(stack)
        assert loaded.contract is not None


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """What each test stands on."""
    made = Ground(tmp_path)
    yield made
    made.backends.access.close()


def volume(phase: str) -> ObservedObject:
    """A PersistentVolume that leads to the orphan."""
    return ObservedObject(ObjectKey("PersistentVolume", "hostk8s-old-data-pv"), {}, "u", "1", phase=phase, claim="a/b")


def test_orphans_are_shown_with_size_age_and_whence(ground: Ground) -> None:
    """What is still there of what was once applied; what is gone from the volume is no orphan."""
    (orphan,) = ground.care.orphans()
    assert (orphan.path, orphan.stack, orphan.size_bytes, orphan.entries) == ("/mnt/pv/old/data", "old", 4, 1)
    assert orphan.unwanted_since == "2023-11-14T22:13:20.000Z"
    assert orphan.modified_at
    assert orphan.kept_because == ""


@pytest.mark.parametrize("path", ["/mnt/pv/old/data", "/mnt/pv/old"])
def test_what_a_contract_asks_for_is_no_orphan(ground: Ground, path: str) -> None:
    """Neither a path that another stack has taken over, nor what lies in one."""
    ground.save("new", path)
    assert ground.care.orphans() == ()


def test_purge_and_undo_and_the_events_of_both(ground: Ground) -> None:
    """The directory goes into the trash, comes back, and is an orphan again."""
    item = ground.care.purge("/mnt/pv/old/data/").directory
    assert not (ground.root / "old/data").exists()
    assert ground.care.orphans() == ()
    assert [one.path for one in ground.care.trash()] == ["/mnt/pv/old/data"]
    assert ground.care.undo("/mnt/pv/old/data") == item
    assert (ground.root / "old/data/file").read_text() == "data"
    assert [one.path for one in ground.care.orphans()] == ["/mnt/pv/old/data"]
    ground.care.purge("/mnt/pv/old/data")
    assert [one.path for one in ground.care.empty_trash()] == ["/mnt/pv/old/data"]
    assert ground.care.trash() == ()
    assert [(kind, stack) for kind, _, stack in ground.events] == [
        ("orphan.purged", "old"),
        ("orphan.brought_back", "old"),
        ("orphan.purged", "old"),
        ("trash.emptied", "old"),
    ]


def test_a_purge_whose_snapshot_fails_leaves_the_directory_until_a_person_goes_without(tmp_path: Path) -> None:
    """The answer says what holds the data from then on."""
    ground = Ground(tmp_path)
    asked: list[tuple[str, str, str]] = []

    def secure(stack: str, path: str, danger: str, name: str = "") -> Secured:
        asked.append((stack, path, danger + name))
        if len(asked) == 1:
            raise VolumeError("the repository is full", hint="make space")
        return Secured("20260131-080000-3f9ac2d1")

    sources = CareSources(ground.inventory, ground.book, ground.backends, secure)
    care = VolumeCare(ground.workspace, sources, lambda *words: ground.events.append(words))
    with pytest.raises(PurgeUnsecuredError, match="the repository is full") as refused:
        care.purge("/mnt/pv/old/data")
    assert "--without-snapshot" in refused.value.hint
    assert (ground.root / "old/data/file").exists()

    assert care.purge("/mnt/pv/old/data", without_snapshot=True).secured == Secured(reason="none was asked for")
    care.undo("/mnt/pv/old/data")
    assert care.purge("/mnt/pv/old/data").secured.snapshot == "20260131-080000-3f9ac2d1"
    assert asked == [("old", "/mnt/pv/old/data", "purge")] * 2
    ground.backends.access.close()


@pytest.mark.parametrize("claimed", ["/mnt/pv/old/data", "/mnt/pv/old", "/mnt/pv/old/data/inner"])
def test_a_path_that_a_contract_asks_for_is_refused(ground: Ground, claimed: str) -> None:
    """At the path, around it, or in it: what is asked for is never moved away, and the stack is named."""
    ground.save("new", claimed)
    with pytest.raises(AgentError, match="stack new") as refused:
        ground.care.purge("/mnt/pv/old/data")
    assert refused.value.code == "PathWanted"
    assert (ground.root / "old/data/file").exists()


@pytest.mark.parametrize("phase", ["Bound", "Released", "Available"])
def test_a_path_that_a_volume_leads_to_is_refused(ground: Ground, phase: str) -> None:
    """A pod may write there now, or as soon as a claim binds."""
    ground.backends.leading = (volume(phase),)
    with pytest.raises(AgentError, match=f"hostk8s-old-data-pv leads there and is {phase}") as refused:
        ground.care.purge("/mnt/pv/old/data")
    assert refused.value.code == "PathInUse"
    assert ground.care.orphans()[0].kept_because
    assert (ground.root / "old/data/file").exists()


@pytest.mark.parametrize("mounted", ["/mnt/pv/old/data", "/mnt/pv/old/data//inner/", "/mnt/pv/old", "/mnt/pv"])
def test_a_path_that_a_pod_mounts_past_any_claim_is_refused(ground: Ground, mounted: str) -> None:
    """A `hostPath` volume needs no PersistentVolume: its pod writes there all the same."""
    pod = ObservedPod("shop", "db", "u", "node", "Running", (), (), host_paths=(mounted,))
    ground.backends.pods = (pod,)
    with pytest.raises(AgentError, match="Pod/db in shop mounts it") as refused:
        ground.care.purge("/mnt/pv/old/data")
    assert refused.value.code == "PathInUse"
    assert (ground.root / "old/data/file").exists()


@pytest.mark.parametrize("mounted", ["/", "/mnt", "/mnt/pv/old/data2", "/mnt/pv/other", "/var/lib"])
def test_a_pod_that_mounts_something_else_is_in_nobodys_way(ground: Ground, mounted: str) -> None:
    """Not even one that looks after the whole node."""
    ground.backends.pods = (ObservedPod("shop", "db", "u", "node", "Running", (), (), host_paths=(mounted,)),)
    assert ground.care.orphans()[0].kept_because == ""
    ground.care.purge("/mnt/pv/old/data")


def test_unknown_is_never_unused(ground: Ground) -> None:
    """With the cluster away nobody can say that no pod writes there."""
    ground.backends.failure = ClusterUnreachableError("the cluster is away", hint="start it")
    with pytest.raises(AgentError, match="not known") as refused:
        ground.care.purge("/mnt/pv/old/data")
    assert refused.value.code == "PathInUse"


def test_what_another_workspace_holds_is_not_purged(ground: Ground, tmp_path: Path) -> None:
    """Its data may be there by now, although no contract of ours asks for the path."""
    other = HolderLedger(describe_me("other", tmp_path, "theirs"), may_write=True)
    other.claim("stack", ["/mnt/pv/old/data/inner"])
    other.turn(ground.backends.access)
    ground.backends.ledger.begin(ground.backends.access)
    with pytest.raises(AgentError, match=f"the workspace {tmp_path} holds it") as refused:
        ground.care.purge("/mnt/pv/old/data")
    assert refused.value.code == "PathInUse"
    assert [one.workspace for one in ground.care.holders()][1:] == [str(tmp_path)]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/mnt/pv/never", "NotAnOrphan"),
        ("/mnt/pv/old", "NotAnOrphan"),
        ("/mnt/pv/.hostk8s-trash", "NotAnOrphan"),
        ("/mnt/pv/.hostk8s-agent/volume.json", "NotAnOrphan"),
        ("/mnt/pv", "PathOutsideVolume"),
        ("/etc", "PathOutsideVolume"),
        ("/mnt/pv/old/../../../etc", "PathOutsideVolume"),
    ],
)
def test_only_what_a_contract_once_had_is_purged(ground: Ground, path: str, code: str) -> None:
    """A slip of the pen moves nothing."""
    with pytest.raises(AgentError) as refused:
        ground.care.purge(path)
    assert refused.value.code == code
    assert (ground.root / "old/data/file").exists()


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_was_lost_with_the_volume_is_left_behind_no_more(ground: Ground, *, is_lost: bool) -> None:
    """Once a person has accepted the loss, nothing may tell that an old directory still holds data."""
    ground.backends.is_lost = is_lost
    assert ground.care.accept_volume_loss() == is_lost
    assert bool(ground.inventory.unwanted_directories()) != is_lost

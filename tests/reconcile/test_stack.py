"""One run of one stack, on volumes and clusters that are values: what is done, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.errors import ClusterError, VolumeError
from hostk8s_agent.plan.actions import CreateDirectory, DeleteObject, DirectoryAction, ObjectAction, ReleaseVolume
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import (
    FieldManager,
    ObservedClaim,
    ObservedDirectory,
    ObservedObject,
    ObservedPod,
    ObservedWorkload,
)
from hostk8s_agent.reconcile.contracts import ContractBook
from hostk8s_agent.reconcile.drift import DriftLedger, Memory
from hostk8s_agent.reconcile.holdings import Holdings
from hostk8s_agent.reconcile.interest import InterestIndex
from hostk8s_agent.reconcile.inventory import Inventory
from hostk8s_agent.reconcile.leftovers import Leftovers
from hostk8s_agent.reconcile.lifecycle import Lifecycle
from hostk8s_agent.reconcile.pruning import Pruning
from hostk8s_agent.reconcile.pruning_terms import Grounds, PruneOptions, PruneReports
from hostk8s_agent.reconcile.releasing import ReleaseRefusedError, Releasing
from hostk8s_agent.reconcile.stack import Backends, Reports, StackReconciler
from hostk8s_agent.status.board import StatusBoard
from hostk8s_agent.status.model import StackStatus
from hostk8s_agent.volume.access import AccessKind
from hostk8s_agent.workspace import Workspace

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {name}
spec:
  directories:
    - name: {directory}
      path: {path}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: fast
"""


class EngineAwayError(VolumeError):
    """Docker is away."""

    code = "EngineUnreachable"
    retryable = True


class ServerAwayError(ClusterError):
    """The cluster is away."""

    code = "ClusterUnreachable"
    retryable = True


class ForbiddenError(ClusterError):
    """The cluster does not let us."""

    code = "ClusterForbidden"


@dataclass
class FakeVolume:
    """A volume that is a mapping; `fails` names the paths whose actions fail."""

    entries: dict[str, ObservedDirectory] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)
    applied: list[DirectoryAction] = field(default_factory=list)
    access: AccessKind = "direct"
    may_set_owner: bool = True

    def observe_directories(self, paths: Sequence[str]) -> tuple[ObservedDirectory, ...]:
        return tuple(self.entries.get(path, ObservedDirectory(path, "absent")) for path in paths)

    def apply_directories(self, actions: Sequence[DirectoryAction]) -> tuple[VolumeError | None, ...]:
        return tuple(self._apply(action) for action in actions)

    def _apply(self, action: DirectoryAction) -> VolumeError | None:
        if action.path in self.fails:
            return EngineAwayError("the engine went away")
        self.applied.append(action)
        self.entries[action.path] = ObservedDirectory(action.path, "directory", action.uid, action.gid, action.mode)
        return None

    @contextmanager
    def stream_tree_out(self, path: str) -> Iterator[Iterable[bytes]]:
        raise AssertionError(f"a reconcile streams no tree: {path}")

    def stream_tree_in(self, path: str, chunks: Iterable[bytes]) -> None:
        raise AssertionError(f"a reconcile streams no tree: {path}, {chunks}")

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class FakeCluster:
    """A cluster that is a mapping; `refuses` maps an object's name to the error of its apply."""

    objects: dict[ObjectKey, ObservedObject] = field(default_factory=dict)
    refuses: dict[str, ClusterError] = field(default_factory=dict)
    applied: list[ObjectKey] = field(default_factory=list)
    phase: str = "Available"

    def observe_objects(self, stack: str, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        assert stack
        return {key: self.objects[key] for key in keys if key in self.objects}

    cluster_uid: str = "cluster-1"

    def find_claim(self, namespace: str, name: str) -> ObservedClaim | None:
        assert namespace
        assert name
        return None

    def observe_claims_of_class(self, storage_class: str) -> tuple[ObservedClaim, ...]:
        assert storage_class
        return ()

    def observe_claims(self, keys: Iterable[ObjectKey]) -> tuple[ObservedClaim, ...]:
        assert keys is not None
        return ()

    def find_workload(self, namespace: str, owner: object) -> None:
        raise AssertionError(f"no run asks for {owner} in {namespace}")

    def scale_workload(
        self, workload: ObservedWorkload, replicas: int, annotation: tuple[str, str]
    ) -> ObservedWorkload:
        raise AssertionError(f"no run scales {workload} to {replicas} ({annotation})")

    def observe_pods(self, namespace: str = "") -> tuple[ObservedPod, ...]:
        assert not namespace
        return ()

    def observe_volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        assert path
        return ()

    def observe_volumes_of_class(self, stack: str, storage_class: str) -> tuple[ObservedObject, ...]:
        assert stack
        volumes = (one for key, one in sorted(self.objects.items()) if key.kind == "PersistentVolume")
        return tuple(one for one in volumes if one.manifest["spec"]["storageClassName"] == storage_class)

    def delete_objects(self, stack: str, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        assert stack
        for action in actions:
            del self.objects[action.key]
        return tuple(None for _ in actions)

    def apply_objects(self, stack: str, actions: Sequence[ObjectAction]) -> tuple[ObservedObject | ClusterError, ...]:
        assert stack
        return tuple(self._apply(action) for action in actions)

    def _apply(self, action: ObjectAction) -> ObservedObject | ClusterError:
        if refusal := self.refuses.get(action.key.name):
            return refusal
        if isinstance(action, ReleaseVolume):
            self.objects[action.key] = replace(self.objects[action.key], phase="Available", claim_uid="")
            return self.objects[action.key]
        self.applied.append(action.key)
        self.objects[action.key] = ObservedObject(
            action.key,
            action.manifest,
            uid="u",
            resource_version="1",
            managers=(FieldManager("hostk8s-agent", "Apply"),),
            phase=self.phase if action.key.kind == "PersistentVolume" else "",
        )
        return self.objects[action.key]


class Bench:
    """A workspace with a reconciler on a fake volume and a fake cluster."""

    def __init__(self, root: Path, memory: Memory | None = None) -> None:
        self.workspace = Workspace(root)
        self.workspace.stacks_root.mkdir(parents=True, exist_ok=True)
        self.memory = memory
        self.where = {"volume": "engine", "cluster": "uid"}
        self.volume: FakeVolume | VolumeError = FakeVolume()
        self.cluster: FakeCluster | ClusterError = FakeCluster()
        self.board = StatusBoard()
        self.recorded: list[StackStatus] = []
        self.forgotten: list[str] = []
        self.affected: list[str] = []
        self.interest = InterestIndex()
        self.facts: dict[str, str] = {}
        self.inventory = Inventory((), lambda _key, _entry: None, clock=lambda: self.now)
        # Far after any file's change time: nothing is still settling.
        self.now = 4_000_000_000.0
        self.expected: set[str] = set()
        self.texts: list[bytes] = []
        self.book = ContractBook(
            self.workspace, last_good={}, holders={}, is_expected=self.expected.__contains__, clock=lambda: self.now
        )
        leftovers = Leftovers(self.workspace, self.inventory, self.book, self.affected.extend)
        self.pruned: list[str] = []
        grounds = Grounds(self.inventory, self.book, self._get_cluster)
        reports = PruneReports(
            self.affected.extend, lambda _type, words, _stack: self.pruned.append(words), lambda _name, _value: None
        )
        options = PruneOptions(grace_seconds=10)
        self.pruning = Pruning(self.workspace, grounds, leftovers, reports, options, clock=lambda: self.now)
        self.reconciler = StackReconciler(
            self.workspace,
            self.book,
            Backends(self._get_volume, self._get_cluster),
            Reports(
                board=self.board,
                interest=self.interest,
                holdings=Holdings(self.facts, self.facts.__setitem__),
                drift=DriftLedger(
                    self.workspace, self.board, lambda: dict(self.where), self.memory, clock=lambda: self.now
                ),
                on_recorded=self._record,
                on_forgotten=self.forgotten.append,
                on_affected=self.affected.extend,
            ),
            Lifecycle(leftovers, self.pruning, Releasing(grounds, reports)),
            clock=lambda: self.now,
        )

    def _record(self, status: StackStatus, text: bytes) -> None:
        self.recorded.append(status)
        self.texts.append(text)

    def _get_volume(self) -> FakeVolume:
        if isinstance(self.volume, VolumeError):
            raise self.volume
        return self.volume

    def _get_cluster(self) -> FakeCluster:
        if isinstance(self.cluster, ClusterError):
            raise self.cluster
        return self.cluster

    def save(self, stack: str, text: str | None = None, *, directory: str = "one", path: str | None = None) -> Path:
        """Write the stack's contract."""
        file = self.workspace.contract_path(stack)
        file.parent.mkdir(parents=True, exist_ok=True)
        written = text or CONTRACT.format(name=stack, directory=directory, path=path or f"/mnt/pv/{stack}/{directory}")
        file.write_text(written, encoding="utf-8")
        return file

    def run(self, stack: str) -> StackStatus:
        """Reconcile the stack and return what the board says of it."""
        self.reconciler.reconcile(stack)
        status = self.board.stack(stack)
        assert status is not None
        return status


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench in a folder of its own."""
    return Bench(tmp_path / "workspace")


def volume_of(bench: Bench) -> FakeVolume:
    """The bench's volume."""
    assert isinstance(bench.volume, FakeVolume)
    return bench.volume


def cluster_of(bench: Bench) -> FakeCluster:
    """The bench's cluster."""
    assert isinstance(bench.cluster, FakeCluster)
    return bench.cluster


def test_a_saved_contract_is_applied_and_ready(bench: Bench) -> None:
    """The main job: directories, StorageClass and volume stand, and the status says so."""
    bench.save("sample")
    status = bench.run("sample")
    assert volume_of(bench).applied == [CreateDirectory("/mnt/pv/sample/one", 1000, 1000, 0o755, "it does not exist")]
    assert cluster_of(bench).applied == [
        ObjectKey("StorageClass", "fast"),
        ObjectKey("PersistentVolume", "hostk8s-sample-one-pv"),
    ]
    assert (status.state, status.message) == ("Ready", "1 directory, 1 volume, 0 bound")
    assert status.last_changed_at == status.last_reconciled_at
    assert [(one.phase, one.state) for one in status.volumes] == [("Available", "Ready")]


def test_a_touched_contract_applies_nothing(bench: Bench) -> None:
    """A second run on what is in place writes nothing anywhere."""
    bench.save("sample")
    changed_at = bench.run("sample").last_changed_at
    volume_of(bench).applied.clear()
    cluster_of(bench).applied.clear()
    bench.now += 60
    again = bench.run("sample")
    assert (again.state, again.last_changed_at) == ("Ready", changed_at)
    assert volume_of(bench).applied == []
    assert cluster_of(bench).applied == []


def test_an_unchanged_status_is_recorded_once(bench: Bench) -> None:
    """A resync of everything costs no disk."""
    bench.save("sample")
    for _ in range(3):
        bench.run("sample")
        bench.now += 60
    assert [one.state for one in bench.recorded] == ["Ready"]


def test_the_last_good_contract_stays_in_force(bench: Bench) -> None:
    """A slip in a file takes nothing away, and is told with its place."""
    file = bench.save("sample")
    bench.run("sample")
    file.write_text("apiVersion: hostk8s.io/v1\nkind: StorageContract\nspecs: {}\n", encoding="utf-8")
    volume_of(bench).entries.clear()
    status = bench.run("sample")
    assert status.state == "Invalid"
    assert status.message.endswith("the last good version stays in force")
    assert [one.state for one in status.directories] == ["Ready"]
    assert "/mnt/pv/sample/one" in volume_of(bench).entries
    assert {problem.file for problem in status.problems} == {"software/stacks/sample/hostk8s.storage.yaml"}
    assert all(problem.line for problem in status.problems)


def test_a_contract_that_never_was_good_applies_nothing(bench: Bench) -> None:
    """There is no version in force, and the problems are shown."""
    bench.save("sample", text="kind: [\n")
    status = bench.run("sample")
    assert (status.state, status.directories) == ("Invalid", ())
    assert volume_of(bench).applied == []


def test_a_half_written_file_has_its_time_before_it_is_told(bench: Bench) -> None:
    """An editor that truncates and rewrites shows half a file for a moment."""
    file = bench.save("sample", text="apiVersion: hostk8s.io/v1\n")
    bench.now = file.stat().st_ctime + 0.1
    result = bench.reconciler.reconcile("sample")
    assert result.requeue_after_seconds == pytest.approx(0.2)
    assert bench.board.stack("sample") is None
    bench.now += 0.25
    assert bench.run("sample").state == "Invalid"


def test_without_docker_the_stack_is_pending_and_nobody_retries(bench: Bench) -> None:
    """Docker's return wakes the stack; until then nothing spins."""
    bench.volume = EngineAwayError("Docker is away", hint="start it")
    bench.save("sample")
    result = bench.reconciler.reconcile("sample")
    status = bench.board.stack("sample")
    assert status is not None
    assert (status.state, status.message) == ("Pending", "Docker is away")
    assert [problem.code for problem in status.problems] == ["EngineUnreachable"]
    assert (result.is_failed, result.requeue_after_seconds) == (False, None)
    assert cluster_of(bench).applied == [ObjectKey("StorageClass", "fast")]


def test_without_a_cluster_the_directories_are_made(bench: Bench) -> None:
    """What can be done is done, and the rest is said to be pending."""
    bench.cluster = ServerAwayError("the cluster is away")
    bench.save("sample")
    status = bench.run("sample")
    assert status.state == "Pending"
    assert [one.state for one in status.directories] == ["Ready"]
    assert [one.state for one in status.volumes] == ["Pending"]


def test_a_volume_is_not_made_when_its_directory_failed(bench: Bench) -> None:
    """A pod would find a directory that the kubelet made as root's."""
    volume_of(bench).fails.add("/mnt/pv/sample/one")
    bench.save("sample")
    result = bench.reconciler.reconcile("sample")
    status = bench.board.stack("sample")
    assert status is not None
    assert result.is_failed
    assert status.state == "Pending"
    assert cluster_of(bench).applied == [ObjectKey("StorageClass", "fast")]


def test_a_refused_object_blocks_and_is_not_retried(bench: Bench) -> None:
    """A 403 does not go away by asking again."""
    cluster_of(bench).refuses["fast"] = ForbiddenError("you may not", hint="ask for the right")
    bench.save("sample")
    result = bench.reconciler.reconcile("sample")
    status = bench.board.stack("sample")
    assert status is not None
    assert (status.state, result.is_failed) == ("Blocked", False)
    assert [(problem.code, problem.hint) for problem in status.problems] == [("ClusterForbidden", "ask for the right")]


def test_a_volume_that_is_not_available_yet_is_pending(bench: Bench) -> None:
    """Ready is said only of a volume that a claim could use."""
    cluster_of(bench).phase = "Pending"
    bench.save("sample")
    assert bench.run("sample").state == "Pending"
    key = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
    bound = replace(cluster_of(bench).objects[key], phase="Bound", claim="sample/one")
    cluster_of(bench).objects[key] = bound
    status = bench.run("sample")
    assert (status.state, status.message) == ("Ready", "1 directory, 1 volume, 1 bound")
    assert status.volumes[0].claim == "sample/one"


def test_a_volume_that_has_failed_is_a_problem(bench: Bench) -> None:
    """The person is told where to see why."""
    cluster_of(bench).phase = "Failed"
    bench.save("sample")
    status = bench.run("sample")
    assert (status.state, [problem.code for problem in status.problems]) == ("Blocked", ["VolumeFailed"])


def release(bench: Bench) -> ObjectKey:
    """Have the claim of the stack's volume deleted."""
    key = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
    released = replace(cluster_of(bench).objects[key], phase="Released", claim="sample/one", claim_uid="1-2-3")
    cluster_of(bench).objects[key] = released
    return key


def test_a_released_volume_is_bindable_again_for_its_claim(bench: Bench) -> None:
    """A claim that is deleted and made again gets its data back, without anyone's doing."""
    bench.save("sample")
    bench.run("sample")
    key = release(bench)
    status = bench.run("sample")
    assert (status.state, status.problems) == ("Ready", ())
    assert cluster_of(bench).objects[key].claim == "sample/one"


def test_a_released_volume_is_left_where_the_settings_say_so(bench: Bench) -> None:
    """Then the person is told which command makes it bindable."""
    bench.reconciler._lifecycle = replace(bench.reconciler._lifecycle, may_release=False)
    bench.save("sample")
    bench.run("sample")
    release(bench)
    status = bench.run("sample")
    assert (status.state, [problem.code for problem in status.problems]) == ("Pending", ["VolumeReleased"])
    assert "hostk8s-agent release hostk8s-sample-one-pv --for sample/one" in status.problems[0].hint


def test_of_two_stacks_with_one_path_the_holder_keeps_it(bench: Bench) -> None:
    """The second is blocked, the first goes on, and both are told with file and line."""
    bench.save("redis", path="/mnt/pv/shared")
    assert bench.run("redis").state == "Ready"
    bench.save("alpha", path="/mnt/pv/shared")
    blocked = bench.run("alpha")
    assert bench.affected == ["redis"]
    holder = bench.run("redis")
    assert (blocked.state, holder.state) == ("Blocked", "Ready")
    assert [problem.code for problem in (*blocked.problems, *holder.problems)] == ["PathConflict", "PathConflict"]
    assert all(problem.file and problem.line for problem in (*blocked.problems, *holder.problems))


def test_of_two_stacks_with_one_volume_name_the_loser_shows_nothing_of_the_winner(bench: Bench) -> None:
    """`x-a` + `b` and `x` + `a-b` give one name: the volume that stands is the winner's, whoever looks at it."""
    bench.save("x", directory="a-b")
    bench.save("x-a", directory="b")
    for stack in ("x", "x-a"):
        bench.book.load(stack)
    assert bench.run("x").state == "Ready"
    for _ in range(2):
        blocked = bench.run("x-a")
        assert [one.state for one in blocked.directories] == ["Blocked"]
        assert [one.state for one in blocked.volumes] == ["Blocked"]
        assert bench.run("x").state == "Ready"


def test_a_gone_contract_keeps_its_data_and_waits_for_its_objects(bench: Bench) -> None:
    """What is left is named until it is gone, and a change of it brings the stack a run; the data is never touched."""
    file = bench.save("sample")
    bench.run("sample")
    file.unlink()
    status = bench.run("sample")
    assert (status.state, [problem.code for problem in status.problems]) == ("Removing", ["ContractGone"])
    assert [(one.state, one.message) for one in status.volumes] == [
        ("Removing", "no contract asks for it: pruned once that has been so for 10 s (the data stays)")
    ]
    assert "/mnt/pv/sample/one" in volume_of(bench).entries
    assert bench.interest.stacks_of(ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")) == {"sample"}
    cluster_of(bench).objects.clear()
    bench.reconciler.reconcile("sample")
    assert bench.board.stack("sample") is None
    assert bench.forgotten == ["sample"]
    assert [one.key.name for one in bench.inventory.unwanted_directories()] == ["/mnt/pv/sample/one"]
    assert "/mnt/pv/sample/one" in volume_of(bench).entries


def test_a_path_is_free_once_what_stood_for_it_is_pruned(bench: Bench) -> None:
    """Another stack may have the path then, and not before."""
    file = bench.save("zebra", path="/mnt/pv/shared")
    bench.run("zebra")
    file.unlink()
    bench.run("zebra")
    bench.now += 10
    bench.pruning.run_pass()
    bench.reconciler.reconcile("zebra")
    bench.save("alpha", path="/mnt/pv/shared")
    bench.save("beta", path="/mnt/pv/shared")
    assert bench.run("alpha").state == "Ready"
    bench.save("zebra", path="/mnt/pv/shared")
    assert bench.run("zebra").state == "Blocked"


def test_a_moved_stack_leaves_nothing_behind_that_is_in_use(bench: Bench) -> None:
    """`a/b` moved to `a-b` keeps its volume's name: nobody may be told to delete it."""
    file = bench.save("a/b", path="/mnt/pv/data")
    bench.run("a/b")
    file.unlink()
    bench.save("a-b", path="/mnt/pv/data")
    bench.reconciler.reconcile("a/b")
    assert bench.run("a-b").state == "Ready"
    bench.reconciler.reconcile("a/b")
    assert bench.board.stack("a/b") is None
    assert bench.run("a-b").state == "Ready"


def test_a_file_that_the_watch_still_expects_is_not_gone(bench: Bench) -> None:
    """An editor that unlinks and writes anew must not make the stack Removing for a moment."""
    file = bench.save("sample")
    bench.run("sample")
    bench.expected.add("sample")
    file.unlink()
    assert bench.run("sample").state == "Ready"
    bench.expected.clear()
    assert bench.run("sample").state == "Removing"


def test_a_contract_whose_status_looks_the_same_is_recorded(bench: Bench) -> None:
    """Access modes are in no status, and the text is what a restart falls back on."""
    file = bench.save("sample")
    bench.run("sample")
    file.write_text(file.read_text(encoding="utf-8").replace("ReadWriteOnce", "ReadWriteMany"), encoding="utf-8")
    bench.run("sample")
    assert [b"ReadWriteMany" in text for text in bench.texts] == [False, True]


def test_a_plan_takes_no_wake_up_from_others(bench: Bench) -> None:
    """A look at a changed contract must leave the change for the run, which tells the other stack."""
    bench.save("redis", path="/mnt/pv/shared")
    bench.save("alpha", path="/mnt/pv/shared")
    bench.run("redis")
    bench.run("alpha")
    bench.affected.clear()
    bench.save("redis", path="/mnt/pv/elsewhere")
    assert bench.reconciler.plan("redis").directories
    bench.run("redis")
    assert "alpha" in bench.affected


def test_an_absent_stacks_folder_is_not_a_gone_contract(bench: Bench) -> None:
    """Unreadable is never absent: an unmounted folder removes nothing from force."""
    bench.save("sample")
    bench.run("sample")
    stacks = bench.workspace.stacks_root
    stacks.rename(stacks.with_name("elsewhere"))
    volume_of(bench).entries.clear()
    assert bench.run("sample").state == "Ready"
    assert "/mnt/pv/sample/one" in volume_of(bench).entries


def test_a_plan_changes_nothing(bench: Bench) -> None:
    """`plan` stops before the apply."""
    bench.save("sample")
    plan = bench.reconciler.plan("sample")
    assert (len(plan.directories), len(plan.objects)) == (1, 2)
    assert volume_of(bench).entries == {}
    assert cluster_of(bench).objects == {}


def test_a_plan_of_an_invalid_contract_says_why(bench: Bench) -> None:
    """There is nothing to plan, and that is no empty plan."""
    bench.save("sample", text="{}")
    assert bench.reconciler.plan("sample").invalid


def test_objects_bring_their_stacks(bench: Bench) -> None:
    """A change of a StorageClass is a change for each stack that uses it, and for no other."""
    for stack in ("a", "b"):
        bench.save(stack)
        bench.run(stack)
    assert bench.interest.stacks_of(ObjectKey("StorageClass", "fast")) == {"a", "b"}
    assert bench.interest.stacks_of(ObjectKey("PersistentVolume", "hostk8s-a-one-pv")) == {"a"}
    bench.save("a", directory="two")
    bench.run("a")
    gone = ObjectKey("PersistentVolume", "hostk8s-a-one-pv")
    assert bench.interest.stacks_of(gone) == {"a"}, "it is waited for till it is pruned"
    del cluster_of(bench).objects[gone]
    for _ in range(2):
        bench.run("a")
    assert bench.interest.stacks_of(gone) == set()
    bench.interest.forget("b")
    assert bench.interest.stacks_of(ObjectKey("StorageClass", "fast")) == {"a"}


RELEASED = "PersistentVolume/hostk8s-sample-one-pv is reserved for the claim other/claim"


def test_a_person_gives_a_released_volume_to_another_claim(bench: Bench) -> None:
    """The stack is looked at again, and the history has it."""
    bench.save("sample")
    bench.run("sample")
    release(bench)
    lifecycle = bench.reconciler._lifecycle
    assert lifecycle.release_volume("hostk8s-sample-one-pv", "other/claim") == RELEASED
    assert (bench.pruned, bench.affected[-1:]) == ([RELEASED], ["sample"])
    key = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
    cluster_of(bench).objects[key] = replace(cluster_of(bench).objects[key], claim="other/claim", claim_uid="")
    assert lifecycle.release_volume(key.name, "other/claim") == f"{RELEASED} already"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phase": "Bound", "claim": "a/b", "claim_uid": "1"}, "is held by the claim a/b"),
        ({"is_terminating": True}, "is being deleted"),
        ({"managers": ()}, "is not the agent's"),
        ({"is_in_file": True}, "there is no PersistentVolume"),
    ],
)
def test_a_volume_that_is_not_free_is_given_to_nobody(bench: Bench, changes: Any, words: str) -> None:
    """The person is told why, and nothing is sent."""
    bench.save("sample")
    bench.run("sample")
    key = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
    found = replace(cluster_of(bench).objects[key], **changes)
    if "managers" in changes:
        found = replace(found, manifest={"metadata": {}})
    cluster_of(bench).objects[key] = found
    with pytest.raises(ReleaseRefusedError, match=words):
        bench.reconciler._lifecycle.release_volume(key.name, "other/claim")
    assert cluster_of(bench).objects[key] == found


def test_a_volume_that_no_contract_asks_for_is_given_to_nobody(bench: Bench) -> None:
    """Only what is the agent's is touched."""
    with pytest.raises(ReleaseRefusedError, match="no contract asks for a PersistentVolume theirs"):
        bench.reconciler._lifecycle.release_volume("theirs", "other/claim")

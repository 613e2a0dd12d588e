"""When pruning is done, on a real workspace whose objects stand in files: nothing here is a fake but the clock."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hostk8s_agent.cluster.manifests import ManifestFiles
from hostk8s_agent.errors import ClusterError, Problem, VolumeError
from hostk8s_agent.plan.actions import DeleteObject
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import ObservedObject
from hostk8s_agent.reconcile.contracts import ContractBook
from hostk8s_agent.reconcile.drift import DriftLedger
from hostk8s_agent.reconcile.holding import find_doubt, find_git_operation, folder_identity
from hostk8s_agent.reconcile.holdings import Holdings
from hostk8s_agent.reconcile.interest import InterestIndex
from hostk8s_agent.reconcile.inventory import Inventory
from hostk8s_agent.reconcile.leftovers import Leftovers
from hostk8s_agent.reconcile.lifecycle import Lifecycle
from hostk8s_agent.reconcile.pruning import FACT_FOLDER, Pruning
from hostk8s_agent.reconcile.pruning_terms import Grounds, PruneOptions, PruneReports
from hostk8s_agent.reconcile.releasing import Releasing
from hostk8s_agent.reconcile.stack import Backends, Reports, StackReconciler
from hostk8s_agent.status.board import StatusBoard
from hostk8s_agent.status.model import StackStatus
from hostk8s_agent.status.orphans import Secured
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.workspace import Workspace

DIRECTORY = """\
    - name: {name}
      path: /mnt/pv/{stack}/{name}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: {storage_class}
"""
GRACE_SECONDS = 10.0


class Bench:
    """A workspace with everything that a stack's run and a pass of pruning need."""

    def __init__(self, root: Path, cluster: ManifestFiles | None = None) -> None:
        self.workspace = Workspace(root)
        self.workspace.stacks_root.mkdir(parents=True)
        self.now = 4_000_000_000.0
        self.board = StatusBoard()
        self.pruned: list[str] = []
        self.facts: dict[str, str] = {}
        self.files = root / "data/manifests"
        self.inventory = Inventory((), lambda _key, _entry: None, clock=lambda: self.now)
        self.book = ContractBook(self.workspace, last_good={}, holders={}, clock=lambda: self.now)
        leftovers = self.leftovers = Leftovers(self.workspace, self.inventory, self.book, lambda _stacks: None)
        cluster = cluster or ManifestFiles(self.files)
        volume = HostDirectoryAccess(root / "data/pv")
        reports = PruneReports(
            lambda _stacks: None, lambda _type, words, _stack: self.pruned.append(words), self.facts.__setitem__
        )
        self.unsecured = ""
        self.loss: Problem | None = None
        self.secured: list[tuple[str, ...]] = []
        grounds = Grounds(self.inventory, self.book, lambda: cluster, secure=self.secure, find_loss=lambda: self.loss)
        options = PruneOptions(grace_seconds=GRACE_SECONDS)
        self.pruning = Pruning(self.workspace, grounds, leftovers, reports, options, clock=lambda: self.now)
        self.reconciler = StackReconciler(
            self.workspace,
            self.book,
            Backends(lambda: volume, lambda: cluster),
            Reports(
                board=self.board,
                interest=InterestIndex(),
                holdings=Holdings({}, self.facts.__setitem__),
                drift=DriftLedger(self.workspace, self.board, lambda: {"volume": "", "cluster": ""}),
                on_recorded=lambda _status, _text: None,
                on_forgotten=lambda _stack: None,
                on_affected=lambda _stacks: None,
            ),
            Lifecycle(leftovers, self.pruning, Releasing(grounds, reports), find_loss=grounds.find_loss),
            clock=lambda: self.now,
        )

    def secure(self, stack: str, path: str, danger: str, name: str = "") -> Secured:
        """Have the directory in a snapshot, unless `unsecured` says why that cannot be."""
        if self.unsecured:
            raise VolumeError(self.unsecured, hint="make space")
        self.secured.append((stack, path, danger, name))
        return Secured("a-snapshot")

    def save(self, stack: str, *names: str, storage_class: str = "fast") -> StackStatus:
        """Write the stack's contract with directories of these names, and run it."""
        file = self.workspace.contract_path(stack)
        file.parent.mkdir(parents=True, exist_ok=True)
        head = f"apiVersion: hostk8s.io/v1\nkind: StorageContract\nmetadata:\n  name: {stack}\nspec:\n  directories:\n"
        parts = (DIRECTORY.format(name=name, stack=stack, storage_class=storage_class) for name in names)
        file.write_text(head + "".join(parts), encoding="utf-8")
        status = self.run(stack)
        assert status is not None
        return status

    def run(self, stack: str) -> StackStatus | None:
        """Reconcile the stack, and return what the board says of it."""
        self.reconciler.reconcile(stack)
        return self.board.stack(stack)

    def remove(self, *stacks: str) -> None:
        """Remove the stacks' folders, as a person does."""
        for stack in stacks:
            shutil.rmtree(self.workspace.stacks_root / stack)
            self.run(stack)

    def pass_after(self, seconds: float) -> float | None:
        """Let time go by, and have a pass."""
        self.now += seconds
        return self.pruning.run_pass()

    def objects(self, stack: str) -> str:
        """The stack's file, empty when there is none."""
        file = self.files / f"{stack}.yaml"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def held(self) -> list[str]:
        """The codes of what holds all pruning back."""
        return [problem.code for problem in self.pruning.problems()]


class DeafFiles(ManifestFiles):
    """A cluster of which the mirror hears no deletion while it `is_deaf`; the deletions are counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_deaf = True
        self.deleted: list[str] = []
        self._known: dict[ObjectKey, ObservedObject] = {}

    def observe_objects(self, stack: str, keys: Iterable[ObjectKey]) -> Mapping[ObjectKey, ObservedObject]:
        """Return what there is, and while it is deaf what there was."""
        wanted = list(keys)
        found = super().observe_objects(stack, wanted)
        self._known |= {key: replace(one, is_in_file=False) for key, one in found.items()}
        return {key: self._known[key] for key in wanted if key in (self._known if self.is_deaf else found)}

    def delete_objects(self, stack: str, actions: Sequence[DeleteObject]) -> tuple[ClusterError | None, ...]:
        """Delete them."""
        self.deleted += [action.key.name for action in actions]
        return super().delete_objects(stack, actions)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench in a folder of its own."""
    return Bench(tmp_path / "workspace")


def test_a_contract_that_is_gone_is_pruned_after_its_grace_period(bench: Bench) -> None:
    """Its objects go, the stack vanishes from the status, and its data stays."""
    bench.save("foundation/sample", "one")
    data = bench.workspace.root / "data/pv/foundation/sample/one/precious"
    data.write_text("precious", encoding="utf-8")
    bench.remove("foundation/sample")
    assert bench.pass_after(GRACE_SECONDS - 1) == bench.now + 1, "when to look again"
    assert "hostk8s-foundation-sample-one-pv" in bench.objects("foundation/sample")
    assert bench.pass_after(1) is None
    assert bench.pruned == [
        "PersistentVolume/hostk8s-foundation-sample-one-pv was pruned: no contract asks for it",
        "StorageClass/fast was pruned: no contract asks for it",
    ]
    assert bench.run("foundation/sample") is None
    assert list(bench.files.iterdir()) == []
    assert data.read_text(encoding="utf-8") == "precious"
    assert [one.key.name for one in bench.inventory.unwanted_directories()] == ["/mnt/pv/foundation/sample/one"]


def test_a_directory_that_is_gone_from_a_contract_is_pruned_alone(bench: Bench) -> None:
    """The rest of the contract stays as it is, the class that it shares with what is gone too."""
    bench.save("sample", "one", "two")
    status = bench.save("sample", "one")
    assert (status.state, [one.state for one in status.volumes]) == ("Removing", ["Ready", "Removing"])
    bench.pass_after(GRACE_SECONDS)
    status = bench.save("sample", "one")
    assert (status.state, len(status.volumes)) == ("Ready", 1)
    assert "sample-two" not in bench.objects("sample")
    assert "name: fast" in bench.objects("sample")


def test_a_volume_waits_for_the_snapshot_of_what_it_leads_to(bench: Bench) -> None:
    """Nothing is lost while none can be taken, and the stack says so; the directory is named as its contract had it."""
    bench.save("sample", "one")
    bench.remove("sample")
    bench.unsecured = "the repository is full"
    assert bench.pass_after(GRACE_SECONDS) is not None, "it is tried again"
    status = bench.run("sample")
    assert status is not None
    told = {problem.code: problem.message for problem in status.problems}
    assert "the repository is full" in told["PruneUnsecured"]
    assert bench.pruned == []
    bench.unsecured = ""
    bench.pass_after(60)
    assert bench.secured == [("sample", "/mnt/pv/sample/one", "prune", "one")]
    assert len(bench.pruned) == 2


def test_a_class_that_is_asked_for_no_more_goes_with_its_last_volume(bench: Bench) -> None:
    """A stack that moves to another class leaves none behind."""
    bench.save("sample", "one", storage_class="fast")
    bench.save("sample", "one", storage_class="slow")
    bench.pass_after(GRACE_SECONDS)
    assert bench.pruned == ["StorageClass/fast was pruned: no contract asks for it"]
    assert bench.save("sample", "one", storage_class="slow").state == "Ready"


def test_a_contract_that_comes_back_loses_nothing(bench: Bench) -> None:
    """A branch that is checked out and back: its objects are not made again, they were never gone."""
    bench.save("sample", "one")
    bench.remove("sample")
    bench.pass_after(GRACE_SECONDS - 1)
    assert bench.save("sample", "one").state == "Ready"
    assert bench.pass_after(60) is None
    assert bench.pruned == []
    bench.remove("sample")
    bench.pass_after(1)
    assert bench.pruned == [], "the old clock does not go on"


def test_most_of_everything_is_pruned_only_when_a_person_says_so(bench: Bench) -> None:
    """A folder that was removed by mistake costs nothing."""
    for stack in ("a", "b", "c", "d"):
        bench.save(stack, "one", storage_class=f"class-{stack}")
    bench.remove("a", "b", "c")
    bench.pass_after(GRACE_SECONDS)
    bench.pass_after(3600)
    assert (bench.pruned, bench.held()) == ([], ["PruneBrake"])
    status = bench.run("a")
    assert status is not None
    assert "6 of the 8 objects" in status.message
    found = bench.pruning.confirm()
    assert (len(found.objects), found.problem) == (6, None)
    bench.pass_after(0)
    assert (len(bench.pruned), bench.held()) == (6, [])
    assert all(bench.run(stack) is None for stack in ("a", "b", "c"))
    assert bench.objects("d")


def test_a_preview_changes_nothing(bench: Bench) -> None:
    """It says what would go, when, and what holds it."""
    for stack in ("a", "b"):
        bench.save(stack, "one", storage_class=f"class-{stack}")
    bench.remove("a", "b")
    bench.now += 4
    found = bench.pruning.preview()
    assert [(verdict.leftover.key.kind, problem, seconds) for verdict, problem, seconds in found.objects] == [
        ("PersistentVolume", None, 6.0),
        ("StorageClass", None, 6.0),
    ] * 2
    assert found.problem is not None
    assert found.problem.code == "PruneBrake"
    assert bench.objects("a")


def test_with_pruning_off_everything_stays_and_says_so(bench: Bench) -> None:
    """The setting is told where the objects are told."""
    bench.pruning._options = PruneOptions(is_on=False)
    bench.save("sample", "one")
    bench.remove("sample")
    assert bench.pass_after(3600) is None
    status = bench.run("sample")
    assert status is not None
    assert [problem.code for problem in status.problems] == ["ContractGone", "PruneOff"]
    assert bench.objects("sample")


@pytest.mark.parametrize("marker", ["index.lock", "rebase-merge/", "rebase-apply/", "MERGE_HEAD", "CHERRY_PICK_HEAD"])
def test_nothing_is_pruned_while_git_is_at_work(bench: Bench, marker: str) -> None:
    """A rebase shows other commits' files for as long as a person takes."""
    bench.save("sample", "one")
    bench.remove("sample")
    git = bench.workspace.root / ".git"
    (git / marker).parent.mkdir(exist_ok=True)
    (git / marker).mkdir() if marker.endswith("/") else (git / marker).touch()
    assert bench.pass_after(3600) == bench.now + 1
    assert (bench.pruned, bench.held()) == ([], ["PruneWaitsForGit"])
    shutil.rmtree(git)
    bench.pass_after(1)
    assert (len(bench.pruned), bench.held()) == (2, [])


def test_git_is_found_in_a_worktree_too(tmp_path: Path) -> None:
    """There `.git` is a file that says where the real one is."""
    (tmp_path / "main/.git/worktrees/w").mkdir(parents=True)
    stacks = tmp_path / "w/software/stacks"
    stacks.mkdir(parents=True)
    (tmp_path / "w/.git").write_text(f"gitdir: {tmp_path}/main/.git/worktrees/w\n", encoding="utf-8")
    assert find_git_operation(stacks) is None
    (tmp_path / "main/.git/worktrees/w/index.lock").touch()
    assert find_git_operation(stacks) == tmp_path / "main/.git/worktrees/w/index.lock"
    (tmp_path / "w/.git").write_text("nonsense", encoding="utf-8")
    assert find_git_operation(stacks) is None


def put_a_file_in_its_place(stacks: Path) -> None:
    """What a slip of the hand does."""
    shutil.rmtree(stacks)
    stacks.touch()


Loss = Callable[[Path], object]
LOSSES: dict[str, Loss] = {
    "removed": shutil.rmtree,
    "renamed": lambda stacks: stacks.rename(stacks.with_name("elsewhere")),
    "a file in its place": put_a_file_in_its_place,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_stacks_folder_that_is_away_prunes_nothing(bench: Bench, loss: Loss) -> None:
    """It is never read as "delete everything", not even where a stack was found gone before."""
    bench.save("other", "one", "two", storage_class="slow")
    bench.save("sample", "one")
    bench.remove("sample")
    loss(bench.workspace.stacks_root)
    for stack in ("other", "sample"):
        bench.run(stack)
    bench.pass_after(3600)
    assert (bench.pruned, bench.held()) == ([], ["PruneWaitsForContracts"])
    other = bench.board.stack("other")
    assert other is not None
    assert other.state == "Ready"


def test_another_folder_in_its_place_that_is_empty_prunes_nothing(bench: Bench) -> None:
    """A disk that is not mounted yet leaves its mount point: it is believed when a person says so."""
    bench.save("sample", "one")
    bench.pass_after(0)
    bench.save("old", "one")
    bench.remove("old")
    bench.pass_after(GRACE_SECONDS)
    assert bench.facts == {FACT_FOLDER: folder_identity(bench.workspace)}
    bench.pruned.clear()
    stacks = bench.workspace.stacks_root
    stacks.rename(stacks.with_name("elsewhere"))
    stacks.mkdir()
    bench.run("sample")
    bench.pass_after(3600)
    assert (bench.pruned, bench.held()) == ([], ["PruneWaitsForContracts"])
    bench.pruning.confirm()
    bench.pass_after(0)
    assert (len(bench.pruned), bench.held()) == (2, [])


def test_a_contract_that_cannot_be_read_prunes_nothing(bench: Bench) -> None:
    """Another stack's contract may be the one that asks for it."""
    bench.save("sample", "one")
    bench.remove("sample")
    link = bench.workspace.contract_path("moved")
    link.parent.mkdir()
    link.symlink_to("/nonexistent/disk/hostk8s.storage.yaml")
    bench.pass_after(3600)
    assert (bench.pruned, bench.held()) == ([], ["PruneWaitsForContracts"])
    status = bench.run("sample")
    assert status is not None
    assert "the contract of the stack moved cannot be read" in status.message


def test_a_folder_of_mode_000_prunes_nothing() -> None:
    """What may not be listed may hold any contract. Root may list it, so the process is someone else meanwhile."""
    # Not pytest's own folder: nobody but its user may even enter that.
    root = Path(tempfile.mkdtemp(prefix="hk-"))
    root.chmod(0o755)
    bench = Bench(root / "workspace")
    bench.save("sample", "one")
    bench.save("other", "one")
    bench.remove("sample")
    user = os.geteuid()
    for folder in (bench.workspace.stacks_root, bench.workspace.stacks_root / "other"):
        folder.chmod(0)
        try:
            if user == 0:
                os.seteuid(65534)
            doubt, _ = find_doubt(bench.workspace, "")
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        assert doubt is not None
        assert doubt.code == "PruneWaitsForContracts"
    assert find_doubt(bench.workspace, "")[0] is None
    shutil.rmtree(root)


def test_what_a_stack_with_an_unreadable_contract_had_is_kept(bench: Bench) -> None:
    """Its contract came back with a slip: what it asks for is not known, so that nothing of it goes."""
    bench.save("sample", "one")
    bench.remove("sample")
    file = bench.workspace.contract_path("sample")
    file.parent.mkdir()
    file.write_text("kind: [\n", encoding="utf-8")
    bench.run("sample")
    bench.pass_after(3600)
    assert bench.pruned == []
    assert bench.objects("sample")


def test_a_moved_stack_takes_its_objects_along(bench: Bench) -> None:
    """`a/b` moved to `a-b` has the same names: what the new one asks for is not pruned for the old one."""
    bench.save("a/b", "one")
    bench.remove("a/b")
    bench.save("a-b", "one")
    bench.run("a/b")
    bench.pass_after(3600)
    assert bench.pruned == []


def test_a_plan_shows_what_would_be_pruned_and_takes_in_nothing(bench: Bench) -> None:
    """Of a contract that is gone and of a directory that is."""
    bench.save("gone", "one", storage_class="slow")
    bench.save("sample", "one", "two")
    shutil.rmtree(bench.workspace.stacks_root / "gone")
    file = bench.workspace.contract_path("sample")
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: text.index("    - name: two")], encoding="utf-8")
    planned = [one.key.name for stack in ("gone", "sample") for one in bench.reconciler.plan(stack).prunes]
    assert planned == ["hostk8s-gone-one-pv", "slow", "hostk8s-sample-two-pv"]
    assert bench.inventory.unwanted_objects() == ()


def test_the_threads_pass_is_asked_for_and_ends(bench: Bench, wait_until: Callable[..., None]) -> None:
    """A stack's run asks for a pass; when it is over, nothing is under way."""
    bench.pruning._options = replace(bench.pruning._options, grace_seconds=0)
    bench.save("sample", "one")
    bench.pruning.start()
    bench.remove("sample")
    wait_until(lambda: len(bench.pruned) == 2, "both objects are pruned")
    wait_until(bench.pruning.is_idle, "the pass is over")
    bench.pruning.stop()


def test_what_was_deleted_is_not_deleted_again_while_the_mirror_has_not_heard(tmp_path: Path) -> None:
    """A second deletion would be told as a second event, and hit whoever has made an object of the name meanwhile."""
    cluster = DeafFiles(tmp_path / "workspace/data/manifests")
    bench = Bench(tmp_path / "workspace", cluster)
    bench.save("sample", "one")
    bench.remove("sample")
    for _ in range(3):
        bench.pass_after(GRACE_SECONDS)
    assert cluster.deleted == ["hostk8s-sample-one-pv", "fast"]
    assert len(bench.pruned) == 2
    cluster.is_deaf = False
    assert bench.run("sample") is None


def test_what_is_made_again_and_removed_again_is_pruned_again(bench: Bench) -> None:
    """Without a cluster too, where an object and its successor have the same UID."""
    for _ in range(2):
        bench.save("sample", "one")
        bench.remove("sample")
        bench.pass_after(GRACE_SECONDS)
        assert bench.run("sample") is None
    assert len(bench.pruned) == 4
    assert list(bench.files.iterdir()) == []


def test_a_volume_lost_while_a_prune_waits_is_what_the_stack_tells(bench: Bench) -> None:
    """Nothing is said to be kept that is gone, nothing is pruned, and what is to be done is told; then it goes on."""
    bench.save("sample", "one")
    bench.remove("sample")
    bench.loss = Problem("VolumeLost", "the Docker volume v that held this workspace's data is gone", "accept the loss")
    bench.pass_after(GRACE_SECONDS + 1)
    status = bench.run("sample")
    assert status is not None
    assert (status.state, bench.pruned) == ("Removing", [])
    assert status.message == "the contract is gone, and the Docker volume v that held this workspace's data is gone"
    assert [one.code for one in status.problems] == ["VolumeLost", "ContractGone"]
    assert status.problems[0].hint == "accept the loss"
    assert "kept" not in repr((status.message, status.problems, status.directories))
    bench.loss = None
    bench.pruning.run_pass()
    assert len(bench.pruned) == 2


def test_what_a_gone_stack_leaves_behind_is_known_until_somebody_has_it(bench: Bench) -> None:
    """When its objects are pruned nothing else tells of the stack; a path that another one has is that one's."""
    bench.save("gone", "one", "two")
    bench.save("other", "three")
    bench.remove("gone")
    bench.pass_after(GRACE_SECONDS + 1)
    bench.run("gone")
    shown = {one.name for one in bench.board.stacks()}
    assert shown == {"other"}
    left = bench.leftovers.find_left_behind(shown)
    assert [(one.stack, one.path) for one in left] == [("gone", "/mnt/pv/gone/one"), ("gone", "/mnt/pv/gone/two")]
    assert left[0].file == "software/stacks/gone/hostk8s.storage.yaml"
    text = bench.workspace.contract_path("other").read_text(encoding="utf-8")
    bench.workspace.contract_path("other").write_text(text.replace("/mnt/pv/other/three", "/mnt/pv/gone/one"))
    bench.run("other")
    assert [one.path for one in bench.leftovers.find_left_behind({"other"})] == ["/mnt/pv/gone/two"]
    assert bench.leftovers.find_left_behind({"other", "gone"}) == ()

"""What each stack has beyond what its contract asks for, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.errors import ClusterError, Problem
from hostk8s_agent.plan.occupying import find_occupiers
from hostk8s_agent.plan.ownership import find_named_workspace
from hostk8s_agent.plan.pruning import Leftover, Surroundings, Verdict, judge_leftover, plan_pruning
from hostk8s_agent.plan.wording import subject_of
from hostk8s_agent.reconcile.inventory import object_key
from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.inventory import InventoryKey
from hostk8s_agent.status.model import LeftDirectory
from hostk8s_agent.workspace import STACKS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.plan.actions import DeleteObject
    from hostk8s_agent.plan.desired import DesiredState, ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject, ObservedState
    from hostk8s_agent.reconcile.contracts import ContractBook
    from hostk8s_agent.reconcile.inventory import Applied, Inventory
    from hostk8s_agent.status.inventory import InventoryEntry
    from hostk8s_agent.workspace import Workspace

# Each is compared with all contracts, whenever somebody looks at the status; `orphans` shows all.
_SHOWN_DIRECTORIES = 10


class Leftovers:
    """Thread-safe. Knows the inventory and the contracts in force; observes through the access that it is given.

    `on_affected` gets the stacks that may have what another one let go of.
    """

    def __init__(
        self,
        workspace: Workspace,
        inventory: Inventory,
        book: ContractBook,
        on_affected: Callable[[Iterable[str]], None],
    ) -> None:
        self._workspace = workspace
        self._inventory = inventory
        self._book = book
        self._on_affected = on_affected

    def record(self, stack: str, seen: Mapping[Applied, str]) -> None:
        """Record that these were seen in place for the stack, each with the object's UID (empty for a directory)."""
        self._inventory.record(stack, seen)

    def settle(self, stack: str, desired: DesiredState | None) -> tuple[Leftover, ...]:
        """Take in what the stack's contract asks for now, None when it is gone; return what objects it has besides."""
        return self.find(self._inventory.settle(stack, _wanted(desired)))

    def find_all(self) -> tuple[tuple[Leftover, float], ...]:
        """Return the leftovers of all stacks, each with since when it is one (seconds since the epoch)."""
        entries = {entry.key: entry for entry in self._inventory.unwanted_objects()}
        found = self.find(entries.values())
        return tuple((one, entries[InventoryKey(one.stack, *one.key)].unwanted_since or 0.0) for one in found)

    def find(self, entries: Iterable[InventoryEntry]) -> tuple[Leftover, ...]:
        """Return those of the entries that no contract asks for; what another stack asks for is that one's now."""
        found: list[Leftover] = []
        for entry in entries:
            if entry.key.kind == "Directory":
                continue
            asking = self._book.stacks_asking_for(object_key(entry))
            if not asking:
                found.append(Leftover(entry.key.stack, object_key(entry), entry.uid))
            elif entry.key.stack not in asking:
                self._inventory.forget([entry.key])
        return tuple(found)

    def preview(
        self, stack: str, desired: DesiredState | None, find_access: Callable[[], ClusterAccess]
    ) -> tuple[DeleteObject, ...]:
        """Return what would be pruned of the stack, whose contract asks for `desired`, and remember nothing.

        Empty when nothing can be observed.
        """
        entries = (one for one in self._inventory.find_beyond(stack, _wanted(desired)) if one.key.kind != "Directory")
        left = [Leftover(stack, object_key(one), one.uid) for one in entries]
        left = [one for one in left if not self._book.stacks_asking_for(one.key) - {stack}]
        if not left:
            return ()
        try:
            access = find_access()
            verdicts = self.look_at(left, access.observe_objects(stack, [one.key for one in left]), access)
        except ClusterError:
            return ()
        free = [one for one in verdicts if one.state == "free"]
        return plan_pruning(free, {one.leftover.key for one in free}, {one.leftover.key for one in free}, 0).deletions

    def judge(
        self, leftovers: Sequence[Leftover], observed: Mapping[ObjectKey, ObservedObject], access: ClusterAccess
    ) -> tuple[Verdict, ...]:
        """Return what becomes of each; those that are gone are forgotten, and their names are free. In the same order.

        Raises `ClusterError`.
        """
        verdicts = self.look_at(leftovers, observed, access)
        for verdict in verdicts:
            if verdict.state == "gone":
                self._forget(verdict.leftover)
        return verdicts

    def look_at(
        self, leftovers: Sequence[Leftover], observed: Mapping[ObjectKey, ObservedObject], access: ClusterAccess
    ) -> tuple[Verdict, ...]:
        """Return what becomes of each, in the same order. Raises `ClusterError`.

        Volumes are judged first: a StorageClass is used by those that stay.
        """
        verdicts: dict[Leftover, Verdict] = {}
        leaving: set[ObjectKey] = set()
        for leftover in sorted(leftovers, key=lambda one: one.key):
            users = self.find_users(leftover, access, leaving)
            verdict = judge_leftover(leftover, observed.get(leftover.key), self._look_around(leftover, observed, users))
            verdicts[leftover] = verdict
            if verdict.state == "free":
                leaving.add(leftover.key)
        return tuple(verdicts[leftover] for leftover in leftovers)

    def find_users(self, leftover: Leftover, access: ClusterAccess, leaving: Collection[ObjectKey]) -> tuple[str, ...]:
        """Return the volumes that name a StorageClass, but for those that are `leaving`; none for a volume."""
        if leftover.key.kind != "StorageClass":
            return ()
        volumes = access.observe_volumes_of_class(leftover.stack, leftover.key.name)
        return tuple(subject_of(one.key) for one in volumes if one.key not in leaving and not one.is_terminating)

    def find_occupiers(
        self, desired: DesiredState, observed: ObservedState, find_access: Callable[[], ClusterAccess]
    ) -> Mapping[str, ObservedObject]:
        """Return through which volume a claim still uses each directory of the stack that it may not have yet.

        By the directory's name; see `plan/occupying.py`. Looks beyond the stack's own objects only where something
        was left behind at one of its paths. Without a cluster nobody is known to use anything.
        """
        if isinstance(observed.objects, Problem):
            return {}
        stack, paths = desired.stack, [one.path for one in desired.directories]
        is_left = bool(self._inventory.find_beyond(stack, _wanted(desired))) or self._inventory.has_left(stack, paths)
        try:
            others = [one for path in paths for one in find_access().observe_volumes_at(path)] if is_left else []
        except ClusterError:
            others = []
        return find_occupiers(desired, observed.objects, others)

    def release_paths(self, stack: str) -> None:
        """Let others have the paths that a stack has left behind with its last object; the data stays there."""
        if left := self._inventory.paths_left_by(stack):
            self._on_affected(self._book.release_holder(stack, left))

    def find_left_behind(self, shown: Collection[str]) -> tuple[LeftDirectory, ...]:
        """Return the directories of stacks that are not `shown`, since their contract went; the newest, and not all."""
        gone = [one for one in self._inventory.unwanted_directories() if one.key.stack not in shown]
        gone.sort(key=lambda one: one.unwanted_since or 0.0, reverse=True)
        return tuple(
            LeftDirectory(
                one.key.stack,
                self._workspace.relative(self._workspace.contract_path(one.key.stack)),
                one.key.name,
                render_time(one.unwanted_since or 0.0),
            )
            for one in gone[:_SHOWN_DIRECTORIES]
            # Another stack may have it by now.
            if not self._book.find_claims(one.key.name)
        )

    def _forget(self, leftover: Leftover) -> None:
        """Take a leftover out of the inventory: it is gone, or not ours."""
        self._inventory.forget([InventoryKey(leftover.stack, *leftover.key)])
        self._on_affected(self._book.release_holder(leftover.stack, [leftover.key.name]))

    def _look_around(
        self, leftover: Leftover, observed: Mapping[ObjectKey, ObservedObject], users: Collection[str]
    ) -> Surroundings:
        found = observed.get(leftover.key)
        named = find_named_workspace(found) if found is not None else None
        living = {named} if named is not None and (Path(named) / STACKS_FOLDER).is_dir() else set()
        return Surroundings(str(self._workspace.root), living, users)


def _wanted(desired: DesiredState | None) -> set[Applied]:
    if desired is None:
        return set()
    wanted: set[Applied] = {("Directory", directory.path) for directory in desired.directories}
    return wanted | {(one.key.kind, one.key.name) for one in desired.objects}

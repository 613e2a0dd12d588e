"""The inventory at work: what was applied for which stack, and what of it no contract asks for any more."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.reconcile.left_paths import LeftPaths
from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from hostk8s_agent.status.inventory import InventoryKind
    from hostk8s_agent.status.model import StackStatus

Applied = tuple["InventoryKind", str]
"""A kind and a name (or path)."""


class Inventory:
    """Thread-safe. An update costs what the one stack has, however many stacks there are.

    `on_change` gets each entry that is new or another than before, and None for one that is gone, in their order.
    """

    def __init__(
        self,
        entries: Iterable[InventoryEntry],
        on_change: Callable[[InventoryKey, InventoryEntry | None], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._stacks: defaultdict[str, dict[Applied, InventoryEntry]] = defaultdict(dict)
        # How many stacks have the object: StorageClasses are shared, and count once.
        self._objects: Counter[Applied] = Counter()
        self._unwanted: set[InventoryKey] = set()
        self._left = LeftPaths()
        for entry in entries:
            self._store(entry)

    def record(self, stack: str, seen: Mapping[Applied, str]) -> None:
        """Record that these were seen in place for the stack, each with the object's UID (empty for a directory)."""
        with self._lock:
            known = self._stacks.get(stack, {})
            for (kind, name), uid in seen.items():
                before = known.get((kind, name))
                if before is not None and before.uid == uid and before.unwanted_since is None:
                    continue
                recorded_at = before.recorded_at if before is not None else self._clock()
                self._change(InventoryEntry(InventoryKey(stack, kind, name), uid, recorded_at))

    def assume(self, stack: str, objects: Collection[Applied]) -> None:
        """Take these objects for applied, without their UIDs, where nothing is recorded of them.

        A crash loses what was applied in its last moments. That such an object is ours is proven when it is looked at.
        """
        with self._lock:
            known = self._stacks.get(stack, {})
            for kind, name in objects:
                if (kind, name) not in known:
                    self._store(InventoryEntry(InventoryKey(stack, kind, name), "", self._clock()))

    def settle(self, stack: str, wanted: Collection[Applied]) -> tuple[InventoryEntry, ...]:
        """Take in what the stack's contract asks for now (nothing when it is gone).

        Return what the stack has beyond that, by kind and name: what is unwanted from now on, or was already.
        """
        with self._lock:
            left = []
            for applied, entry in sorted(self._stacks.get(stack, {}).items()):
                if applied in wanted:
                    if entry.unwanted_since is not None:
                        self._change(replace(entry, unwanted_since=None))
                    continue
                current = entry
                if entry.unwanted_since is None:
                    current = replace(entry, unwanted_since=self._clock())
                    self._change(current)
                left.append(current)
            return tuple(left)

    def put_back(self, entry: InventoryEntry) -> None:
        """Take in an entry as it is: that of a directory which was brought back."""
        with self._lock:
            self._change(entry)

    def find_beyond(self, stack: str, wanted: Collection[Applied]) -> tuple[InventoryEntry, ...]:
        """Return what `settle` would, and take in nothing."""
        with self._lock:
            entries = sorted(self._stacks.get(stack, {}).items())
            return tuple(entry for applied, entry in entries if applied not in wanted)

    def forget(self, keys: Iterable[InventoryKey]) -> None:
        """Forget what is gone, or is not ours any more."""
        with self._lock:
            for key in keys:
                if (key.kind, key.name) in self._stacks.get(key.stack, {}):
                    self._drop(key)
                    self._on_change(key, None)

    def unwanted_objects(self) -> tuple[InventoryEntry, ...]:
        """Return the entries of objects that their stack's contract does not ask for, sorted."""
        with self._lock:
            return tuple(self._find(key) for key in sorted(self._unwanted) if key.kind != "Directory")

    def unwanted_directories(self) -> tuple[InventoryEntry, ...]:
        """Return the entries of directories that their stack's contract does not ask for, sorted.

        Another stack's contract may ask for the same path by now: then it is no orphan.
        """
        with self._lock:
            return tuple(self._find(key) for key in sorted(self._unwanted) if key.kind == "Directory")

    def has_left(self, stack: str, paths: Collection[str]) -> bool:
        """Whether another stack had one of the paths, or what is in or around it, and does not ask for it any more."""
        with self._lock:
            return self._left.has_any(paths, stack)

    def paths_left_by(self, stack: str) -> tuple[str, ...]:
        """Return the paths that the stack had and its contract does not ask for, sorted."""
        with self._lock:
            entries = self._stacks.get(stack, {}).items()
            left = (name for (kind, name), one in entries if kind == "Directory" and one.unwanted_since is not None)
            return tuple(sorted(left))

    def count_objects(self) -> int:
        """How many objects there are in the inventory, each counted once."""
        with self._lock:
            return len(self._objects)

    def stacks_with_objects(self) -> frozenset[str]:
        """The stacks for which an object was applied and is not known to be gone."""
        with self._lock:
            return frozenset(
                stack for stack, entries in self._stacks.items() if any(kind != "Directory" for kind, _ in entries)
            )

    def _find(self, key: InventoryKey) -> InventoryEntry:
        return self._stacks[key.stack][key.kind, key.name]

    def _change(self, entry: InventoryEntry) -> None:
        self._drop(entry.key)
        self._store(entry)
        self._on_change(entry.key, entry)

    def _store(self, entry: InventoryEntry) -> None:
        applied = entry.key.kind, entry.key.name
        self._stacks[entry.key.stack][applied] = entry
        if entry.key.kind != "Directory":
            self._objects[applied] += 1
        if entry.unwanted_since is not None:
            self._unwanted.add(entry.key)
            if entry.key.kind == "Directory":
                self._left.add(entry.key.name, entry.key.stack)

    def _drop(self, key: InventoryKey) -> None:
        applied = key.kind, key.name
        entries = self._stacks.get(key.stack, {})
        if entries.pop(applied, None) is None:
            return
        if key in self._unwanted:
            self._unwanted.discard(key)
            if key.kind == "Directory":
                self._left.discard(key.name, key.stack)
        if not entries:
            del self._stacks[key.stack]
        if key.kind != "Directory":
            self._objects[applied] -= 1
            if not self._objects[applied]:
                del self._objects[applied]


def object_key(entry: InventoryEntry) -> ObjectKey:
    """Return the object that an entry is of; not for a directory's."""
    assert entry.key.kind != "Directory"  # noqa: S101 - the caller's choice of entries
    return ObjectKey(entry.key.kind, entry.key.name)


def find_held(status: StackStatus) -> list[str]:
    """Return the paths and PersistentVolumes that were seen in place for the stack."""
    return [
        *(directory.path for directory in status.directories if directory.state == "Ready"),
        # A name that another stack has won shows that stack's volume: it is blocked here, and not held.
        *(volume.name for volume in status.volumes if volume.phase and volume.state != "Blocked"),
    ]

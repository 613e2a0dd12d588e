"""The inventory: what was applied, what nobody asks for any more, and since when."""

from __future__ import annotations

from hostk8s_agent.reconcile.inventory import Applied, Inventory
from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey

VOLUME: Applied = ("PersistentVolume", "hostk8s-a-b-pv")
CLASS: Applied = ("StorageClass", "fast")
PATH: Applied = ("Directory", "/mnt/pv/a/b")


class Bench:
    """An inventory whose clock and changes are at hand; the changes are replayed into `stored`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stored: dict[InventoryKey, InventoryEntry] = {}
        self.changes = 0
        self.inventory = Inventory((), self._store, clock=lambda: self.now)

    def _store(self, key: InventoryKey, entry: InventoryEntry | None) -> None:
        self.changes += 1
        self.stored.pop(key, None)
        if entry is not None:
            self.stored[key] = entry

    def apply(self, stack: str, *applied: Applied) -> None:
        """See these in place for the stack, whose contract asks for them."""
        self.inventory.settle(stack, applied)
        self.inventory.record(stack, {one: f"uid of {one[1]}" for one in applied})


def test_what_nobody_asks_for_is_left_since_it_was_first_found_so() -> None:
    """The grace period counts from there, however often it is looked at, and over a restart."""
    bench = Bench()
    bench.apply("a", VOLUME, CLASS, PATH)
    bench.now = 200.0
    left = bench.inventory.settle("a", [CLASS])
    assert [(one.key.name, one.unwanted_since) for one in left] == [(PATH[1], 200.0), (VOLUME[1], 200.0)]
    bench.now = 300.0
    restarted = Inventory(bench.stored.values(), lambda _key, _entry: None, clock=lambda: bench.now)
    assert restarted.settle("a", [CLASS]) == left
    assert [one.key.name for one in restarted.unwanted_objects()] == [VOLUME[1]]
    assert [one.key.name for one in restarted.unwanted_directories()] == [PATH[1]]


def test_what_is_asked_for_again_is_wanted_again() -> None:
    """A contract that comes back starts no old clock."""
    bench = Bench()
    bench.apply("a", VOLUME)
    bench.inventory.settle("a", ())
    assert bench.inventory.settle("a", [VOLUME]) == ()
    assert bench.inventory.unwanted_objects() == ()
    bench.now = 500.0
    assert [one.unwanted_since for one in bench.inventory.settle("a", ())] == [500.0]


def test_what_does_not_change_is_not_written() -> None:
    """A resync of everything costs no disk."""
    bench = Bench()
    for _ in range(3):
        bench.apply("a", VOLUME, CLASS, PATH)
        bench.now += 60
    assert bench.changes == 3
    assert {entry.recorded_at for entry in bench.stored.values()} == {100.0}


def test_a_shared_object_counts_once() -> None:
    """Half of the inventory is half of the objects, not of their users; directories are no objects."""
    bench = Bench()
    for stack in ("a", "b"):
        bench.apply(stack, CLASS, ("PersistentVolume", stack), PATH)
    assert bench.inventory.count_objects() == 3
    bench.inventory.forget([InventoryKey("a", *CLASS), InventoryKey("a", *VOLUME)])
    assert bench.inventory.count_objects() == 3
    bench.inventory.forget([InventoryKey("b", *CLASS)])
    assert bench.inventory.count_objects() == 2
    assert bench.inventory.stacks_with_objects() == {"a", "b"}
    bench.inventory.forget([InventoryKey("a", "PersistentVolume", "a")])
    assert bench.inventory.stacks_with_objects() == {"b"}
    assert InventoryKey("a", *PATH) in bench.stored


def test_what_a_crash_kept_from_being_recorded_is_assumed() -> None:
    """It is pruned like the rest, once it has shown that it is ours: no UID vouches for it."""
    bench = Bench()
    bench.apply("a", CLASS)
    bench.inventory.assume("a", [CLASS, VOLUME])
    left = bench.inventory.settle("a", ())
    assert [(one.key.name, one.uid) for one in left] == [(VOLUME[1], ""), (CLASS[1], "uid of fast")]


def test_what_another_stack_left_at_a_path_is_found() -> None:
    """At it, in it or around it; not what the stack itself left, nor what is asked for."""
    bench = Bench()
    bench.apply("a", PATH)
    assert not bench.inventory.has_left("b", ["/mnt/pv/a/b"])
    bench.inventory.settle("a", ())
    for path in ("/mnt/pv/a/b", "/mnt/pv/a", "/mnt/pv/a/b/c"):
        assert bench.inventory.has_left("b", ["/mnt/pv/z", path])
    assert not bench.inventory.has_left("b", ["/mnt/pv/a/bc"])
    assert not bench.inventory.has_left("a", ["/mnt/pv/a/b"])
    bench.apply("c", PATH)
    bench.inventory.settle("c", ())
    assert bench.inventory.has_left("a", ["/mnt/pv/a/b"])
    bench.inventory.settle("c", [PATH])
    bench.inventory.forget([InventoryKey("a", *PATH)])
    assert not bench.inventory.has_left("b", ["/mnt/pv/a/b", "/mnt/pv/a"])

"""Field wars: a change that comes again and again is left alone for a while, and then tried again."""

from __future__ import annotations

from hostk8s_agent.plan.actions import Drift
from hostk8s_agent.plan.drifting import FieldKey, FoundDrift
from hostk8s_agent.reconcile.field_wars import REPAIRS_ALLOWED, TRUCE_SECONDS, WINDOW_SECONDS, FieldWars

SIZE = FieldKey("PersistentVolume/a", "spec.capacity.storage")


def change(token: str, key: FieldKey = SIZE) -> FoundDrift:
    """One change of the field."""
    return FoundDrift(key, Drift(key.field, "1Gi", "9Gi", "kubectl-edit"), token)


def repair(wars: FieldWars, times: int, now: float, step: float = 1.0) -> float:
    """Find and put right so many changes, one each `step` seconds; return the time after them."""
    for number in range(times):
        found = change(f"{now} {number}")
        held, begun = wars.judge([found], now)
        assert (held, begun) == ({}, ()), f"repair {number + 1} is let be done"
        assert wars.note_repair(found, now)
        now += step
    return now


def test_the_change_after_five_repairs_in_a_minute_is_left_alone() -> None:
    """Told once, held for five minutes, and tried again from the beginning."""
    wars = FieldWars()
    now = repair(wars, REPAIRS_ALLOWED, 1_000.0)
    held, [begun] = wars.judge([change("one too many")], now)
    assert held == {SIZE: begun}
    assert begun.until == now + TRUCE_SECONDS
    again, none = wars.judge([change("and another")], now + TRUCE_SECONDS - 1)
    assert (again, none) == (held, ())
    now = repair(wars, REPAIRS_ALLOWED, now + TRUCE_SECONDS)
    assert wars.judge([change("still at it")], now)[1]


def test_changes_that_come_slowly_are_put_right_for_ever() -> None:
    """A person who edits by mistake now and then is no war."""
    repair(FieldWars(), 50, 1_000.0, step=WINDOW_SECONDS / REPAIRS_ALLOWED)


def test_one_change_that_many_stacks_see_counts_once() -> None:
    """A StorageClass is shared: a hundred runs that put one edit right are no war."""
    wars = FieldWars()
    assert [wars.note_repair(change("uid 7"), 1_000.0) for _ in range(100)] == [True] + [False] * 99
    assert wars.judge([change("uid 8")], 1_001.0) == ({}, ())


def test_a_directorys_changes_count_each() -> None:
    """They have no token, because nobody else looks at them."""
    wars, owner = FieldWars(), FieldKey("/mnt/pv/a", "owner")
    assert all(wars.note_repair(change("", owner), 1_000.0) for _ in range(REPAIRS_ALLOWED))
    assert wars.judge([change("", owner), change("x")], 1_001.0)[0].keys() == {owner}


def test_what_is_remembered_of_peace_is_bounded() -> None:
    """An agent that runs for a year forgets what it once put right."""
    wars = FieldWars()
    for number in range(10_000):
        wars.note_repair(change("t", FieldKey(f"PersistentVolume/{number}", "spec")), float(number))
    assert max(len(wars._repairs), len(wars._tokens)) < 5_000

"""How the planner's modules call an object, tell a drift, and hold an action back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.plan.actions import BlockedAction

if TYPE_CHECKING:
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.actions import Drift
    from hostk8s_agent.plan.desired import DesiredObject, ObjectKey


def subject_of(key: ObjectKey) -> str:
    """Return an object as people and actions name it: `PersistentVolume/hostk8s-a-b-pv`."""
    return f"{key.kind}/{key.name}"


def resource_of(key: ObjectKey) -> str:
    """Return what kubectl calls the object's kind."""
    return {"PersistentVolume": "pv", "StorageClass": "storageclass"}[key.kind]


def explain_drift(drift: tuple[Drift, ...]) -> str:
    """Say what each field is, and what it should be."""
    return ", ".join(
        f"{one.field} is {'absent' if one.observed is None else one.observed}, not {one.desired}" for one in drift
    )


def block(
    desired: DesiredObject, problem: Problem, drift: tuple[Drift, ...] = (), *, is_waiting: bool = False
) -> BlockedAction:
    """Hold back whatever would be done to an object."""
    return BlockedAction(subject_of(desired.key), problem, drift, directory=desired.directory, is_waiting=is_waiting)

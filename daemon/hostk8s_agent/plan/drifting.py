"""Which planned changes put right what somebody changed, and which follow a change of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.actions import ApplyObject, ChangeDirectory, CreateDirectory, Drift, ReplaceObject
from hostk8s_agent.plan.differing import render_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.plan.actions import Action, Plan
    from hostk8s_agent.plan.desired import DesiredDirectory, DesiredObject, DesiredState
    from hostk8s_agent.plan.observed import ObservedState

EXISTENCE = "existence"
"""The field of what is not there at all any more."""


_OF_DIRECTORIES = (CreateDirectory, ChangeDirectory)


class FieldKey(NamedTuple):
    """One field of one object or directory: `subject` is `Kind/name` or a path."""

    subject: str
    field: str


@dataclass(frozen=True, slots=True)
class InPlace:
    """What a run saw in place of one subject: the fields that were desired then, and the object's UID.

    `where` tells one cluster or engine from its successor: what a re-created cluster does not have, nobody deleted.
    """

    fields: Mapping[str, str]
    uid: str
    where: str


@dataclass(frozen=True, slots=True)
class FoundDrift:
    """One field that somebody changed.

    `token` is the same for one change of an object, however many stacks look at it; empty for a directory, which is
    one stack's alone.
    """

    key: FieldKey
    drift: Drift
    token: str


def name_subject(action: Action) -> str:
    """Return what an action is about, as problems and events name it."""
    return action.path if isinstance(action, _OF_DIRECTORIES) else f"{action.key.kind}/{action.key.name}"


def find_drift(plan: Plan, before: Mapping[str, InPlace], where: Mapping[str, str]) -> tuple[FoundDrift, ...]:
    """Return the fields of the plan that were in place as they are desired now, so that somebody has changed them.

    `before` is keyed by subject. `where` says what the volume (`volume`) and the cluster (`cluster`) are now.
    """
    found: list[FoundDrift] = []
    for action in (*plan.directories, *plan.objects):
        subject = name_subject(action)
        known = before.get(subject)
        place = "volume" if isinstance(action, _OF_DIRECTORIES) else "cluster"
        if known is not None and known.where == where[place]:
            token = _name_change(action, known)
            found += [FoundDrift(FieldKey(subject, one.field), one, token) for one in _differing(action, known)]
    return tuple(found)


def find_in_place(
    desired: DesiredState, observed: ObservedState, remaining: Plan, where: Mapping[str, str]
) -> dict[str, InPlace]:
    """Return what of the desired state is in place, by subject: it was observed, and nothing is left to do for it.

    `remaining` is the plan made from `observed`.
    """
    pending = {name_subject(action) for action in (*remaining.directories, *remaining.objects)}
    pending |= {blocked.subject for blocked in remaining.blocked}
    found: dict[str, InPlace] = {}
    for directory in desired.directories:
        if directory.path not in pending:
            found[directory.path] = InPlace(render_directory(directory), "", where["volume"])
    for wanted in desired.objects:
        subject = f"{wanted.key.kind}/{wanted.key.name}"
        seen = None if isinstance(observed.objects, Problem) else observed.objects.get(wanted.key)
        if seen is not None and subject not in pending:
            found[subject] = InPlace(render_object(wanted), seen.uid, where["cluster"])
    return found


def render_directory(desired: DesiredDirectory) -> dict[str, str]:
    """Return what is desired of a directory, by field."""
    return {"owner": f"{desired.uid}:{desired.gid}", "permissions": f"{desired.mode:o}"}


def render_object(desired: DesiredObject) -> dict[str, str]:
    """Return what is desired of an object, by field."""
    return render_fields(desired.manifest)


def find_differences(action: Action) -> tuple[Drift, ...]:
    """Return what the action puts right: the fields that differ, or the existence of what is not there."""
    if isinstance(action, CreateDirectory) or (isinstance(action, ApplyObject) and action.uid is None):
        return (Drift(EXISTENCE, "present", None),)
    return action.drift


def _differing(action: Action, known: InPlace) -> tuple[Drift, ...]:
    """Return the differences that are nobody's wish: those whose desired value is what was in place."""
    if isinstance(action, ApplyObject) and action.uid is None and not _is_as_it_was(action, known):
        return ()  # it went to be replaced, because the contract asks for another one
    return tuple(
        one for one in find_differences(action) if one.field == EXISTENCE or known.fields.get(one.field) == one.desired
    )


def _name_change(action: Action, known: InPlace) -> str:
    """Return the token of the change that the action puts right."""
    if not isinstance(action, (ApplyObject, ReplaceObject)):
        return ""
    return f"gone {known.uid}" if action.uid is None else f"{action.uid} {action.resource_version}"


def _is_as_it_was(action: ApplyObject, known: InPlace) -> bool:
    wanted = render_fields(action.manifest)
    return all(wanted.get(field, value) == value for field, value in known.fields.items())

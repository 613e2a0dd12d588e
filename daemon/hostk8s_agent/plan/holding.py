"""A plan without the fields that are left alone for now: the rest of each object and directory is put right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.plan.actions import (
    Action,
    ApplyObject,
    BlockedAction,
    ChangeDirectory,
    DirectoryAction,
    ObjectAction,
    Plan,
    ReleaseVolume,
)
from hostk8s_agent.plan.drifting import EXISTENCE, FieldKey, find_differences, name_subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.actions import Drift


def hold_fields(plan: Plan, held: Mapping[FieldKey, Problem]) -> Plan:
    """Return the plan with these fields held back, each subject of them blocked with the problem of the first.

    An object is then applied without them: the field managers that fight for them have them. What is held back from
    being made at all (the field `existence`) takes the volumes of its directory with it, for the kubelet would make
    the directory as root's.
    """
    directories: list[DirectoryAction] = []
    objects: list[ObjectAction] = []
    blocked: list[BlockedAction] = []
    for action in plan.directories:
        wrong = _find_held(action, held)
        if wrong:
            blocked.append(BlockedAction(action.path, held[FieldKey(action.path, wrong[0].field)], wrong))
        rest = _leave_out_of_directory(action, {one.field for one in wrong})
        if rest is not None:
            directories.append(rest)
    unmade = {one.subject for one in blocked if one.drift[0].field == EXISTENCE}
    for apply in plan.objects:
        subject = name_subject(apply)
        wrong = _find_held(apply, held)
        if wrong:
            problem = held[FieldKey(subject, wrong[0].field)]
            blocked.append(BlockedAction(subject, problem, wrong, directory=apply.directory))
        kept = _leave_out_of_object(apply, {one.field for one in wrong})
        if kept is not None and directory_of(kept) not in unmade:
            objects.append(kept)
    return replace(plan, directories=tuple(directories), objects=tuple(objects), blocked=(*plan.blocked, *blocked))


def directory_of(action: ObjectAction) -> str:
    """Return the path of the directory that must be there before the action; empty where there is none.

    None is needed for a StorageClass, nor to release a volume that exists.
    """
    if isinstance(action, ReleaseVolume):
        return ""
    host_path = action.manifest.get("spec", {}).get("hostPath", {})
    return str(host_path.get("path", ""))


def omit_fields(manifest: Mapping[str, Any], fields: frozenset[str], path: str = "") -> dict[str, Any]:
    """Return the manifest without the fields, whose names are dotted paths as in `Drift`."""
    kept: dict[str, Any] = {}
    for name, value in manifest.items():
        here = f"{path}.{name}" if path else name
        if here not in fields:
            kept[name] = omit_fields(value, fields, here) if isinstance(value, dict) else value
    return kept


def _find_held(action: Action, held: Mapping[FieldKey, Problem]) -> tuple[Drift, ...]:
    subject = name_subject(action)
    return tuple(one for one in find_differences(action) if FieldKey(subject, one.field) in held)


def _leave_out_of_directory(action: DirectoryAction, fields: set[str]) -> DirectoryAction | None:
    if not fields:
        return action
    if not isinstance(action, ChangeDirectory):
        return None
    rest = replace(
        action,
        changes_owner=action.changes_owner and "owner" not in fields,
        changes_mode=action.changes_mode and "permissions" not in fields,
        drift=tuple(one for one in action.drift if one.field not in fields),
    )
    return rest if rest.drift else None


def _leave_out_of_object(action: ObjectAction, fields: set[str]) -> ObjectAction | None:
    if not fields:
        return action
    if not isinstance(action, ApplyObject):
        return None  # it is replaced for the sake of just these
    rest = tuple(one for one in action.drift if one.field not in fields)
    return replace(action, manifest=omit_fields(action.manifest, frozenset(fields)), drift=rest) if rest else None

"""What a person is told of one stack, from what was desired, observed, and is still to be done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.contract.quantities import parse_quantity
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.reserving import is_reserved
from hostk8s_agent.status.model import DirectoryStatus, PartState, StackState, StackStatus, VolumeStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.plan.actions import BlockedAction, Plan
    from hostk8s_agent.plan.desired import DesiredDirectory, DesiredObject, DesiredState
    from hostk8s_agent.plan.observed import ObservedObject, ObservedState

# A PersistentVolume in one of these can be, or is, used by the claim that it is for. `Manifest` is that of an
# object that is written to a file because there is no cluster.
_USABLE_PHASES = frozenset({"Available", "Bound", "Manifest"})


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that was tried and failed. `subject` is as in `BlockedAction`."""

    subject: str
    problem: Problem
    is_retryable: bool


@dataclass(frozen=True, slots=True)
class StackFacts:
    """All that is known of a stack after a run.

    `remaining` is the plan made from what was observed *after* the apply: what is not in it is in place, seen.
    `contract_problems` are those of the file, while the last good version (`desired`) stays in force.
    """

    desired: DesiredState
    observed: ObservedState
    remaining: Plan
    failures: tuple[Failure, ...]
    contract_problems: tuple[Problem, ...]
    file: str
    reconciled_at: str


def describe_stack(facts: StackFacts) -> StackStatus:
    """Return the stack's status. It is Ready only when everything was seen in place and usable."""
    blocked = {one.subject: one for one in facts.remaining.blocked}
    failed = {one.subject: one for one in facts.failures}
    directories = tuple(_describe_directory(one, facts, blocked, failed) for one in facts.desired.directories)
    volumes = tuple(
        _describe_volume(one, facts, blocked, failed)
        for one in facts.desired.objects
        if one.key.kind == "PersistentVolume"
    )
    phase_problems = tuple(filter(None, (_explain_phase(one) for one in _volumes(facts))))
    problems = _distinct(
        (
            *facts.contract_problems,
            *(one.problem for one in facts.remaining.blocked),
            *(one.problem for one in facts.failures),
            *phase_problems,
            *facts.remaining.informed,
        )
    )
    state = _find_state(facts, directories, volumes)
    return StackStatus(
        name=facts.desired.stack,
        file=facts.file,
        state=state,
        message=_summarize(state, directories, volumes, problems),
        last_reconciled_at=facts.reconciled_at,
        directories=directories,
        volumes=volumes,
        problems=problems,
    )


def describe_invalid(stack: str, file: str, problems: tuple[Problem, ...], reconciled_at: str) -> StackStatus:
    """Return the status of a stack whose contract was never valid, so that nothing is in force."""
    return StackStatus(stack, file, "Invalid", _first(problems), reconciled_at, problems=problems)


def _find_state(
    facts: StackFacts, directories: tuple[DirectoryStatus, ...], volumes: tuple[VolumeStatus, ...]
) -> StackState:
    if facts.contract_problems:
        return "Invalid"
    parts = {one.state for one in directories} | {one.state for one in volumes}
    is_held = any(not one.is_waiting for one in facts.remaining.blocked)
    if is_held or "Blocked" in parts or any(not one.is_retryable for one in facts.failures):
        return "Blocked"
    is_unfinished = bool(facts.remaining.blocked or facts.remaining.directories or facts.remaining.objects)
    return "Pending" if is_unfinished or facts.failures or "Pending" in parts else "Ready"


def _describe_directory(
    desired: DesiredDirectory,
    facts: StackFacts,
    blocked: Mapping[str, BlockedAction],
    failed: Mapping[str, Failure],
) -> DirectoryStatus:
    state, message = _describe_part(desired.path, blocked, failed)
    todo = next((one for one in facts.remaining.directories if one.path == desired.path), None)
    if todo is not None and state == "Ready":
        state, message = "Pending", todo.reason
    return DirectoryStatus(
        name=desired.name,
        path=desired.path,
        owner=f"{desired.uid}:{desired.gid}",
        permissions=f"{desired.mode:o}",
        state=state,
        message=message,
        declared_bytes=_find_declared_bytes(desired.name, facts),
    )


def _find_declared_bytes(directory: str, facts: StackFacts) -> int:
    declared = (
        one.manifest["spec"]["capacity"]["storage"] for one in facts.desired.objects if one.directory == directory
    )
    # Rounded up, as Kubernetes does with what is finer than a byte.
    return next((math.ceil(parse_quantity(size)) for size in declared), 0)


def _describe_volume(
    desired: DesiredObject,
    facts: StackFacts,
    blocked: Mapping[str, BlockedAction],
    failed: Mapping[str, Failure],
) -> VolumeStatus:
    state, message = _describe_part(f"{desired.key.kind}/{desired.key.name}", blocked, failed)
    held = next((one for one in blocked.values() if one.directory == desired.directory), None)
    if held is not None and state == "Ready":
        # It was not planned, because its directory is held back: what stands there may be another stack's.
        state, message = ("Pending" if held.is_waiting else "Blocked"), _explain_held(desired)
    observed = _find_observed(facts, desired)
    spec = desired.manifest["spec"]
    if state == "Ready" and observed is None:
        state, message = "Pending", "it is not applied yet"
    elif state == "Ready" and observed is not None and observed.phase not in _USABLE_PHASES:
        is_failed = observed.phase == "Failed"
        state, message = "Blocked" if is_failed else "Pending", f"its phase is {observed.phase or 'not set yet'}"
    elif state == "Ready" and any(one.key == desired.key for one in facts.remaining.objects):
        state, message = "Pending", "a change is not applied yet"
    awaited = observed.claim if observed is not None and is_reserved(observed) else ""
    if awaited and state == "Ready":
        message = f"reserved for the claim {awaited}, which has not come"
    return VolumeStatus(
        name=desired.key.name,
        directory=desired.directory or "",
        phase=observed.phase if observed else "",
        storage_class=spec["storageClassName"],
        capacity=spec["capacity"]["storage"],
        claim=observed.claim if observed and not awaited else "",
        state=state,
        message=message,
        reserved_for=awaited,
    )


def _describe_part(
    subject: str, blocked: Mapping[str, BlockedAction], failed: Mapping[str, Failure]
) -> tuple[PartState, str]:
    if held := blocked.get(subject):
        return ("Pending" if held.is_waiting else "Blocked"), held.problem.message
    if failure := failed.get(subject):
        return ("Pending" if failure.is_retryable else "Blocked"), failure.problem.message
    return "Ready", ""


def _explain_held(desired: DesiredObject) -> str:
    return f"it waits for its directory {desired.directory}"


def _find_observed(facts: StackFacts, desired: DesiredObject) -> ObservedObject | None:
    return None if isinstance(facts.observed.objects, Problem) else facts.observed.objects.get(desired.key)


def _volumes(facts: StackFacts) -> tuple[ObservedObject, ...]:
    found = (_find_observed(facts, one) for one in facts.desired.objects if one.key.kind == "PersistentVolume")
    return tuple(one for one in found if one is not None)


def _explain_phase(volume: ObservedObject) -> Problem | None:
    if volume.phase == "Released" and volume.claim_uid:
        return Problem(
            "VolumeReleased",
            f"PersistentVolume/{volume.key.name} was held by the claim {volume.claim}, which is gone; "
            "no claim can bind to it",
            f"make it bindable for a claim of that name: hostk8s-agent release {volume.key.name} --for {volume.claim} "
            "(the data stays), or set rebind_released to true",
        )
    if volume.phase == "Failed":
        return Problem(
            "VolumeFailed",
            f"PersistentVolume/{volume.key.name} has failed",
            f"see why: kubectl describe pv {volume.key.name}",
        )
    return None


def _summarize(
    state: StackState,
    directories: tuple[DirectoryStatus, ...],
    volumes: tuple[VolumeStatus, ...],
    problems: tuple[Problem, ...],
) -> str:
    if state == "Ready":
        bound = sum(volume.phase == "Bound" for volume in volumes)
        return f"{_count(len(directories), 'directory')}, {_count(len(volumes), 'volume')}, {bound} bound"
    if state == "Invalid":
        return f"{_first(problems)}; the last good version stays in force"
    waiting = [one.message for one in directories if one.state != "Ready"]
    waiting += [one.message for one in volumes if one.state != "Ready"]
    return _first(problems) or next(iter(waiting), "changes are not applied yet")


def _first(problems: tuple[Problem, ...]) -> str:
    if not problems:
        return ""
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].message}{rest}"


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _distinct(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems))

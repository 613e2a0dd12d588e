"""What a person is told of what a stack has beyond its contract: it is on its way out, or stays for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.contract.naming import LABEL_DIRECTORY
from hostk8s_agent.errors import Problem
from hostk8s_agent.plan.wording import subject_of
from hostk8s_agent.status.model import StackStatus, VolumeStatus

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.observed import ObservedObject
    from hostk8s_agent.plan.pruning import Verdict


@dataclass(frozen=True, slots=True)
class LeftoverFacts:
    """The leftovers of one stack, none of them gone; what keeps those that nobody uses; the grace period."""

    verdicts: tuple[Verdict, ...]
    holds: Mapping[ObjectKey, Problem]
    grace_seconds: float

    def reason_of(self, verdict: Verdict) -> Problem | None:
        """Why a leftover is still there, None when it is only its grace period."""
        return verdict.problem or self.holds.get(verdict.leftover.key)


def add_leftovers(status: StackStatus, facts: LeftoverFacts) -> StackStatus:
    """Return the status of a stack that has a contract, with what it has beyond that. Ready it is without any only."""
    if not facts.verdicts:
        return status
    problems = _find_problems(facts)
    names = ", ".join(subject_of(one.leftover.key) for one in facts.verdicts)
    told = problems[0].message if problems else f"the contract asks no more for {names}: {_explain_grace(facts)}"
    is_ready = status.state == "Ready"
    return replace(
        status,
        state="Removing" if is_ready else status.state,
        message=told if is_ready else status.message,
        volumes=(*status.volumes, *_describe_volumes(facts)),
        problems=tuple(dict.fromkeys((*status.problems, *problems))),
    )


def describe_gone(before: StackStatus, facts: LeftoverFacts, loss: Problem | None = None) -> StackStatus:
    """Return the status of a stack whose contract is gone, while some of its objects are still there.

    `loss` says that the volume with its data is lost: then nothing is said to be kept.
    """
    if loss is not None:
        return _describe_gone_with_volume(before, facts, loss)
    held = _find_problems(facts)
    free = [one.leftover.key.name for one in facts.verdicts if facts.reason_of(one) is None]
    pruned = f", its objects are pruned: {' '.join(free)}" if free else ""
    otherwise = f"nothing: {_explain_grace(facts)}" if free else "see what keeps its objects"
    problem = Problem(
        "ContractGone",
        f"the contract is gone; its data is kept{pruned}",
        f"bring {before.file} back if the stack is still needed; else {otherwise}",
    )
    kept = before.as_unseen("kept, since its contract is gone")
    return replace(
        kept,
        state="Removing",
        message=f"the contract is gone; its data is kept, and {held[0].message}" if held else problem.message,
        volumes=_describe_volumes(facts),
        problems=(problem, *held),
    )


def _describe_gone_with_volume(before: StackStatus, facts: LeftoverFacts, loss: Problem) -> StackStatus:
    gone = Problem(
        "ContractGone",
        "the contract is gone, and so is the volume that held its data; nothing of it is pruned meanwhile",
        f"bring {before.file} back if the stack is still needed",
    )
    lost = before.as_unseen("lost with its volume")
    return replace(
        lost,
        state="Removing",
        message=f"the contract is gone, and {loss.message}",
        volumes=_describe_volumes(facts),
        problems=(loss, gone, *(one for one in _find_problems(facts) if one != loss)),
    )


def _describe_volumes(facts: LeftoverFacts) -> tuple[VolumeStatus, ...]:
    found = ((one, one.found) for one in facts.verdicts if one.leftover.key.kind == "PersistentVolume")
    return tuple(_describe_volume(verdict, seen, facts) for verdict, seen in found if seen is not None)


def _describe_volume(verdict: Verdict, seen: ObservedObject, facts: LeftoverFacts) -> VolumeStatus:
    spec, labels = _mapping(seen.manifest, "spec"), _mapping(seen.manifest, "metadata", "labels")
    reason = facts.reason_of(verdict)
    return VolumeStatus(
        name=seen.key.name,
        directory=str(labels.get(LABEL_DIRECTORY, "")),
        phase=seen.phase,
        storage_class=str(spec.get("storageClassName", "")),
        capacity=str(_mapping(spec, "capacity").get("storage", "")),
        claim=seen.claim,
        state="Removing",
        message=reason.message if reason is not None else f"no contract asks for it: {_explain_grace(facts)}",
    )


def _find_problems(facts: LeftoverFacts) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(filter(None, map(facts.reason_of, facts.verdicts))))


def _explain_grace(facts: LeftoverFacts) -> str:
    return f"pruned once that has been so for {facts.grace_seconds:g} s (the data stays)"


def _mapping(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    level: Any = value
    for part in path:
        level = level.get(part) if isinstance(level, Mapping) else None
    return level if isinstance(level, Mapping) else {}

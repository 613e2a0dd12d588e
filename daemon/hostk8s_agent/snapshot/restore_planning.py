"""What a restore would do, and what speaks against it before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.errors import AgentError, ContractError
from hostk8s_agent.snapshot.errors import (
    NothingToUndoError,
    RestoreUnfitError,
    SnapshotDamagedError,
    SnapshotUnknownError,
)
from hostk8s_agent.snapshot.exporting import pick
from hostk8s_agent.snapshot.model import TAG_BEFORE_RESTORE, SnapshotState
from hostk8s_agent.snapshot.requests import CreateRequest, RestorePlan
from hostk8s_agent.snapshot.restoring import Replacement
from hostk8s_agent.snapshot.selecting import find_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.ports import Reached
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.snapshot.requests import RestoreRequest, Surroundings
    from hostk8s_agent.volume.access import VolumeAccess


def select_for_restore(repository: Repository, request: RestoreRequest, now: datetime) -> SnapshotManifest:
    """Return the snapshot that is to be restored.

    Raises `SnapshotDamagedError`, `NothingToUndoError`, and what `find_snapshot` raises.
    """
    if not request.is_undo:
        snapshot = find_snapshot(repository, request.which, request.stack, now)
        if snapshot.state is SnapshotState.DAMAGED:
            raise SnapshotDamagedError(
                f"the snapshot {snapshot.id} is damaged: {snapshot.marks.reason}",
                hint="restore another one: hostk8s-agent snapshot list",
            )
        return snapshot
    repository.require_known()
    safety = [one for one in repository.load_all()[0] if one.stack == request.stack and TAG_BEFORE_RESTORE in one.tags]
    if not safety:
        raise NothingToUndoError(
            f"no restore of {request.stack} can be undone", hint="hostk8s-agent snapshot list shows what there is"
        )
    return safety[-1]


def build_safety_request(plan: RestorePlan, reached: Callable[[], Reached] | None) -> CreateRequest:
    """Return what asks for the snapshot of what is there before a restore."""
    return CreateRequest(
        plan.target,
        name=f"before {plan.snapshot.id}",
        tags=(TAG_BEFORE_RESTORE,),
        skips_missing=True,
        reached=reached,
    )


def load_target(surroundings: Surroundings, stack: str) -> Contract:
    """Return the contract that says where what is restored belongs. Raises `RestoreUnfitError` where it is gone."""
    try:
        return surroundings.load_contract(stack)[0]
    except ContractError:
        raise
    except AgentError as error:
        raise RestoreUnfitError(
            f"{stack} has no contract, which would say where its directories are",
            hint="save its contract again, or restore into another stack (--as STACK) or a folder (--to DIR)",
        ) from error


def plan_restore(
    repository: Repository,
    snapshot: SnapshotManifest,
    request: RestoreRequest,
    contract: Contract,
    users: Sequence[str],
) -> RestorePlan:
    """Return what putting a snapshot into the contract's directories would do.

    Raises `RestoreUnfitError` for what the contract has no place for, `SnapshotUnknownError` for a path that is not in
    the snapshot.
    """
    replacements = _choose(repository, snapshot, request, contract)
    taken = {one.taken.name for one in replacements}
    left = () if request.path else tuple(one.path for one in contract.directories if one.name not in taken)
    return RestorePlan(snapshot, contract, replacements, left, tuple(users))


def require_replaceable(access: VolumeAccess, replacements: Sequence[Replacement]) -> None:
    """Raise `RestoreUnfitError` for a place in which something else stands than can be replaced by a restore.

    `NothingToUndoError` for an entry that is to go and is not there.
    """
    for one in replacements:
        if one.removed and access.observe_directories([one.path])[0].kind == "absent":
            raise NothingToUndoError(
                f"{one.path} is not there, and was not there before the last restore",
                hint="hostk8s-agent snapshot ls ID shows what a snapshot holds; nothing was changed",
            )
    places: dict[str, str] = {}
    for one in replacements:
        inner = one.inner.split("/")[:-1] if one.inner else []
        ways = [one.target.path, *(f"{one.target.path}/{'/'.join(inner[: i + 1])}" for i in range(len(inner)))]
        places |= dict.fromkeys(ways, one.path)
    for seen in access.observe_directories(list(places)):
        if seen.kind not in ("directory", "absent"):
            what = seen.detail or f"a {seen.kind} stands there"
            raise RestoreUnfitError(
                f"{places[seen.path]} cannot be replaced: {seen.obstacle or seen.path}: {what}",
                hint="look at it, and move it away; nothing was replaced",
            )


def _choose(
    repository: Repository, snapshot: SnapshotManifest, request: RestoreRequest, contract: Contract
) -> tuple[Replacement, ...]:
    declared = {one.name: one for one in contract.directories}
    wanted = [one for one in snapshot.directories if not request.path or one.name == _name_of(request.path)]
    if unknown := [one.name for one in wanted if one.name not in declared]:
        raise RestoreUnfitError(
            f"the contract of {contract.stack} has no directory {', '.join(unknown)}, which {snapshot.id} holds",
            hint="add it to the contract, or restore with --to DIR and copy what you need",
        )
    if not request.path:
        return tuple(Replacement(one, declared[one.name]) for one in wanted)
    try:
        taken, part = pick(repository, snapshot, request.path)
    except SnapshotUnknownError:
        inner = request.path.strip("/").partition("/")[2]
        if not request.is_undo or not wanted or not inner:
            raise
        # There was nothing before the restore that is undone.
        return (Replacement(wanted[0], declared[wanted[0].name], removed=inner),)
    return (Replacement(taken, declared[taken.name], part),)


def _name_of(path: str) -> str:
    return path.strip("/").partition("/")[0]

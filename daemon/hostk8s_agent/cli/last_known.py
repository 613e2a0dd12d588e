"""The status without an agent: what the contracts say now, and what was last known to be true.

Nothing shown here is Ready: nobody looks any more (design, 8.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent import __version__
from hostk8s_agent.cli.contract_loading import load_contracts
from hostk8s_agent.control.errors import UnknownStackError
from hostk8s_agent.errors import Problem
from hostk8s_agent.status.model import (
    AgentInfo,
    AgentStatus,
    ClusterStatus,
    DirectoryStatus,
    DockerStatus,
    StackStatus,
    VolumeStatus,
    WatchStatus,
    render_agent_status,
    render_json,
)
from hostk8s_agent.status.records import DATABASE_NAME, find_holders, load_last_known
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.contract.conflicts import Conflict
    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.workspace import Workspace

Document = dict[str, Any]

NOT_RUNNING = "no agent is running"
UNKNOWN = "Unknown"


def load_last_known_status(workspace: Workspace, stack: str | None) -> tuple[Document, str]:
    """Return the status document of a workspace without an agent, and as of when its knowledge is (empty: none).

    With `stack`, just that stack is in it. Raises `UnknownStackError` when there is none of that name.
    """
    known = load_last_known(state_folder(workspace) / DATABASE_NAME)
    loaded = load_contracts(workspace, find_holders(known))
    stacks = {
        name: _describe_contract(name, contract, loaded.file_of(name), known.get(name))
        for name, contract in loaded.contracts.items()
    }
    for name, conflicts in loaded.conflicts.items():
        stacks[name] = _add_conflicts(stacks[name], conflicts)
    for name, problems in loaded.invalid.items():
        stacks[name] = render_json(
            StackStatus(name, loaded.file_of(name), "Invalid", problems[0].message, problems=problems)
        )
    for name in known.keys() - stacks.keys():
        stacks[name] = _describe_gone(known[name], may_be_hidden=loaded.may_hide(name))
    names = sorted(stacks)
    if stack is not None:
        if stack not in stacks:
            raise UnknownStackError(stack, names)
        names = [stack]
    document = render_agent_status(_describe_frame(workspace, loaded.problems))
    document["stacks"] = [stacks[name] for name in names]
    as_of = max((str(known[name]["lastReconciledAt"]) for name in names if name in known), default="")
    return document, as_of


def _describe_frame(workspace: Workspace, problems: tuple[Problem, ...]) -> AgentStatus:
    words = Problem("AgentNotRunning", f"{NOT_RUNNING} for {workspace.root}", "start it with: hostk8s-agent run")
    return AgentStatus(
        agent=AgentInfo("NotRunning", __version__, 0, str(workspace.root), ""),
        docker=DockerStatus(UNKNOWN, "", "", "", message=NOT_RUNNING),
        cluster=ClusterStatus(UNKNOWN, "", "", "", message=NOT_RUNNING),
        watch=WatchStatus("", (), ""),
        problems=(words, *problems),
    )


def _describe_contract(name: str, contract: Contract, file: str, known: Document | None) -> Document:
    """What one valid contract asks for, with what was known of it."""
    past = known or {}
    told = StackStatus(
        name=name,
        file=file,
        state="Pending",
        message=_describe_past(past),
        last_reconciled_at=str(past.get("lastReconciledAt", "")),
        last_changed_at=str(past.get("lastChangedAt", "")),
        directories=tuple(
            DirectoryStatus(
                name=directory.name,
                path=directory.path,
                owner=str(directory.owner),
                permissions=f"{directory.permissions:o}",
                state="Pending",
                message=_describe_past(_find_part(past, "directories", directory.name)),
            )
            for directory in contract.directories
        ),
        volumes=tuple(
            _describe_volume(contract, directory.name, directory.storage_class, directory.size, past)
            for directory in contract.directories
        ),
    )
    rendered: Document = render_json(told)
    # What was wrong when an agent last looked is wrong still, as far as anyone knows.
    rendered["problems"] = list(past.get("problems", ()))
    rendered["drift"] = list(past.get("drift", ()))
    return rendered


def _describe_volume(
    contract: Contract, directory: str, storage_class: str, capacity: str, past: Mapping[str, Any]
) -> VolumeStatus:
    chosen = next(one for one in contract.directories if one.name == directory)
    name = contract.persistent_volume_name_of(chosen)
    known = _find_part(past, "volumes", name)
    return VolumeStatus(
        name=name,
        directory=directory,
        phase=str(known.get("phase", "")),
        storage_class=storage_class,
        capacity=capacity,
        claim=str(known.get("claim", "")),
        state="Pending",
        message=_describe_past(known),
    )


def _add_conflicts(stack: Document, conflicts: tuple[Conflict, ...]) -> Document:
    """Tell a stack of its conflicts. One that loses a claim is Blocked by it, whoever runs."""
    told = {**stack, "problems": render_json([conflict.problem for conflict in conflicts])}
    lost = next((conflict for conflict in conflicts if conflict.is_blocked), None)
    return told if lost is None else {**told, "state": "Blocked", "message": lost.problem.message}


def _describe_gone(known: Document, *, may_be_hidden: bool) -> Document:
    why = "its contract cannot be seen" if may_be_hidden else "its contract is gone"
    message = f"{why}; {NOT_RUNNING}"
    parts = {
        kind: [{**part, "state": "Pending", "message": _describe_past(part)} for part in known.get(kind, ())]
        for kind in ("directories", "volumes")
    }
    return {**known, **parts, "state": "Pending" if may_be_hidden else "Removing", "message": message}


def _describe_past(known: Mapping[str, Any]) -> str:
    if not known:
        return f"never seen by an agent; {NOT_RUNNING}"
    when = f" at {known['lastReconciledAt']}" if known.get("lastReconciledAt") else ""
    told = f": {known['message']}" if known.get("message") and known["state"] != "Ready" else ""
    return f"was {known['state']}{when}{told}; {NOT_RUNNING}"


def _find_part(past: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return next((part for part in past.get(kind, ()) if part["name"] == name), {})

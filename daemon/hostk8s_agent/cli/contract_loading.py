"""Contracts read and judged by the command itself: for `validate`, and for `status` without an agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.contract import reading
from hostk8s_agent.contract.conflicts import ClaimIndex
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.reporting import Report, UnreadableError
from hostk8s_agent.errors import ContractError, Problem
from hostk8s_agent.watch.reading import read_contract_file
from hostk8s_agent.watch.scan import scan_contract_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hostk8s_agent.contract.conflicts import Conflict
    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.contract.reading import Node
    from hostk8s_agent.watch.scan import ScanResult
    from hostk8s_agent.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LoadedContracts:
    """All contracts of a workspace. `contracts` are the valid ones; `problems` concern no stack alone.

    `invalid` holds the problems of each file that is not valid, `conflicts` what the stack of each other one is told.
    """

    contracts: dict[str, Contract]
    invalid: dict[str, tuple[Problem, ...]]
    conflicts: dict[str, tuple[Conflict, ...]]
    problems: tuple[Problem, ...]
    files: dict[str, str] = field(default_factory=dict)
    scan: ScanResult | None = None

    def file_of(self, stack: str) -> str:
        """What the stack's contract is called in problems."""
        return self.files[stack]

    def may_hide(self, stack: str) -> bool:
        """Whether the stack could be there although it was not seen."""
        return self.scan is not None and self.scan.may_hide(stack)


def load_contracts(workspace: Workspace, holders: Mapping[str, str] | None = None) -> LoadedContracts:
    """Read every contract of the workspace. Raises nothing: what is wrong is in the result.

    `holders` says which stack holds which path and PersistentVolume already, and so keeps it in a conflict.
    """
    scan = scan_contract_files(workspace.stacks_root)
    files = {stack: workspace.relative(file.path) for stack, file in scan.files.items()}
    contracts: dict[str, Contract] = {}
    invalid: dict[str, tuple[Problem, ...]] = {}
    for stack, file in scan.files.items():
        try:
            contracts[stack] = load_contract(file.path, files[stack], stack)
        except ContractError as error:
            invalid[stack] = error.problems
    conflicts = find_conflicts(contracts.values(), holders)
    problems = tuple(relate(problem, workspace) for problem in scan.problems)
    return LoadedContracts(contracts, invalid, conflicts, problems, files, scan)


def load_contract(path: Path, shown_as: str, stack: str) -> Contract:
    """Return the contract in a file. Raises `ContractError` with all its problems."""
    return parse_contract(read_contract_file(path, shown_as), file=shown_as, stack=stack)


def find_declared_name(path: Path) -> str | None:
    """Return what `metadata.name` of a contract file says, None where it says nothing that can be read."""
    try:
        root = reading.read_document(read_contract_file(path, str(path)), Report(str(path)))
    except (ContractError, UnreadableError):
        return None
    name = _find_value(_find_value(root, "metadata"), "name")
    return name.text if isinstance(name, reading.Scalar) and not name.is_null else None


def _find_value(node: Node | None, key: str) -> Node | None:
    pairs = node.pairs if isinstance(node, reading.Mapping) else ()
    return next((value for name, value in pairs if name.text == key), None)


def find_conflicts(
    contracts: Iterable[Contract], holders: Mapping[str, str] | None = None
) -> dict[str, tuple[Conflict, ...]]:
    """Return, for each stack that has a part in a conflict, what it is told; those that it loses first."""
    index, stacks = ClaimIndex(holders), []
    for contract in contracts:
        index.update(contract)
        stacks.append(contract.stack)
    found = {stack: index.conflicts_of(stack) for stack in stacks}
    return {stack: conflicts for stack, conflicts in found.items() if conflicts}


def relate(problem: Problem, workspace: Workspace) -> Problem:
    """Return the problem with its file relative to the workspace."""
    return workspace.shorten(problem)

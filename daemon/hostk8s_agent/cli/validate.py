"""`validate`: are the contracts good? Without an agent, Docker or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cli.contract_loading import find_conflicts, find_declared_name, load_contract, load_contracts
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import OutputFormat, escape_controls, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.errors import ContractError, Problem
from hostk8s_agent.status.model import render_json
from hostk8s_agent.watch.scan import scan_contract_files
from hostk8s_agent.workspace import CONTRACT_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hostk8s_agent.contract.conflicts import Conflict
    from hostk8s_agent.contract.model import Contract

# A contract's stack is the path below the nearest folder of one of these names: `software/stacks/` in a workspace,
# `contracts/examples/` in this repository.
STACKS_FOLDER_NAMES = ("stacks", "examples")


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to judge: how many contracts, and every problem of them."""

    number: int
    problems: tuple[Problem, ...]


def validate(paths: Sequence[Path], output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Judge the contracts at the paths (none: all of the workspace) and show their problems."""
    found = _judge_paths(paths) if paths else _judge_workspace(workspace)
    if output == "table":
        for problem in found.problems:
            write(escape_controls(str(problem)))
    else:
        write_document(render_json(found.problems), output)
    say(_summarize(found))
    return ExitCode.NOT_READY if found.problems else ExitCode.OK


def _judge_workspace(directory: Path | None) -> _Found:
    loaded = load_contracts(choose_workspace(directory))
    invalid = (problem for problems in loaded.invalid.values() for problem in problems)
    return _Found(len(loaded.files), (*loaded.problems, *invalid, *_tell(loaded.conflicts)))


def _judge_paths(paths: Sequence[Path]) -> _Found:
    problems: list[Problem] = []
    contracts: dict[str, Contract] = {}
    files: dict[Path, None] = {}
    for path in paths:
        found, unseen = _list_files(path)
        files |= dict.fromkeys(found)
        problems += unseen
    for file in files:
        try:
            contract = load_contract(file, str(file), _choose_stack(file))
        except ContractError as error:
            problems += error.problems
        else:
            if contract.stack in contracts:
                say(f"{file}: not compared with the others: {contracts[contract.stack].file} is of the same stack")
            contracts.setdefault(contract.stack, contract)
    return _Found(len(files), (*problems, *_tell(find_conflicts(contracts.values()))))


def _tell(conflicts: Mapping[str, tuple[Conflict, ...]]) -> Iterator[Problem]:
    return (conflict.problem for of_stack in conflicts.values() for conflict in of_stack)


def _list_files(path: Path) -> tuple[list[Path], list[Problem]]:
    """Return the contracts at a path: itself, or all that lie in the folder."""
    if not path.is_dir() or path.name == CONTRACT_FILE_NAME:
        return [path], []
    scan = scan_contract_files(path)
    own = path / CONTRACT_FILE_NAME
    # In a stack's own folder the scan finds a contract that, seen from there, belongs to no stack.
    found = [own] if own.exists() else []
    found += [file.path for file in scan.files.values()]
    problems = [problem for problem in scan.problems if problem.code != "ContractWithoutStack"]
    if not found and not problems:
        problems.append(
            Problem("NoContract", f"no folder in {path} holds a {CONTRACT_FILE_NAME}", "check the path", str(path))
        )
    return found, problems


def _choose_stack(file: Path) -> str:
    """Return the name that the stack must have by where the file lies, else the one that it gives itself."""
    # First as the path is written: a folder that is a link gives its own name to the stack, not its target's.
    for folder in (Path.cwd() / file.parent, file.parent.resolve()):
        for above in folder.parents:
            if above.name in STACKS_FOLDER_NAMES:
                return folder.relative_to(above).as_posix()
    names = " or ".join(STACKS_FOLDER_NAMES)
    say(f"{file}: in no folder named {names}, so metadata.name is not compared with its folder")
    return find_declared_name(file) or folder.name


def _summarize(found: _Found) -> str:
    contracts = f"{found.number} contract{'' if found.number == 1 else 's'}"
    number = len(found.problems)
    return f"{contracts}: {'no problem' if not number else '1 problem' if number == 1 else f'{number} problems'}"

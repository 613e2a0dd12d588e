"""Each rule has a file in contracts/invalid/ that breaks it, and only it, at the place its first line says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostk8s_agent.contract.conflicts import ClaimIndex
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.errors import ContractError, Problem

INVALID = Path(__file__).parents[2] / "contracts" / "invalid"
EXPECT = re.compile(rb"# expect: (?P<code>\w+) at (?P<line>\d+):(?P<column>\d+)(?: of stack (?P<stack>\S+))?\n")

# 256 KiB of nothing, and 5,000 values, are made in test_reading.py instead of being kept.
MADE_IN_TESTS = {Code.FILE_TOO_LARGE, Code.YAML_TOO_MANY_VALUES}
BETWEEN_CONTRACTS = {Code.PATH_CONFLICT, Code.PERSISTENT_VOLUME_NAME_CONFLICT}


def expectation_of(file: Path) -> tuple[str, int, int, str]:
    """Return the code, line, column and stack that the first line of a file names."""
    expected = EXPECT.match(file.read_bytes())
    assert expected, f"{file} does not start with '# expect: Code at line:column'"
    stack = (expected["stack"] or b"sample").decode()
    return expected["code"].decode(), int(expected["line"]), int(expected["column"]), stack


def problems_of(file: Path, stack: str) -> tuple[Problem, ...]:
    """Return what is wrong with a file."""
    with pytest.raises(ContractError) as raised:
        parse_contract(file.read_bytes(), file=file.name, stack=stack)
    return raised.value.problems


def kebab_case(code: str) -> str:
    """Return a code as the files are named: `PathNotClean` is `path-not-clean`."""
    return re.sub("(?<!^)(?=[A-Z][a-z])", "-", code).lower()


@pytest.mark.parametrize("file", sorted(INVALID.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_file_fails_for_its_one_rule_at_its_place(file: Path) -> None:
    """The problem has the code, the line and the column of the file's first line, and a hint."""
    code, line, column, stack = expectation_of(file)

    problems = problems_of(file, stack)

    # With too many problems, the one that says so comes last.
    found = problems[-1] if code == Code.TOO_MANY_PROBLEMS else problems[0]
    assert (code, file.name, line, column) == (found.code, found.file, found.line, found.column)
    assert code == Code.TOO_MANY_PROBLEMS or len(problems) == 1
    assert kebab_case(code) == file.stem
    assert all(problem.hint for problem in problems)


def test_every_rule_has_a_file() -> None:
    """No code is without a file that triggers it."""
    files = [*INVALID.glob("*.yaml"), *INVALID.glob("*/*.yaml")]
    with_file = {expectation_of(file)[0] for file in files}

    assert set(Code) - MADE_IN_TESTS == with_file


@pytest.mark.parametrize(
    "folder", sorted(path for path in INVALID.iterdir() if path.is_dir()), ids=lambda path: path.name
)
def test_both_sides_of_a_conflict_are_told(folder: Path) -> None:
    """Each of two contracts is valid; together, each is told at its own place, and one is blocked."""
    index = ClaimIndex()
    stacks = {}
    for name in ("a.yaml", "b.yaml"):
        file = folder / name
        _, _, _, stack = expectation_of(file)
        stacks[stack] = file
        index.update(parse_contract(file.read_bytes(), file=f"{folder.name}/{name}", stack=stack))

    blocked = []
    for stack, file in stacks.items():
        code, line, column, _ = expectation_of(file)
        (conflict,) = index.conflicts_of(stack)
        problem = conflict.problem
        assert (code, f"{folder.name}/{file.name}", line, column) == (
            problem.code,
            problem.file,
            problem.line,
            problem.column,
        )
        other = stacks[conflict.other_stack]
        assert f"{folder.name}/{other.name}:{conflict.other.line}" in problem.message
        blocked.append(conflict.is_blocked)
    assert blocked == [False, True], "the first by name keeps the claim"

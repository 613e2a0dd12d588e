"""Collects the problems of one file, so that all of them are told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import escape
from hostk8s_agent.errors import ContractError, Problem

# A file of 256 KiB can hold 60,000 unknown fields. Nobody reads that many problems, and each costs a search.
MAX_PROBLEMS: Final = 50


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file. Lines and columns count from 1; a column is a character, not a byte."""

    line: int
    column: int


START: Final = Position(1, 1)


class UnreadableError(Exception):
    """Nothing after this place can be read: what is collected so far is all there is to tell."""


class Report:
    """The problems of one file, in the order of the file."""

    def __init__(self, file: str) -> None:
        # A folder's name can hold anything but a slash, and a problem is shown in terminals.
        self._file = file if file.isprintable() else escape(file)
        self._problems: list[Problem] = []

    def add(self, code: Code, message: str, *, hint: str, at: Position) -> None:
        """Note one problem. Raise `UnreadableError` once there are too many to go on."""
        if len(self._problems) == MAX_PROBLEMS:
            code, message = Code.TOO_MANY_PROBLEMS, f"there are more than {MAX_PROBLEMS} problems"
            hint = "put the ones told so far right first"
        self._problems.append(Problem(code.value, message, hint, self._file, at.line, at.column))
        if len(self._problems) > MAX_PROBLEMS:
            raise UnreadableError

    def add_broken(self, rule: RuleError, *, at: Position) -> None:
        """Note that the text at a place breaks a rule."""
        self.add(rule.code, rule.message, hint=rule.hint, at=at)

    def stop(self, code: Code, message: str, *, hint: str, at: Position) -> UnreadableError:
        """Note one problem, and return the error to raise because nothing after it can be read."""
        self.add(code, message, hint=hint, at=at)
        return UnreadableError()

    @property
    def count(self) -> int:
        """How many problems there are so far."""
        return len(self._problems)

    def error(self) -> ContractError:
        """Return the error with all problems, in the order of the file."""
        return ContractError(tuple(sorted(self._problems, key=_place)))


def _place(problem: Problem) -> tuple[bool, int, int]:
    # Two thousand problems into a file, "there are more" belongs at the end of the list.
    return problem.code == Code.TOO_MANY_PROBLEMS, problem.line or 0, problem.column or 0

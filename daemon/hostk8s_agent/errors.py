"""What can go wrong, in one shape for people and one tree for code.

A `Problem` is what a person is told: a stable code, what is wrong, how to put it right and, for a
contract, where it stands. Every error of ours carries the same words, so that no layer has to invent them.

```
AgentError
├── WorkspaceError            no workspace, or one that cannot be used
├── SettingsError             a setting has a value that it cannot have
├── ContractError             a contract that is not valid: all its problems
├── AgentAlreadyRunningError  the workspace has its agent
├── AgentNotRunningError      a command needs the agent, and none answers
├── DashboardOffError         there is no dashboard to open
├── VolumeError               volume/: Docker and the directories (subclasses live there)
└── ClusterError              cluster/: Kubernetes (subclasses live there)
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words that a person can act on.

    `code` is stable CamelCase (people and scripts match on it); `hint` says how to put it right; `file` is
    relative to the workspace where it lies in it; `line` and `column` count from 1, and are None where the
    problem has no place in a file.
    """

    code: str
    message: str
    hint: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """Render as `file:line:column: problem; hint`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        words = f"{self.message}; {self.hint}" if self.hint else self.message
        return f"{place}: {words}" if place else words


class AgentError(Exception):
    """The root of every error that we raise on purpose.

    `code` is the stable code of the problem, `hint` says how to put it right, `retryable` says whether the
    same call may succeed later without anyone changing anything.
    """

    code: ClassVar[str] = "AgentError"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def problem(self) -> Problem:
        """This error as a person is told it."""
        return Problem(code=self.code, message=self.message, hint=self.hint)


class WorkspaceError(AgentError):
    """There is no workspace here, or it cannot be used."""

    code = "WorkspaceNotFound"


class SettingsError(AgentError):
    """A setting has a value that it cannot have."""

    code = "SettingsInvalid"


class ContractError(AgentError):
    """A contract is not valid. `problems` holds all of them, in the order of the file, never empty."""

    code = "ContractInvalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class AgentAlreadyRunningError(AgentError):
    """The workspace's one agent runs already."""

    code = "AgentAlreadyRunning"


class AgentNotRunningError(AgentError):
    """No agent answers for the workspace."""

    code = "AgentNotRunning"


class DashboardOffError(AgentError):
    """There is no dashboard to open."""

    code = "DashboardOff"


class VolumeError(AgentError):
    """Something about Docker, the volume or a directory in it."""

    code = "VolumeError"


class ClusterError(AgentError):
    """Something about Kubernetes."""

    code = "ClusterError"

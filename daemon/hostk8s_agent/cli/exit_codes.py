"""The one map from what happened to the code with which the command ends."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from hostk8s_agent.errors import AgentAlreadyRunningError, AgentNotRunningError, ContractError

if TYPE_CHECKING:
    from hostk8s_agent.errors import AgentError


class ExitCode(IntEnum):
    """What a command's end means; the reference is docs/cli.md."""

    OK = 0
    """All is Ready, valid, or there is nothing to do."""
    NOT_READY = 1
    """Something is not Ready, not valid, or there are changes to make."""
    ERROR = 2
    """The command could not be understood or carried out."""
    NO_AGENT = 3
    """The command needs the agent, and none runs for the workspace."""
    ALREADY_RUNNING = 75
    """The workspace has its agent (EX_TEMPFAIL of sysexits.h: try again later)."""
    INTERRUPTED = 130
    """Ended by Ctrl-C (128 + SIGINT, as shells have it)."""
    OUTPUT_CLOSED = 141
    """Whoever read the output has gone (128 + SIGPIPE, as shells have it)."""


_BY_ERROR: tuple[tuple[type[AgentError], ExitCode], ...] = (
    (AgentAlreadyRunningError, ExitCode.ALREADY_RUNNING),
    (AgentNotRunningError, ExitCode.NO_AGENT),
    (ContractError, ExitCode.NOT_READY),
)


def find_exit_code(error: AgentError) -> ExitCode:
    """Return the code with which a command ends that this error has ended."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.ERROR)

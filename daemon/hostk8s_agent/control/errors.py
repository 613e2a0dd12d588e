"""What can go wrong between a command and the agent.

```
AgentError
├── AgentNotRunningError          nobody answers (errors.py)
├── AgentAlreadyRunningError      the workspace has its agent (errors.py)
└── ControlError                  a request that failed, with the HTTP status that says so
    ├── UnknownStackError         404  no stack of that name
    ├── UnknownPathError          404  no such resource
    ├── MethodNotAllowedError     405  the resource has other methods
    ├── RequestInvalidError       400  a request that cannot be understood
    ├── RequestTooLargeError      413  a body beyond the limit
    ├── RequestTooSlowError       408  a body that did not arrive in time
    ├── ForeignOriginError        403  a browser asks on behalf of a page
    ├── AgentBusyError            503  too many requests at once
    ├── AgentStoppingError        503  the agent is on its way out
    ├── AgentUnresponsiveError    (client) the agent does not answer, or not in our words
    └── ControlSocketError        (both) the socket cannot be made, or must not be used
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Collection


class ControlError(AgentError):
    """A request that failed. `http_status` is what the server answers with."""

    code = "ControlError"
    http_status: ClassVar[int] = 500


class UnknownStackError(ControlError):
    """There is no stack of that name."""

    code = "UnknownStack"
    http_status = 404

    def __init__(self, name: str, known: Collection[str] = ()) -> None:
        """Name the stack that was asked for; of the `known` ones the nearest is offered."""
        import difflib  # noqa: PLC0415 - status must start fast

        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        offer = f"did you mean {nearest[0]}? " if nearest else ""
        super().__init__(
            f"there is no stack {name}",
            hint=f"{offer}hostk8s-agent status lists all stacks, slashes are part of the name",
        )


class UnknownPathError(ControlError):
    """There is no such resource."""

    code = "UnknownPath"
    http_status = 404


class MethodNotAllowedError(ControlError):
    """The resource exists and does not take this method."""

    code = "MethodNotAllowed"
    http_status = 405


class RequestInvalidError(ControlError):
    """A request that cannot be understood."""

    code = "RequestInvalid"
    http_status = 400


class RequestTooLargeError(ControlError):
    """A body beyond the limit."""

    code = "RequestTooLarge"
    http_status = 413


class RequestTooSlowError(ControlError):
    """A body that did not arrive in time."""

    code = "RequestTooSlow"
    http_status = 408
    retryable = True


class ForeignOriginError(ControlError):
    """A browser asks on behalf of a page: no page has business here."""

    code = "ForeignOrigin"
    http_status = 403


class AgentBusyError(ControlError):
    """More requests wait than the agent holds at once."""

    code = "AgentBusy"
    http_status = 503
    retryable = True


class AgentStoppingError(ControlError):
    """The agent stops and answers nothing more."""

    code = "AgentStopping"
    http_status = 503
    retryable = True


class AgentUnresponsiveError(ControlError):
    """Something listens on the socket and does not answer in time, or not in our words."""

    code = "AgentUnresponsive"
    retryable = True


class AgentSilentError(AgentUnresponsiveError):
    """Something listens on the socket, and says nothing in time."""

    code = "AgentUnresponsive"


class ControlSocketError(ControlError):
    """The socket or its folder cannot be made, or must not be used."""

    code = "ControlSocket"

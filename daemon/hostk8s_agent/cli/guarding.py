"""The one place where a verb's errors become words on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode, find_exit_code
from hostk8s_agent.cli.output import escape_controls, say
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

# What writing to a full disk or a broken terminal fails with.
_OUTPUT_FULL = frozenset({errno.ENOSPC, errno.EIO, errno.EDQUOT})
LEVEL_VARIABLE = "HOSTK8S_AGENT_LOG_LEVEL"


def run_guarded(verb: Callable[[], int]) -> int:
    """Run a verb and return the exit code: its own, or that of the error that ended it.

    A traceback is shown only where the log level asks for it.
    """
    if sys.stdout is None:
        # Started with its output closed (`>&-`): there is nobody to show anything to.
        return ExitCode.OUTPUT_CLOSED
    try:
        code = verb()
        # Here, where a closed pipe is still caught, and not when the interpreter ends.
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the boundary: a bug of ours is told like any failure
        return _end_with(error)
    return code


def _end_with(error: BaseException) -> int:
    if isinstance(error, AgentError):
        _show_traceback()
        _tell(error)
        return find_exit_code(error)
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return ExitCode.OUTPUT_CLOSED
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, OSError) and error.errno in _OUTPUT_FULL:
        _discard_output()
        say(f"hostk8s-agent: the output cannot be written: {error.strerror}")
        return ExitCode.ERROR
    return _tell_fault(error)


def _tell_fault(error: BaseException) -> ExitCode:
    _show_traceback()
    say(f"hostk8s-agent: a fault of hostk8s-agent itself: {type(error).__name__}: {escape_controls(str(error))}")
    say(f"  run it again with {LEVEL_VARIABLE}=debug to see where, and report it")
    return ExitCode.ERROR


def _tell(error: AgentError) -> None:
    for line in error.message.splitlines():
        say(f"hostk8s-agent: {escape_controls(line)}")
    if error.hint:
        say(f"  {escape_controls(error.hint)}")


def _show_traceback() -> None:
    if os.environ.get(LEVEL_VARIABLE, "").lower() == "debug":
        import traceback  # noqa: PLC0415 - status must start fast

        say(traceback.format_exc().rstrip())


def _discard_output() -> None:
    # What is still buffered would fail again when the interpreter flushes it at its end (library/signal, SIGPIPE).
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

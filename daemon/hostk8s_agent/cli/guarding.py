"""The one place where a verb's errors become words on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode, find_exit_code
from hostk8s_agent.cli.output import escape_controls, say
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL_VARIABLE = "HOSTK8S_AGENT_LOG_LEVEL"


def run_guarded(verb: Callable[[], int]) -> int:
    """Run a verb and return the exit code: its own, or that of the error that ended it.

    A traceback is shown only where the log level asks for it.
    """
    try:
        code = verb()
        # Here, where a closed pipe is still caught, and not when the interpreter ends.
        sys.stdout.flush()
    except AgentError as error:
        _show_traceback()
        _tell(error)
        return find_exit_code(error)
    except BrokenPipeError:
        _discard_output()
        return ExitCode.OUTPUT_CLOSED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary: a bug of ours is told like any other failure
        _show_traceback()
        say(f"hostk8s-agent: a fault of hostk8s-agent itself: {type(error).__name__}: {escape_controls(str(error))}")
        say(f"  run it again with {LEVEL_VARIABLE}=debug to see where, and report it")
        return ExitCode.ERROR
    return code


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

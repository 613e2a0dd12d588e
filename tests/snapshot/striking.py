"""One request about snapshots in a process that strace kills before the Nth system call of a kind.

The process is forked ready to begin, and strace is attached before it does: what is counted is the request's own, and a
trial costs no start of an interpreter. Each thread and each child (tar, find) has a count of its own, as strace has it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from hostk8s_agent.errors import AgentError

CALLS = ("openat", "write", "fsync", "rename,renameat,renameat2", "close", "unlink,unlinkat", "mkdir,mkdirat")
"""What changes something, or lets go of it: each set counts for itself."""

DONE, REQUEST_FAILED, NO_STRACE = 0, 3, 4
_SECONDS = 30.0


def fork_request(request: Callable[[], object]) -> tuple[int, int]:
    """Fork a process that waits for a byte and does the request; return its id and where to write the byte."""
    receiver, sender = os.pipe()
    process = os.fork()
    if process:
        os.close(receiver)
        return process, sender
    # Nothing of the test runner may see the end of this process: it leaves by _exit alone.
    code = NO_STRACE
    try:
        os.close(sender)
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        if os.read(receiver, 1):
            request()
            code = DONE
    except AgentError:
        code = REQUEST_FAILED
    finally:
        os._exit(code)


def is_traced(process: int) -> bool:
    """Whether strace has it, at its read of the pipe."""
    return "TracerPid:\t0\n" not in Path(f"/proc/{process}/status").read_text(encoding="ascii")


def strike_request(request: Callable[[], object], calls: str, number: int, *, effect: str = "signal=SIGKILL") -> int:
    """Do the request and have it killed before the Nth of the calls; return how it ended, negative by a signal.

    `effect` is what strace does instead (`error=ENOSPC`).
    """
    process, sender = fork_request(request)
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:{effect}:when={number}"]
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", os.devnull, *inject, "-p", str(process)], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + _SECONDS
        while not is_traced(process) and time.monotonic() < deadline and tracer.poll() is None:
            time.sleep(0.001)
        if is_traced(process):
            os.write(sender, b"!")
        os.close(sender)
        _, status = os.waitpid(process, 0)
    finally:
        _, words = tracer.communicate(timeout=_SECONDS)
    code = os.waitstatus_to_exitcode(status)
    assert code in (DONE, REQUEST_FAILED, -signal.SIGKILL), f"ended with {code}: {words.decode()}"
    return code


class Strikes:
    """Requests that are struck in turns: each kind of call of each at its first, its second, and so on; then anew.

    `requests` are, by name, what makes the ground ready for one, and the request itself.
    """

    def __init__(self, requests: dict[str, tuple[Callable[[], object], Callable[[], object]]]) -> None:
        self._requests = requests
        self._numbers = {(name, calls): 0 for calls in CALLS for name in requests}
        self._turns = cycle(self._numbers)

    def strike(self) -> str:
        """Strike one request; return which, in words."""
        for turn in self._turns:
            name, calls = turn
            prepare, request = self._requests[name]
            prepare()
            self._numbers[turn] += 1
            if strike_request(request, calls, self._numbers[turn]) != DONE:
                return f"{name}, {calls}, number {self._numbers[turn]}"
            # It has been struck everywhere, or makes none of these.
            self._numbers[turn] = 0
        raise AssertionError("turns without an end")

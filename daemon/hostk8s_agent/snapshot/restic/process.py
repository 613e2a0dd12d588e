"""One restic that runs: started without a secret on its command line, listened to, and ended with us.

It has a process group of its own, which ends as a whole (ssh, a password command); where the kernel can be asked for
it, also when we are killed. A restic that only tries again and again is ended after a while: by itself it goes on for a
quarter of an hour for each request.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import ResticUnreachableError, SnapshotStoppedError
from hostk8s_agent.snapshot.reading import CHUNK_BYTES, widen_pipe
from hostk8s_agent.snapshot.restic.activity import Activity
from hostk8s_agent.snapshot.restic.program import find_death_signal, find_restic
from hostk8s_agent.snapshot.restic.translation import translate_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hostk8s_agent.snapshot.errors import SnapshotError
    from hostk8s_agent.snapshot.restic.environment import ResticEnvironment

PATIENCE_SECONDS: Final = 60.0
"""How long restic may only try again: a stalled engine is noticed within a minute."""

QUIET_SECONDS: Final = 60.0
"""How long restic may do nothing at all, by what the kernel counts of it."""

STALL_SECONDS: Final = 300.0
"""How long not a byte may pass between it and us, whatever it does: a slow line takes long for what is queued."""

_END_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_KEPT_LINES = 30
_RETRYING = "retrying after"


class ResticProcess:
    """A restic that was started. `attempt` is what it does, in words: `restic could not ...`. One thread uses it."""

    def __init__(self, attempt: str, arguments: Sequence[str], environment: ResticEnvironment, *, is_fed: bool) -> None:
        self._attempt = attempt
        self._environment = environment
        self._process = subprocess.Popen(  # noqa: S603 - no shell; arguments of ours, no secret among them
            [*find_death_signal(), find_restic(), *arguments],
            stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment.variables),
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        self._activity = Activity(self._process.pid)
        self._told_bytes = 0
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._answer = b""
        listeners = (self._listen, self._collect_answer) if is_fed else (self._listen,)
        self._listeners = [threading.Thread(target=one, name="snapshot-restic", daemon=True) for one in listeners]
        for listener in self._listeners:
            listener.start()

    @property
    def pipe(self) -> IO[bytes]:
        """What is between it and us: where it reads from when it is fed, else where it writes to."""
        pipe = self._process.stdin or self._process.stdout
        if pipe is None:
            raise AssertionError("it was asked for pipes")
        return pipe

    def write(self, chunk: bytes) -> None:
        """Hand all of a chunk over. Raises the error that says why restic does not take it."""
        descriptor = self.pipe.fileno()
        view = memoryview(chunk)
        try:
            while view:
                self._await_pipe(descriptor, select.POLLOUT, STALL_SECONDS)
                with suppress(BlockingIOError):
                    view = view[os.write(descriptor, view) :]
        except BrokenPipeError as error:
            raise self.build_error() from error

    def finish_input(self, *, timeout: float) -> bytes:
        """Give it the end of its input, wait for its end, and return the last line that it wrote."""
        self.pipe.close()
        self.require_success(timeout=timeout)
        return self._answer

    def read(self, timeout: float | None = STALL_SECONDS) -> bytes:
        """Return the next bytes that it wrote, nothing at their end."""
        descriptor = self.pipe.fileno()
        self._await_pipe(descriptor, select.POLLIN, timeout)
        return os.read(descriptor, CHUNK_BYTES)

    def require_success(self, *, timeout: float | None = STALL_SECONDS, is_reading: bool = False) -> None:
        """Wait for its end. Raises the error that says why it failed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._wait_shortly()) is None:
            self._require_time(deadline)
        self._join()
        if code != 0:
            raise self.build_error(is_reading=is_reading)

    def build_error(self, *, is_reading: bool = False) -> SnapshotError:
        """Return the error for a restic that has ended, or is about to."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.end()
        lines = [self._environment.redact(line) for line in self._lines]
        return translate_failure(self._attempt, self._process.returncode, lines, is_reading=is_reading)

    def end(self) -> None:
        """End it if it runs: asked first, so that it takes its lock away, then by force. It commits nothing more."""
        for number in (signal.SIGINT, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        self._process.wait()
        self._join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _join(self) -> None:
        # No longer than that: a process that it has left behind may hold the pipe.
        for listener in self._listeners:
            listener.join(_END_SECONDS)

    def _await_pipe(self, descriptor: int, event: int, timeout: float | None) -> None:
        poller = select.poll()
        poller.register(descriptor, event)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not poller.poll(_LOOK_SECONDS * 1000):
            self._require_time(deadline)

    def _wait_shortly(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_LOOK_SECONDS)
        return None

    def _require_time(self, deadline: float | None) -> None:
        """Raise when the agent stops, or when nothing has moved for too long."""
        if self._environment.stopping.is_set():
            raise SnapshotStoppedError(
                "the agent was stopped meanwhile; nothing was added and nothing replaced", hint="start it again"
            )
        is_quiet = self._activity.find_quiet_seconds(self._told_bytes) > QUIET_SECONDS
        if is_quiet or (deadline is not None and time.monotonic() > deadline):
            raise ResticUnreachableError(
                f"restic could not {self._attempt}: nothing moves any more",
                hint="look at the connection to the restic repository, and at the space that is left there; what is "
                "due is tried again by itself",
            )

    def _collect_answer(self) -> None:
        """Read the progress that restic tells, so that it never waits; its last line is the summary."""
        for line in self._process.stdout or ():
            self._told_bytes += len(line)
            self._answer = line

    def _listen(self) -> None:
        if self._process.stderr is None:
            return
        retries_since: float | None = None
        with self._process.stderr as pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace").strip()
                if line:
                    self._lines.append(line)
                if _RETRYING not in line:
                    retries_since = None
                elif retries_since is None:
                    retries_since = time.monotonic()
                elif time.monotonic() - retries_since > PATIENCE_SECONDS:
                    with suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def started(
    attempt: str, arguments: Sequence[str], environment: ResticEnvironment, *, is_fed: bool = False
) -> Iterator[ResticProcess]:
    """Start a restic; it has ended when the block has, in whatever way."""
    process = ResticProcess(attempt, arguments, environment, is_fed=is_fed)
    try:
        widen_pipe(process.pipe.fileno())
        # So that no write waits for longer than we are willing to.
        os.set_blocking(process.pipe.fileno(), not is_fed)
        yield process
    finally:
        process.end()


def ask_restic(
    attempt: str,
    arguments: Sequence[str],
    environment: ResticEnvironment,
    *,
    timeout: float | None = STALL_SECONDS,
    is_reading: bool = False,
) -> bytes:
    """Run a restic to its end and return what it wrote. Raises the error that says why it failed."""
    with started(attempt, arguments, environment) as process:
        parts = []
        while chunk := process.read(timeout):
            parts.append(chunk)
        process.require_success(timeout=timeout, is_reading=is_reading)
    return b"".join(parts)

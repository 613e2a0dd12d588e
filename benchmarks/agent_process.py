"""The agent as a user runs it: a process of its own, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workload import Checkout

COMMAND = Path(sys.executable).with_name("hostk8s-agent")
STOP_SECONDS = 30.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in megabytes of a million bytes: resident, and its fair share of what it shares."""

    resident: float
    proportional: float


class AgentProcess:
    """One agent on one workspace. Use as a context manager, which starts and stops it."""

    def __init__(self, checkout: Checkout, environment: Mapping[str, str], log: Path) -> None:
        self._checkout = checkout
        self._environment = environment
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._has_announced = threading.Event()
        self._announced_at = 0.0
        self.started_at = 0.0

    def __enter__(self) -> Self:
        # A session of its own: a Ctrl-C at the terminal is ours to pass on, once we are ready for it.
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            [COMMAND, "run", "--workspace", self._checkout.root],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the agent as a service manager does. Twice is as good as once."""
        if self._process is None or self._reader is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process = None

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    def wait_until_settled(self, timeout_seconds: float) -> float:
        """Wait until the agent says that its first pass is over.

        Returns when it said so, on `time.perf_counter`'s clock. Raises `RuntimeError` when it ended before.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._has_announced.wait(0.5):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the agent did not settle in {timeout_seconds} s\n{self.read_log_end()}")
        return self._announced_at

    def require_ready(self, stacks: int, timeout_seconds: float = 0.0) -> None:
        """Wait until so many stacks are Ready. Raises `RuntimeError` when they are not within the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self.status()["stacks"]
            unready = [one for one in found if one["state"] != "Ready"]
            if len(found) == stacks and not unready:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(found)} stacks, {len(unready)} not Ready, such as {json.dumps(unready[:1])}")
            time.sleep(1.0)

    def status(self) -> dict[str, list[dict[str, str]]]:
        """What `status -o json` prints."""
        found: dict[str, list[dict[str, str]]] = json.loads(
            subprocess.run(
                [*self.status_command, "-o", "json"], env=self._environment, capture_output=True, check=False
            ).stdout
        )
        return found

    @property
    def status_command(self) -> list[str]:
        """The command line of `status` for this workspace."""
        return [str(COMMAND), "status", "--workspace", str(self._checkout.root)]

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that the agent and its commands run in."""
        return self._environment

    def cpu_seconds(self) -> float:
        """The processor time that the agent has used so far, user and system (proc(5), `/proc/PID/stat`)."""
        # The second field is the program's name and may hold blanks and brackets.
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def memory(self) -> Memory:
        """What the agent holds in memory now (proc(5), `/proc/PID/smaps_rollup`)."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
        return Memory(sizes["Rss"] * 1024 / 1e6, sizes["Pss"] * 1024 / 1e6)

    def wait_until_idle(self, *, quiet_seconds: float = 1.0, limit_seconds: float = 120.0) -> None:
        """Wait until the agent has used next to no processor for a while. Raises `RuntimeError` at the limit."""
        deadline = time.monotonic() + limit_seconds
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(quiet_seconds)
            now = self.cpu_seconds()
            # One tick may be a heartbeat.
            if now - before <= 1.5 / _TICKS_PER_SECOND:
                return
            before = now
        raise RuntimeError(f"the agent was never idle for {quiet_seconds} s within {limit_seconds} s")

    def read_reconcile_milliseconds(self, runs: int) -> list[float]:
        """How long the last so many runs took that changed something, by the agent's own log."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        finished = [json.loads(line) for line in lines if '"reconcile.finished"' in line]
        return [float(one["duration_seconds"]) * 1000 for one in finished[-runs:]]

    def read_log_end(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-10:])

    def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout, self.log.open("wb") as log:
            for line in process.stdout:
                now = time.perf_counter()
                log.write(line)
                # What a person is told to do next is said when the first pass is over.
                if b'"agent.guidance"' in line and not self._has_announced.is_set():
                    self._announced_at = now
                    self._has_announced.set()
                log.flush()

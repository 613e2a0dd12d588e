"""The API server is away for long: the agent waits at next to no cost, and is back with it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.workspace import Workspace, runtime_folders
from reliability import Row

Wait = Callable[..., None]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Waits of 0.8 s, doubled and spread up to twofold, have reached their cap of 15 s by then.
BACKED_OFF_SECONDS = 45.0


class Cost:
    """What an agent has used so far: processor time, and requests that nobody answered."""

    def __init__(self, site: Any) -> None:
        self.at = time.monotonic()
        pid = site.status()["agent"]["pid"]
        # The second field is the program's name and may hold blanks and brackets (proc(5), `/proc/PID/stat`).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        self.cpu_seconds = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        folder = runtime_folders(Workspace(site.root.resolve()), site.environment)[0]
        # By a path relative to its folder: an AF_UNIX path has 107 bytes.
        command = [
            "curl",
            "--silent",
            "--fail",
            "--noproxy",
            "*",
            "--unix-socket",
            "agent.sock",
            "http://agent/metrics",
        ]
        text = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
        found = re.findall(r'^hostk8s_kubernetes_requests_total\{code="none",[^}]*\} (\S+)$', text, re.MULTILINE)
        self.attempts = sum(map(float, found))


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.fault(
    "K1",
    "the API server down for minutes",
    holds="attempts are few, they cost next to nothing, and the agent is back with the server",
    target="<= 4 attempts a minute once backed off, <= 1 % CPU, back within 30 s",
    short=1,
    full=5,
)
def test_an_api_server_that_is_down_costs_next_to_nothing(
    row: Row, real_site: Any, private_testbed: Any, wait_until: Wait
) -> None:
    """Nobody tells the agent when it is up again."""
    private_testbed.up("control-plane")
    real_site.environment["KUBECONFIG"] = private_testbed.run("kubeconfig", "control-plane")
    stack = f"{real_site.prefix}-app"
    real_site.save(stack)
    real_site.start()
    real_site.wait_for(stack, "Ready")
    before_seconds, seconds = (BACKED_OFF_SECONDS, 60.0) if row.is_counting else (0.0, 3.0)
    for trial in row.trials():
        with trial:
            private_testbed.run("stop", "api-server")
            wait_until(lambda: real_site.status()["cluster"]["state"] == "Unreachable", "it is noticed")
            down = time.monotonic()
            wait_until(lambda down=down: time.monotonic() - down > before_seconds, "it is backed off", 120)
            first = Cost(real_site)
            wait_until(lambda first=first: time.monotonic() - first.at > seconds, "a while passes", 120)
            last = Cost(real_site)
            passed = last.at - first.at
            row.measure("of a processor", (last.cpu_seconds - first.cpu_seconds) / passed * 100, "%", limit=1)
            row.measure("attempts a minute", (last.attempts - first.attempts) / passed * 60, "", limit=4)
            assert last.attempts - first.attempts <= 5 + passed, "no storm"
            private_testbed.run("start", "api-server")
            began = time.monotonic()
            real_site.wait_until_connected()
            real_site.wait_for(stack, "Ready")
            row.measure("back after", time.monotonic() - began, "s", limit=30)

"""Two agents at once: the workspace has one writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reliability import Row

COMMAND = Path(sys.executable).with_name("hostk8s-agent")
ALREADY_RUNNING = 75


@pytest.mark.fault(
    "D5", "two agents started at once", holds="exactly one runs", target="0 double of 200", short=2, full=200
)
def test_of_two_agents_started_at_once_one_runs(row: Row, site: Any, wait_until: Any) -> None:
    """The other ends at once with its own exit code, and has written nothing."""
    for trial in row.trials():
        with trial:
            agents = [
                subprocess.Popen(
                    [COMMAND, "run", "--workspace", site.root],
                    env=site.environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for _ in range(2)
            ]
            try:
                wait_until(lambda agents=agents: any(one.poll() is not None for one in agents), "one gives way")
                wait_until(site.is_running, "the other answers")
                codes = sorted((one.poll() is None, one.poll()) for one in agents)
                assert codes == [(False, ALREADY_RUNNING), (True, None)]
                [running] = [one for one in agents if one.poll() is None]
                assert site.status()["agent"]["pid"] == running.pid
            finally:
                for one in agents:
                    one.terminate()
                ended = [one.wait(20) for one in agents]
            assert sorted(ended) == [0, ALREADY_RUNNING]

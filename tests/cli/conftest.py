"""What the command line's tests share: the real command as a process, and an agent for it to talk to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.server import ControlServer
from hostk8s_agent.workspace import Workspace, runtime_folders

COMMAND = [sys.executable, "-m", "hostk8s_agent"]

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - name: data
      path: {path}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: manual
"""


def load_control_fixtures() -> Any:
    """The control room's fixtures: tests are files and no packages, so that importing one takes these lines."""
    spec = spec_from_file_location("control_fixtures", Path(__file__).parents[1] / "control/conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fixtures = load_control_fixtures()
place = fixtures.place
workspace = fixtures.workspace
agent = fixtures.agent


@pytest.fixture
def server(agent: Any, workspace: Workspace) -> Iterator[ControlServer]:
    """The agent's control server, running."""
    running = ControlServer(agent, runtime_folders(workspace)[0] / "agent.sock")
    running.start()
    yield running
    agent.gate.set()
    running.stop()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Outcome]


@pytest.fixture
def run(workspace: Workspace) -> RunCommand:
    """A function that runs the real command in the workspace's folder."""

    def run_command(*arguments: str, cwd: Path | None = None, **environment: str) -> Outcome:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd or workspace.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run_command


@pytest.fixture
def write_contract(workspace: Workspace) -> Callable[..., Path]:
    """A function that writes the contract of a stack."""

    def write(stack: str, text: str = CONTRACT, path: str = "/mnt/pv/data") -> Path:
        file = workspace.contract_path(stack)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{stack}", stack).replace("{path}", path), encoding="utf-8")
        return file

    return write

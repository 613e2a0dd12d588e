"""What tests of all rooms share: the real components, a workspace, and waiting without sleeping."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TESTBED = ROOT / "infra/testbed/testbed"
DEADLINE_SECONDS = 30.0
# As it was before any test changed it: the testbed keeps its state where the person who started it has it.
_ENVIRONMENT = dict(os.environ)


class Testbed:
    """The testbed's command. A part that cannot be had fails the test that needs it; none is ever skipped."""

    __test__ = False

    def __init__(self) -> None:
        self._started: list[str] = []

    def run(self, *arguments: str) -> str:
        """Run a verb and return what it printed; an error is the test's failure, in the testbed's words."""
        done = subprocess.run([TESTBED, *arguments], capture_output=True, text=True, check=False, env=_ENVIRONMENT)
        assert done.returncode == 0, f"testbed {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def status(self) -> dict[str, Any]:
        """What is up."""
        found: dict[str, Any] = json.loads(self.run("status", "-o", "json"))
        return found

    def up(self, part: str) -> None:
        """Start a part unless it is up already, which a person who works with it may have done."""
        if not self._is_up(part):
            self._started.append(part)
            self.run("up", part)

    def down(self) -> None:
        """Stop what was started here, the last first."""
        for part in reversed(self._started):
            self.run("down", part)

    def _is_up(self, part: str) -> bool:
        status = self.status()
        if part == "control-plane":
            return any(one["instance"] == "default" and one["status"] == "ready" for one in status["control_planes"])
        return bool(status[part] and status[part]["status"] == "ready")


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """The testbed, whose parts go away after the tests unless they were up before."""
    testbed = Testbed()
    yield testbed
    testbed.down()


@pytest.fixture(scope="session")
def engine(testbed: Testbed) -> str:
    """The URL of a real Docker engine."""
    testbed.up("engine")
    return str(testbed.status()["engine"]["host"])


@pytest.fixture(scope="session")
def kubeconfig(testbed: Testbed) -> Path:
    """The kubeconfig of a real Kubernetes control plane."""
    testbed.up("control-plane")
    return Path(testbed.run("kubeconfig", "control-plane"))


@pytest.fixture(scope="session")
def limited_kubeconfig(testbed: Testbed, kubeconfig: Path) -> Path:
    """The kubeconfig of a user of that control plane who may do nothing."""
    assert kubeconfig.exists()
    return Path(testbed.run("kubeconfig", "--limited"))


@dataclass(frozen=True, slots=True)
class Node:
    """A whole Kubernetes node in a container, with `/mnt/pv` on the volume."""

    docker_host: str
    kubeconfig: Path
    container: str
    volume: str


@pytest.fixture(scope="session")
def node(testbed: Testbed, engine: str) -> Node:
    """The whole node: pods run on it and mount the volume."""
    testbed.up("node")
    status = testbed.status()["node"]
    return Node(engine, Path(status["kubeconfig"]), status["container"], status["volume"])


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """A function that waits until a condition holds, and fails with its words when it never does."""

    def wait(condition: Callable[[], object], words: str = "", deadline_seconds: float = DEADLINE_SECONDS) -> None:
        deadline = time.monotonic() + deadline_seconds
        while not condition():
            assert time.monotonic() < deadline, f"did not come about in {deadline_seconds} s: {words or condition}"
            time.sleep(0.005)

    return wait


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the state, the sockets, the engine and the cluster of whoever runs them."""
    # A runtime folder of its own, short: an AF_UNIX path has 107 bytes.
    for name in [one for one in os.environ if one.startswith("HOSTK8S_AGENT_")]:
        monkeypatch.delenv(name)
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "KUBECONFIG", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))

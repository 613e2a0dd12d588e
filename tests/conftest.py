"""What tests of all rooms share: the real components, a workspace, and waiting without sleeping."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reliability import Fault, Length, Row
from reliability_page import record_row, render_line

ROOT = Path(__file__).parent.parent
TESTBED = ROOT / "infra/testbed/testbed"
DEADLINE_SECONDS = 30.0
# Whoever runs the tests in the background has SIGINT ignored, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Their tests run processes, sockets and the kernel's file events, and are marked for no component.
_REAL_ROOMS = frozenset({"e2e", "watch", "faults"})
# As it was before any test changed it: the testbed keeps its state where the person who started it has it.
_ENVIRONMENT = dict(os.environ)
# `gw0` or `gw1` in a worker of `pytest -n 2`, empty in an ordinary run.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# What takes longest is begun first: each worker takes the next group when it has done one.
_SLOW_ROOMS = ("faults", "e2e", "testbed", "volume", "snapshot", "cluster", "watch", "control", "cli")

# A row that is tried many times may take long; short ones keep the limit of pyproject.toml.
THOROUGH_SECONDS = 4 * 3600
_ROWS = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often the rows of the fault catalogue are tried, and whether the outcome is kept."""
    parser.addoption("--trials", choices=("short", "full", "soak"), default="short", help="trials of each fault row")
    parser.addoption("--rows", default="", help="the ids of the rows to try, for instance 'D5 W1'; unset: all")
    parser.addoption("--record-rows", action="store_true", help="write the rows to docs/reliability.md")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing has been tried yet."""
    config.stash[_ROWS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give thorough rows their time; a soak is of those rows alone that have one."""
    length, wanted = config.getoption("trials"), config.getoption("rows").split()
    if length != "short":
        for item in items:
            item.add_marker(pytest.mark.timeout(THOROUGH_SECONDS))
    else:
        for item in filter(_is_on_real_parts, items):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if _WORKER:
        items.sort(key=_rank_group)
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_name_group(item)))
    chosen = [item for item in items if _is_wanted(find_fault(item), wanted, length)]
    if len(chosen) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def _name_group(item: pytest.Item) -> str:
    """The tests of one name run in one worker, one after the other: a file's, and those that share what is dear."""
    fixtures = getattr(item, "fixturenames", ())
    return next((name for name in ("private_testbed", "node", "machine") if name in fixtures), str(item.path))


def _rank_group(item: pytest.Item) -> tuple[int, int]:
    is_a_file = _name_group(item) == str(item.path)
    room = item.path.relative_to(ROOT / "tests").parts[0]
    return int(is_a_file), _SLOW_ROOMS.index(room) if room in _SLOW_ROOMS else len(_SLOW_ROOMS)


def _is_wanted(fault: Fault | None, wanted: Sequence[str], length: Length) -> bool:
    if wanted and (fault is None or fault.id not in wanted):
        return False
    return length != "soak" or (fault is not None and fault.soak > 0)


def _is_on_real_parts(item: pytest.Item) -> bool:
    """Whether a test may be tried a second time: daemons on a small shared machine can miss a deadline.

    It is told when that happens (`1 rerun` in the closing line, and which one). What is pure is tried once, and so are
    the trials of `make faults`, which count failures.
    """
    is_marked = any(item.get_closest_marker(name) for name in ("engine", "cluster", "node", "tools", "systemd"))
    return is_marked or not _REAL_ROOMS.isdisjoint(item.path.parts)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the rows that were tried thoroughly."""
    for record in config.stash[_ROWS]:
        terminalreporter.write_line(render_line(record))


def find_fault(item: pytest.Item) -> Fault | None:
    """The row that a test is, None for an ordinary test."""
    marker = item.get_closest_marker("fault")
    return None if marker is None else Fault(*marker.args, **marker.kwargs)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The trials of the fault that the test is marked with."""
    fault = find_fault(request.node)
    assert fault is not None, "mark the test: @pytest.mark.fault(...)"
    length: Length = request.config.getoption("trials")
    row = Row(fault, length)
    yield row
    if row.is_counting:
        record = row.render_record(dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"))
        request.config.stash[_ROWS].append(record)
        if request.config.getoption("record_rows"):
            record_row(record)


class Testbed:
    """The testbed's command. A part that cannot be had fails the test that needs it; none is ever skipped."""

    __test__ = False

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._started: list[str] = []
        self._environment = _give_each_worker_its_own(_ENVIRONMENT) if environment is None else environment

    def run(self, *arguments: str) -> str:
        """Run a verb and return what it printed; an error is the test's failure, in the testbed's words."""
        done = subprocess.run([TESTBED, *arguments], capture_output=True, text=True, check=False, env=self._environment)
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


def _is_first_worker() -> bool:
    return _WORKER in {"", "gw0"}


def _give_each_worker_its_own(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of the testbed's command: the second worker of `pytest -n 2` has a testbed of its own."""
    if _is_first_worker():
        return environment
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    state = environment.get("HOSTK8S_TESTBED_STATE") or f"{home}/hostk8s-testbed"
    return {**environment, "HOSTK8S_TESTBED_STATE": f"{state}-{_WORKER}"}


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """The testbed, whose parts go away after the tests unless they were up before."""
    testbed = Testbed()
    yield testbed
    if _is_first_worker():
        testbed.down()
    else:
        # Nobody but the tests uses it: what an interrupted run has left up goes too.
        testbed.run("down")


@pytest.fixture(scope="session")
def private_testbed() -> Iterator[Testbed]:
    """A testbed of the tests' own, where anything may be stopped, killed and wiped; gone after the tests.

    Its engine, its control plane and its node are started by `up` of whoever needs them, and stay up for the next.
    """
    # Not among pytest's own: of a run that was killed a mount may be left, and each later run would stumble over it.
    folder = Path(tempfile.mkdtemp(prefix="hostk8s-private-testbed-"))
    inherited = {
        name: value
        for name, value in _ENVIRONMENT.items()
        if name not in {"DOCKER_HOST", "DOCKER_CONTEXT", "KUBECONFIG"} and not name.startswith("HOSTK8S_TESTBED_")
    }
    if cache := _ENVIRONMENT.get("HOSTK8S_TESTBED_CACHE"):
        inherited["HOSTK8S_TESTBED_CACHE"] = cache
    own = {
        "HOSTK8S_TESTBED_STATE": str(folder / "state"),
        "HOSTK8S_TESTBED_ENGINE": "own",
        "HOSTK8S_TESTBED_ENGINE_DATA": str(folder / "data"),
        "HOSTK8S_TESTBED_NODE": "own",
    }
    testbed = Testbed({**inherited, **own})
    try:
        yield testbed
    finally:
        testbed.run("down")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine(testbed: Testbed) -> str:
    """The URL of a real Docker engine."""
    testbed.up("engine")
    return str(testbed.status()["engine"]["host"])


@pytest.fixture(scope="session")
def node_image(testbed: Testbed, engine: str) -> str:
    """The name of an image in that engine that has a shell's tools, as a node's has."""
    assert engine
    testbed.run("install", "node")
    return "hostk8s.local/busybox:1"


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
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))

"""What the tests of the watch room share: a real watcher on a real folder, and a record of what it told."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostk8s_agent.watch.contract_files import CONTRACT_NAME
from hostk8s_agent.watch.inotify import InotifySource
from hostk8s_agent.watch.observer import ObserverSource
from hostk8s_agent.watch.reporter import GONE_SETTLE_SECONDS
from hostk8s_agent.watch.scan import ScanResult
from hostk8s_agent.watch.watcher import ContractWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hostk8s_agent.watch.events import OpenSource

DEADLINE_SECONDS = 15.0
SENTINEL = "zz-sentinel"
NOBODY = 65534


class Watched:
    """A stacks folder with a watcher on it. Waits are on what the watcher tells, never on time alone."""

    def __init__(self, root: Path, *, after_telling: Callable[[str], None] | None = None, **options: Any) -> None:
        self.root = root
        self._after_telling = after_telling
        self.told: list[str] = []
        self._sentinel_told_at: list[float] = []
        self._scans: list[ScanResult] = []
        self._changed = threading.Condition()
        options.setdefault("scan_interval_seconds", 3600.0)
        self.watcher = ContractWatcher(root, on_stack=self._on_stack, on_scan=self._on_scan, **options)

    def _on_stack(self, stack: str) -> None:
        with self._changed:
            self.told.append(stack) if stack != SENTINEL else self._sentinel_told_at.append(time.monotonic())
            self._changed.notify_all()
        if self._after_telling is not None:
            self._after_telling(stack)

    def _on_scan(self, scan: ScanResult) -> None:
        with self._changed:
            self._scans.append(scan)
            self._changed.notify_all()

    def wait_until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait until something told makes `is_true` so; fail with `what` at the deadline."""
        ends = time.monotonic() + DEADLINE_SECONDS
        with self._changed:
            while not is_true():
                # Some conditions (the state) change with nothing told, so look every 20 ms as well.
                self._changed.wait(0.02)
                assert time.monotonic() < ends, f"{what}; told {self.told}, {self.watcher.state()}"

    def start(self) -> Watched:
        """Start, wait for the first scan, and forget the stacks that it told."""
        self.watcher.start()
        self.wait_until(lambda: bool(self._scans), "no first scan")
        self.told.clear()
        return self

    def wait_for(self, *stacks: str) -> None:
        self.wait_until(lambda: set(stacks) <= set(self.told), f"{stacks} not told")

    def wait_for_scan(self, root_state: str) -> ScanResult:
        self.wait_until(lambda: self._scans[-1].root_state == root_state, f"no scan with root {root_state}")
        return self._scans[-1]

    def scan(self) -> ScanResult:
        """Ask for a scan and wait for one."""
        before = len(self._scans)
        self.watcher.scan_now()
        self.wait_until(lambda: len(self._scans) > before, "no scan")
        return self._scans[-1]

    def settled(self) -> list[str]:
        """Everything told, once all that happened before this call was acted on, sorted.

        A sentinel contract is written and removed: events are in order, and its removal is told only when every
        earlier second look has been taken. A scan at the end would repeat a stack that an event told wrongly.
        """
        before = len(self._sentinel_told_at)
        path = write_contract(self.root, SENTINEL)
        self.wait_until(lambda: len(self._sentinel_told_at) > before, "the sentinel is not told")
        # A new folder's contract may be told twice, so the removal is known by its time. The event may be acted on
        # before `unlink` returns, so the clock is read first.
        confirmed_at = time.monotonic() + GONE_SETTLE_SECONDS
        path.unlink()
        self.wait_until(
            lambda: self._sentinel_told_at[-1] >= confirmed_at,
            "the sentinel's removal is not told",
        )
        self.scan()
        return sorted(self.told)

    def problem_codes(self) -> set[str]:
        return {problem.code for problem in self.watcher.state().problems}


def write_contract(root: Path, stack: str, text: str = "kind: StorageContract\n") -> Path:
    """Save a contract in place, its folder made if need be, and return its path."""
    path = root / stack / CONTRACT_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A stacks folder with three stacks, one of them nested in another."""
    folder = tmp_path / "stacks"
    for stack in ("web", "foundation", "foundation/airflow"):
        write_contract(folder, stack)
    return folder


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """A factory of watchers, stopped at the end of the test."""
    made: list[Watched] = []

    def make(root: Path, **options: Any) -> Watched:
        made.append(Watched(root, **options))
        return made[-1]

    yield make
    for each in made:
        each.watcher.stop()


# On Linux watchdog's own observer watches a folder twice that is made inside a new one, and warns of itself.
_WARNS = pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")


@pytest.fixture(
    params=[pytest.param(InotifySource, id="inotify"), pytest.param(ObserverSource, id="observer", marks=_WARNS)],
)
def open_source(request: pytest.FixtureRequest) -> OpenSource:
    """Both sources: the one of Linux, and the one of every other system on Linux' events."""
    source: OpenSource = request.param
    return source


@pytest.fixture
def watched(root: Path, watch: Callable[..., Watched], open_source: OpenSource) -> Watched:
    """The three stacks, watched by either source."""
    return watch(root, open_source=open_source).start()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="hostk8s-agent-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run_unprivileged(action: Callable[[], Any]) -> Any:
    """Run `action` in a forked child that may not read everything, and return its picklable result.

    Root reads a folder of mode 000, so a child of root becomes nobody first.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(action(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the unprivileged child failed"
    return pickle.loads(answer)

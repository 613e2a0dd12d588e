"""The watcher: the stacks folder's comings and goings, lost events, and its own resources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.watch.conftest import DEADLINE_SECONDS, Watched, run_unprivileged, write_contract

from hostk8s_agent.watch.canary import CANARY_PREFIX
from hostk8s_agent.watch.contract_files import CONTRACT_NAME
from hostk8s_agent.watch.inotify import InotifySource
from hostk8s_agent.watch.scan import ScanResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.watch.events import EventSink


class SilentSource:
    """A source on a file system that sends no events at all; optionally one whose thread died."""

    backend = "silent"
    unwatched = 0

    def __init__(self, *, alive: bool = True) -> None:
        self._alive = alive

    def forgive_refusals(self) -> None:
        """Nothing is refused."""

    def watch_folder(self, folder: str) -> None:
        """Nothing is watched."""

    def is_alive(self) -> bool:
        """Whether it was made so."""
        return self._alive

    def close(self) -> None:
        """Nothing is open."""


def test_the_first_scan_tells_every_stack_and_comes_after_the_watch(root: Path, watch: Callable[..., Watched]) -> None:
    """A start is like a change of everything; what is saved from then on is an event."""
    watched = watch(root)
    watched.watcher.start()
    watched.wait_for("web", "foundation", "foundation/airflow")
    assert sorted(watched.told) == ["foundation", "foundation/airflow", "web"]
    write_contract(root, "web", "edited")
    assert watched.settled() == ["foundation", "foundation/airflow", "web", "web"]


def test_a_start_loses_nothing_that_is_written_while_it_happens(root: Path, watch: Callable[..., Watched]) -> None:
    """Each folder is watched before it is listed: there is no gap between the two."""
    wanted = [f"stack-{number}" for number in range(200)]
    writer = threading.Thread(target=lambda: [write_contract(root, stack) for stack in wanted])
    watched = watch(root)
    writer.start()
    watched.watcher.start()
    writer.join()
    watched.wait_for(*wanted)


def test_polling_tells_each_save_once(root: Path, watch: Callable[..., Watched]) -> None:
    """Where no events arrive the scan alone tells, the same way."""
    watched = watch(root, backend="polling", scan_interval_seconds=0.05).start()
    assert watched.watcher.state().backend == "polling"
    write_contract(root, "web", "edited")
    write_contract(root, "new/nested")
    shutil.rmtree(root / "foundation")
    assert watched.settled() == ["foundation", "foundation/airflow", "new/nested", "web"]


def test_an_event_is_not_told_again_by_the_scan(watched: Watched) -> None:
    """The scan knows what the events told: one save is one reconcile."""
    write_contract(watched.root, "web", "edited")
    watched.wait_for("web")
    watched.scan()
    watched.scan()
    assert watched.told == ["web"]


def test_a_stacks_folder_that_appears_later_is_watched_from_then_on(
    tmp_path: Path,
    watch: Callable[..., Watched],
    open_source: object,
) -> None:
    """The agent may start before the workspace is checked out."""
    watched = watch(tmp_path / "software" / "stacks", open_source=open_source).start()
    state = watched.watcher.state()
    assert ("waiting", {"StacksFolderMissing"}) == (state.backend, watched.problem_codes())
    write_contract(watched.root, "web")
    watched.wait_for("web")
    watched.wait_until(lambda: watched.problem_codes() == set(), "the problem stays")
    write_contract(watched.root, "web", "edited")
    assert {"web"} == set(watched.settled())


def test_a_removed_stacks_folder_removes_no_stack_and_is_watched_when_it_is_back(watched: Watched) -> None:
    """A folder that is away says nothing about its stacks; back, it is compared with what was known."""
    shutil.rmtree(watched.root)
    scan = watched.wait_for_scan("missing")
    assert ({}, {"StacksFolderMissing"}) == (dict(scan.files), watched.problem_codes())
    write_contract(watched.root, "web", "back")
    watched.wait_for("web")
    watched.wait_for("foundation", "foundation/airflow")
    write_contract(watched.root, "web", "and edited")
    assert watched.settled().count("web") >= 2


def test_a_stacks_folder_that_stays_away_tells_no_removal(watched: Watched) -> None:
    """The mass of deletions that comes before the folder's own is not acted on."""
    shutil.rmtree(watched.root)
    watched.wait_for_scan("missing")
    ends = time.monotonic() + 1.0
    watched.wait_until(lambda: time.monotonic() > ends, "")
    assert watched.told == []


def test_a_stacks_folder_replaced_by_another_is_noticed(watched: Watched) -> None:
    """The old folder's watch would report the new one never, and the old one under the new one's name."""
    replacement = watched.root.with_name("replacement")
    write_contract(replacement, "web", "another")
    write_contract(replacement, "fresh")
    old = watched.root.rename(watched.root.with_name("old"))
    replacement.rename(watched.root)
    watched.wait_for("web", "fresh", "foundation", "foundation/airflow")
    write_contract(watched.root, "fresh", "edited")
    (old / "web" / CONTRACT_NAME).write_text("edited in the old one")
    told = watched.settled()
    assert (told.count("web"), told.count("fresh")) == (1, 2)


def test_a_stacks_folder_removed_and_made_again_at_once_is_noticed(watched: Watched) -> None:
    """The new folder may even have the old one's inode: only the ended watch knows."""
    for _ in range(3):
        shutil.rmtree(watched.root)
        watched.root.mkdir()
        before = watched.told.count("web")
        write_contract(watched.root, "web", "another")
        watched.wait_until(lambda before=before: watched.told.count("web") > before, "not watched")  # type: ignore[misc]


def test_an_empty_folder_in_the_stacks_folder_s_place_removes_no_stack(watched: Watched) -> None:
    """What an unmounted disk leaves is an empty folder: it is told as a problem, until a contract is in it."""
    shutil.rmtree(watched.root)
    watched.wait_for_scan("missing")
    watched.root.mkdir()
    watched.wait_until(lambda: "StacksFolderReplacedEmpty" in watched.problem_codes(), "no problem")
    ends = time.monotonic() + 1.0
    watched.wait_until(lambda: time.monotonic() > ends, "")
    assert watched.told == []
    write_contract(watched.root, "web", "back")
    watched.wait_for("web", "foundation", "foundation/airflow")
    assert not watched.problem_codes()


_UNMOUNT = """
import json, subprocess, sys
from pathlib import Path
from tests.watch.conftest import Watched, write_contract
root = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], check=True)
write_contract(root, "web")
watched = Watched(root).start()
subprocess.run(["umount", "--lazy", str(root)], check=True)
watched.wait_until(lambda: "StacksFolderReplacedEmpty" in watched.problem_codes(), "no problem")
subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], check=True)
write_contract(root, "web")
watched.wait_for("web")
watched.watcher.stop()
print(json.dumps(watched.told))
"""


def test_an_unmounted_stacks_folder_removes_no_stack_and_is_watched_when_mounted(tmp_path: Path) -> None:
    """The mount point that shows is not an emptied stacks folder."""
    done = _run_in_namespace(_UNMOUNT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"web"} == set(json.loads(done.stdout.splitlines()[-1]))


def _run_in_namespace(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as root of a user namespace of its own: its mounts and limits are nobody else's."""
    repository = Path(__file__).parents[2]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", script, str(root)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{repository}:{repository / 'daemon'}"},
    )


def _watch_through_mode_000(root: Path) -> tuple[list[str], set[str], list[str]]:
    """Run as nobody: what a watcher told and said while the folder was shut, and after."""
    watched = Watched(root).start()
    try:
        root.chmod(0o000)
        watched.watcher.scan_now()
        watched.wait_for_scan("unreadable")
        while_shut = (list(watched.told), watched.problem_codes())
        root.chmod(0o755)
        watched.wait_for_scan("present")
        write_contract(root, "web", "edited")
        watched.wait_for("web")
        return *while_shut, watched.told
    finally:
        watched.watcher.stop()


def test_a_stacks_folder_of_mode_000_removes_no_stack_and_recovers(public_folder: Path) -> None:
    """Unreadable is never absent, and a mode put right needs no restart."""
    root = public_folder / "stacks"
    write_contract(root, "web")
    if os.geteuid() == 0:
        for path in (root, root / "web", root / "web" / CONTRACT_NAME):
            os.chown(path, 65534, 65534)
    told, problem_codes, told_after = run_unprivileged(lambda: _watch_through_mode_000(root))
    assert ([], {"StacksFolderUnreadable"}, ["web"]) == (told, problem_codes, told_after)


def test_what_an_overflowing_queue_swallowed_is_found_by_a_scan(root: Path, watch: Callable[..., Watched]) -> None:
    """The kernel drops events when nobody reads them in time; every contract is told all the same."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(5):
        write_contract(root, f"going/{number}")
    may_go_on, is_blocked = threading.Event(), threading.Event()

    def block(stack: str) -> None:
        if stack == "blocker":
            is_blocked.set()
            assert may_go_on.wait(DEADLINE_SECONDS)

    watched = watch(root, after_telling=block).start()
    write_contract(root, "blocker")
    assert is_blocked.wait(DEADLINE_SECONDS)
    filler = root / "web" / "filler"
    for _ in range(limit // 3 + 100):
        filler.write_text("")
        filler.unlink()
    new, changed = [f"new/{number}" for number in range(50)], ["web", "foundation/airflow"]
    for stack in (*new, *changed):
        write_contract(root, stack, "after the overflow")
    shutil.rmtree(root / "going")
    may_go_on.set()
    watched.wait_for(*new, *changed, *(f"going/{number}" for number in range(5)))
    before = watched.told.count("new/7")
    write_contract(root, "new/7", "and watched again")
    watched.wait_until(lambda: watched.told.count("new/7") > before, "not watched after the overflow")


_EXHAUSTION = """
import json, sys, threading
from pathlib import Path
Path("/proc/sys/user/max_inotify_watches").write_text("20")
from tests.watch.conftest import Watched, write_contract
root = Path(sys.argv[1])
watched = Watched(root).start()
watched.wait_until(lambda: "InotifyWatchesExhausted" in watched.problem_codes(), "no problem")
hint = watched.watcher.state().problems[0].hint
for number in range(100):
    write_contract(root, f"stack-{number}", "edited")
watched.wait_for(*(f"stack-{number}" for number in range(100)))
Path("/proc/sys/user/max_inotify_watches").write_text("1000")
watched.wait_until(lambda: watched.problem_codes() == set(), "the problem stays")
watched.watcher.stop()
print(json.dumps(hint))
"""


def test_watches_that_run_out_are_a_problem_with_its_sysctl_and_cost_no_contract(root: Path) -> None:
    """The kernel refuses silently below the root: the rest is scanned every few seconds, and it recovers."""
    for number in range(100):
        write_contract(root, f"stack-{number}")
    done = _run_in_namespace(_EXHAUSTION, root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sysctl -w fs.inotify.max_user_watches=" in done.stdout


def test_events_that_do_not_arrive_are_replaced_by_polling(root: Path, watch: Callable[..., Watched]) -> None:
    """A canary that nobody sees unmasks a file system that lies; the problem says so."""
    watched = watch(root, open_source=lambda _root, _sink: SilentSource(), scan_interval_seconds=0.2).start()
    assert watched.watcher.state().backend == "silent"
    watched.wait_until(lambda: watched.watcher.state().backend == "polling", "no fall to polling")
    assert {"EventsNotArriving"} == watched.problem_codes()
    write_contract(root, "web", "edited")
    watched.wait_for("web")


def test_native_events_are_believed_without_a_canary_when_asked_for(root: Path, watch: Callable[..., Watched]) -> None:
    """Who says `native` knows better, and wants no test file written."""
    root.chmod(0o755)
    before = root.stat().st_mtime_ns
    watched = watch(root, open_source=lambda _root, _sink: SilentSource(), backend="native").start()
    assert (before, "silent") == (root.stat().st_mtime_ns, watched.watcher.state().backend)


def test_a_source_whose_thread_died_is_opened_anew(root: Path, watch: Callable[..., Watched]) -> None:
    """A dead reader thread looks like a quiet day."""
    opened: list[object] = []

    def open_dead_then_live(path: str, sink: EventSink) -> SilentSource | InotifySource:
        opened.append(path)
        return SilentSource(alive=False) if len(opened) == 1 else InotifySource(path, sink)

    watched = watch(root, open_source=open_dead_then_live).start()
    watched.wait_until(lambda: watched.watcher.state().backend == "inotify", "not opened anew")
    write_contract(root, "web", "edited")
    assert watched.settled() == ["web"]


def test_events_that_stop_after_the_canary_are_noticed_by_the_scan(root: Path, watch: Callable[..., Watched]) -> None:
    """A change that only the scan saw means that the watch is blind there: it is set up anew."""
    opened: list[object] = []

    def open_blind_then_seeing(path: str, sink: EventSink) -> SilentSource | InotifySource:
        opened.append(path)
        return SilentSource() if len(opened) == 1 else InotifySource(path, sink)

    watched = watch(root, open_source=open_blind_then_seeing, backend="native").start()
    write_contract(root, "web", "edited")
    watched.scan()
    watched.wait_until(lambda: watched.watcher.state().backend == "inotify", "not set up anew")
    write_contract(root, "foundation", "edited")
    assert watched.settled() == ["foundation", "web"]


def test_no_inotify_at_all_means_polling_and_a_problem(root: Path, watch: Callable[..., Watched]) -> None:
    """The limit of inotify instances is small, and other programs use them up."""

    def refuse(_root: str, _sink: EventSink) -> SilentSource:
        raise OSError(24, "inotify instance limit reached")

    watched = watch(root, open_source=refuse, scan_interval_seconds=0.1).start()
    assert ("polling", {"NativeEventsUnavailable"}) == (
        watched.watcher.state().backend,
        watched.problem_codes(),
    )
    write_contract(root, "web", "edited")
    watched.wait_for("web")


def test_the_canary_is_gone_and_so_are_those_of_killed_agents(root: Path, watch: Callable[..., Watched]) -> None:
    """Nothing of ours stays in a folder that git looks at; a canary just written by another is left alone."""
    stale, fresh = root / f"{CANARY_PREFIX}1", root / f"{CANARY_PREFIX}2"
    stale.write_text("")
    fresh.write_text("")
    os.utime(stale, (0, 0))
    watch(root).start()
    assert [fresh] == list(root.glob(".*"))


def test_a_read_only_stacks_folder_is_watched_without_a_canary(public_folder: Path) -> None:
    """A folder that we may not write to can be watched; nothing is known against its events."""
    write_contract(public_folder, "web")

    def watch_briefly() -> tuple[str, set[str]]:
        watched = Watched(public_folder).start()
        try:
            watched.scan()
            return watched.watcher.state().backend, watched.problem_codes()
        finally:
            watched.watcher.stop()

    assert ("inotify", set()) == run_unprivileged(watch_briefly)


def test_a_consumer_that_raises_does_not_end_the_watch(root: Path, watch: Callable[..., Watched]) -> None:
    """One stack's trouble must not silence all the others."""

    def fail(_stack: str) -> None:
        message = "the consumer failed"
        raise RuntimeError(message)

    watched = watch(root, after_telling=fail).start()
    write_contract(root, "web", "edited")
    watched.wait_for("web")
    write_contract(root, "foundation", "edited")
    assert watched.settled() == ["foundation", "web"]


def test_stop_leaves_no_thread_and_no_descriptor(
    root: Path, watch: Callable[..., Watched], open_source: object
) -> None:
    """A watcher may be started and stopped for ever."""
    watch(root, open_source=open_source).start().watcher.stop()
    threads, descriptors = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    for _ in range(5):
        watched = watch(root, open_source=open_source).start()
        watched.watcher.stop()
        watched.watcher.stop()
    assert (threads, descriptors) == (set(threading.enumerate()), set(Path("/proc/self/fd").iterdir()))


def test_a_stopped_watcher_starts_again(root: Path, watch: Callable[..., Watched]) -> None:
    """Stop and start are a restart, with what was known before."""
    watched = watch(root).start()
    watched.watcher.stop()
    write_contract(root, "web", "edited meanwhile")
    watched.watcher.start()
    watched.wait_for("web")
    assert watched.settled() == ["web"]


def test_the_state_says_when_the_last_scan_was_and_that_the_thread_lives(watched: Watched) -> None:
    """A service watchdog needs a heartbeat that moves, a person the time of the last scan."""
    first = watched.watcher.state()
    assert (str(watched.root),) == first.roots
    scan: ScanResult = watched.scan()
    assert scan.directories == 4
    watched.wait_until(lambda: watched.watcher.state().heartbeat > first.heartbeat, "no heartbeat")
    last_scan_at = watched.watcher.state().last_scan_at
    assert last_scan_at is not None
    assert abs(time.time() - last_scan_at) < 60

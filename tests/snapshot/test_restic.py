"""The restic engine with the real restic: same snapshots, same restores, and nothing of it half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.snapshot.conftest import Ground, describe
from tests.snapshot.restic_ground import (
    PASSWORD,
    REST_PASSWORD,
    list_snapshots,
    make_quick_place,
    serve_rest,
    write_private,
)

from hostk8s_agent.errors import AgentError
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.drilling import drill_snapshot
from hostk8s_agent.snapshot.errors import (
    RepositoryLockedError,
    ResticRepositoryMissingError,
    ResticUnreachableError,
    SnapshotStoppedError,
)
from hostk8s_agent.snapshot.exporting import diff_snapshots, iterate_content
from hostk8s_agent.snapshot.model import ARCHIVE_ENGINE, RESTIC_ENGINE, SnapshotState
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.snapshot.restic import process, records
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace
from hostk8s_agent.snapshot.restic.program import read_version

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("restic_tools")]


@pytest.fixture(scope="module")
def local_place(restic_tools: None, tmp_path_factory: pytest.TempPathFactory) -> ResticPlace:
    """One repository for all tests that leave it as it is."""
    del restic_tools
    return make_quick_place(tmp_path_factory.mktemp("restic"))


@pytest.fixture
def restic(ground: Ground, local_place: ResticPlace) -> Ground:
    """A stack whose snapshots go to the local repository."""
    ground.restic = local_place
    return ground


def engine_of(ground: Ground) -> ResticEngine:
    """The engine of a ground, as a new process makes it."""
    engine = ground.repository.engine
    assert isinstance(engine, ResticEngine)
    return engine


def test_what_is_restored_is_what_was_there(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In every field, and over the network; no password is on a command line, in a file of ours or in a log."""
    commands: list[str] = []
    popen = subprocess.Popen

    def record(arguments: Any, **named: Any) -> Any:
        commands.append(" ".join(map(str, arguments)))
        return popen(arguments, **named)

    with serve_rest(ground.folder) as ground.restic:
        before = describe(ground.path())
        monkeypatch.setattr(subprocess, "Popen", record)
        snapshot = ground.service.select(ground.create(name="first"))
        assert (snapshot.engine, snapshot.state) == (RESTIC_ENGINE, SnapshotState.GOOD)
        assert not snapshot.directories[0].lost
        assert b"".join(iterate_content(ground.repository, snapshot, "data/second-name")) == b"two names"
        assert drill_snapshot(ground.repository, snapshot).files == snapshot.files
        shutil.rmtree(ground.path())
        ground.path().mkdir()
        (ground.path() / "wrecked").write_text("all of it")
        ground.now += timedelta(hours=1)
        outcome = ground.service.restore(RestoreRequest("sample", snapshot.id))
        monkeypatch.undo()
        assert describe(ground.path()) == before
        assert outcome.safety is not None
        assert ("added", "data/wrecked") in diff_snapshots(ground.repository, snapshot, outcome.safety)
    assert any("backup" in command for command in commands)
    told = capfd.readouterr()
    kept = [path.read_bytes() for path in (ground.folder / "repository").rglob("*") if path.is_file()]
    for secret in (PASSWORD, REST_PASSWORD, quote(REST_PASSWORD, safe="")):
        assert secret not in "".join([*commands, told.out, told.err])
        assert secret.encode() not in b"".join(kept)


def test_an_unchanged_stack_starts_no_restic(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known by a look at the directory, and what was verified is not read again."""
    restic.change(settled_seconds=-5.0)
    first = restic.service.select(restic.create())

    def refuse() -> str:
        raise AssertionError("restic was started")

    monkeypatch.setattr(process, "find_restic", refuse)
    restic.now += timedelta(hours=1)
    again = restic.service.select(restic.create())
    assert again.directories[0].archive == first.directories[0].archive
    assert again.state is SnapshotState.GOOD
    (restic.path() / "first-name").write_text("changed")
    with pytest.raises(AssertionError, match="restic was started"):
        restic.create()


def test_what_is_forgotten_is_forgotten_by_restic_and_pruned_after_a_week(restic: Ground) -> None:
    """What two snapshots share stays until both are gone."""
    restic.change(settled_seconds=-5.0)
    before = list_snapshots(restic.restic)  # type: ignore[arg-type]
    first = restic.create()
    restic.now += timedelta(hours=1)
    second = restic.create()
    (stored,) = list_snapshots(restic.restic) - before  # type: ignore[arg-type]
    restic.service.forget(first)
    assert stored in list_snapshots(restic.restic)  # type: ignore[arg-type]
    restic.service.forget(second)
    assert list_snapshots(restic.restic) == before  # type: ignore[arg-type]
    due = restic.folder / "repository/restic/prune-due"
    restic.service.tidy()
    assert due.exists()
    os.utime(due, (time.time() - 8 * 86400,) * 2)
    restic.service.tidy()
    assert not due.exists()


def test_an_address_is_shown_without_its_password(ground: Ground) -> None:
    """Whatever the password has in it; an address without one is shown as it is."""
    for address, shown in (
        ("rest:https://user:p@s:s+w@host:8000/x", "rest:https://user:***@host:8000/x"),
        ("s3:https://host/bucket", "s3:https://host/bucket"),
        ("sftp:backup@nas:/volume1/hostk8s", "sftp:backup@nas:/volume1/hostk8s"),
        ("/mnt/a:b@c", "/mnt/a:b@c"),
    ):
        assert ResticEngine(ground.folder, ResticPlace(address)).address == shown


CHILD = """
import os, signal, sys
from pathlib import Path
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace
engine = ResticEngine(Path(sys.argv[1]), ResticPlace(sys.argv[2], Path(sys.argv[3])))
engine.prepare()
with engine.begin("sample/data") as archive:
    for _ in range(20):
        archive.put(os.urandom(1 << 20))
    print("in the middle", flush=True)
    signal.pause()
"""


WAITING_CHILD = """
import sys
from pathlib import Path
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace
engine = ResticEngine(Path(sys.argv[1]), ResticPlace(sys.argv[2], password_command=f"cat {sys.argv[3]}"))
engine.prepare()
engine.find_home()
"""


def test_an_agent_that_is_killed_takes_restic_with_it(restic: Ground, wait_until: Callable[..., None]) -> None:
    """Nothing of what was under way is there afterwards, and the next snapshot tidies up and goes on."""
    place = restic.restic
    assert place is not None
    before = list_snapshots(place)
    folder = restic.folder / "repository"
    arguments = [sys.executable, "-c", CHILD, str(folder), place.repository, str(place.password_file)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"in the middle\n"
        started = subprocess.run(["ps", "-o", "pid=", "--ppid", str(agent.pid)], capture_output=True, check=True)
        (child,) = started.stdout.split()
        agent.kill()
    wait_until(lambda: not _is_running(int(child)), "restic ends with the agent")
    assert list_snapshots(place) == before
    assert len(list((folder / "restic").glob("*.intent"))) == 1
    assert restic.service.select(restic.create()).state is SnapshotState.GOOD
    assert not list((folder / "restic").glob("*.intent"))
    ours = {one.archive.stored_as for snapshot in restic.service.list()[0] for one in snapshot.directories}
    assert list_snapshots(place) - before == ours


def test_a_restic_that_waits_ends_with_the_agent_too(restic: Ground, wait_until: Callable[..., None]) -> None:
    """It is the kernel that ends it: nothing passes by which it could notice."""
    fifo = restic.folder / "never"
    os.mkfifo(fifo)
    place = restic.restic
    assert place is not None
    arguments = [sys.executable, "-c", WAITING_CHILD, str(restic.folder / "repository"), place.repository, str(fifo)]
    # Once it is opened there too, the password command waits, and so does restic.
    with subprocess.Popen(arguments) as agent, fifo.open("wb"):
        child = subprocess.run(["pgrep", "-x", "restic", "-P", str(agent.pid)], capture_output=True, check=True)
        agent.kill()
        wait_until(lambda: not _is_running(int(child.stdout)), "restic ends with the agent")


def test_a_stopping_agent_does_not_wait_for_restic(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it takes nothing any more: it is ended, and commits nothing."""
    place = restic.restic
    assert place is not None
    before = list_snapshots(place)
    engine = engine_of(restic)
    engine.prepare()
    monkeypatch.setattr(process, "_END_SECONDS", 0.2)
    with pytest.raises(SnapshotStoppedError), engine.begin("sample/data") as archive:  # noqa: PT012 - until it stops
        (child,) = list_children("restic")
        os.kill(child, signal.SIGSTOP)
        threading.Timer(0.1, engine.stop).start()
        while True:
            archive.put(bytes(1 << 20))
    assert not _is_running(child)
    assert list_snapshots(place) == before


def test_a_restic_that_does_nothing_any_more_is_ended(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's counts, whatever it says: after a minute, here at once."""
    monkeypatch.setattr(process, "_END_SECONDS", 0.2)
    engine = engine_of(restic)
    engine.prepare()
    with pytest.raises(ResticUnreachableError), engine.begin("sample/data") as archive:  # noqa: PT012 - until it ends
        (child,) = list_children("restic")
        os.kill(child, signal.SIGSTOP)
        monkeypatch.setattr(process, "QUIET_SECONDS", 0.5)
        while True:
            archive.put(bytes(1 << 20))
    assert not _is_running(child)


def list_children(name: str) -> list[int]:
    """The processes of this name that this one has started."""
    found = subprocess.run(["pgrep", "-x", name, "-P", str(os.getpid())], capture_output=True, check=True)
    return [int(one) for one in found.stdout.split()]


def _is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_restic_committed_before_a_crash_is_found_and_forgotten(
    restic: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing of ours says more of it than that it was begun."""
    before = list_snapshots(restic.restic)  # type: ignore[arg-type]

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records.ResticRecords, "add", die)
        with pytest.raises(KeyboardInterrupt):
            restic.create()
    assert len(list_snapshots(restic.restic) - before) == 1  # type: ignore[arg-type]
    assert restic.service.list() == ((), ())
    restic.repository.sweep()
    assert list_snapshots(restic.restic) == before  # type: ignore[arg-type]


def test_a_stream_that_fails_leaves_nothing(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restic is given the end of its input only after the whole stream was checked."""
    before = list_snapshots(restic.restic)  # type: ignore[arg-type]
    monkeypatch.setattr("hostk8s_agent.snapshot.tar_scanning.TarScanner.finish", _cut)
    with pytest.raises(EOFError):
        restic.create()
    assert list_snapshots(restic.restic) == before  # type: ignore[arg-type]
    assert not list((restic.folder / "repository/restic").glob("*.intent"))


def _cut(_scanner: object) -> None:
    raise EOFError


def test_a_damaged_pack_is_found(ground: Ground) -> None:
    """By verification, and no restore touches the directory."""
    ground.restic = make_quick_place(ground.folder)
    snapshot = ground.create()
    pack = max((ground.folder / "restic/data").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    (verified,), _ = ground.service.verify([snapshot])
    assert verified.snapshot.state is SnapshotState.DAMAGED
    assert "could not read" in verified.snapshot.marks.reason


def test_a_lock_of_the_living_is_told_and_one_of_the_dead_removed(restic: Ground) -> None:
    """A prune needs the repository for itself."""
    place = restic.restic
    assert place is not None
    restic.repository.prepare()
    due = restic.folder / "repository/restic/prune-due"
    due.touch()
    os.utime(due, (time.time() - 8 * 86400,) * 2)
    command = ["restic", "--repo", place.repository, "backup", "--stdin", "--json"]
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    locks = Path(place.repository) / "locks"
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **quiet) as other:  # type: ignore[call-overload]
        while not list(locks.iterdir()):
            time.sleep(0.01)
        with pytest.raises(RepositoryLockedError, match=f"process {other.pid} of"):
            restic.service.tidy()
        assert list(locks.iterdir())
        other.kill()
    restic.service.tidy()
    assert not due.exists()
    assert not list(locks.iterdir())


def test_each_failure_has_its_code(restic: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """And adds nothing to the repository."""
    place = restic.restic
    assert place is not None
    restic.create()
    kept = restic.repository.list_ids()
    wrong = write_private(restic.folder / "wrong", "another word")
    shown = write_private(restic.folder / "shown", PASSWORD)
    shown.chmod(0o644)
    away = "rest:http://127.0.0.1:9/"
    for code, tried in (
        ("ResticPasswordWrong", replace(place, password_file=wrong)),
        ("ResticPasswordUnusable", replace(place, password_file=shown)),
        ("ResticPasswordUnusable", replace(place, password_file=None)),
        ("ResticPasswordUnusable", replace(place, password_file=None, password_command="false")),
        ("ResticUnreachable", replace(place, repository=away)),
    ):
        restic.restic = tried
        (restic.path() / "changed").write_text(code)
        with pytest.raises(AgentError) as raised:
            restic.create()
        assert raised.value.code == code, raised.value.message
        assert raised.value.hint
    credentials = restic.folder / "credentials"
    credentials.mkdir()
    write_private(credentials / "restic-password", PASSWORD)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    restic.restic = replace(place, password_file=None)
    assert engine_of(restic).find_home()
    assert restic.repository.list_ids() == kept


def test_a_server_that_goes_and_a_repository_that_is_gone(ground: Ground) -> None:
    """A repository that was known is missed and never made anew; what a server keeps back is no damage."""
    with serve_rest(ground.folder) as place:
        ground.restic = place
        snapshot = ground.create()
        assert place.environment_file is not None
        write_private(place.environment_file, "RESTIC_REST_USERNAME=agent\nRESTIC_REST_PASSWORD=another\n")
        with pytest.raises(AgentError) as raised:
            ground.service.verify([snapshot])
        assert raised.value.code == "ResticRefused"
        write_private(place.environment_file, f"RESTIC_REST_USERNAME=agent\nRESTIC_REST_PASSWORD={REST_PASSWORD}\n")
        (ground.folder / "served/sample").rename(ground.folder / "served/elsewhere")
        (ground.path() / "changed").write_text("changed")
        for attempt in (ground.create, lambda: ground.service.verify([snapshot])):
            with pytest.raises(ResticRepositoryMissingError):
                attempt()
        assert not (ground.folder / "served/sample").exists()
    with pytest.raises(AgentError) as raised:
        ground.service.verify([snapshot])
    assert raised.value.code == "ResticUnreachable"
    assert ground.service.select(snapshot).state is SnapshotState.GOOD


def test_a_full_disk_adds_nothing(ground: Ground, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was there before stays whole. restic 0.14 says so, or waits for itself for ever: that is noticed too."""
    monkeypatch.setattr(process, "QUIET_SECONDS", 8.0)
    ground.restic = make_quick_place(small_disk)
    snapshot = ground.create()
    (ground.path() / "large").write_bytes(os.urandom(24 << 20))
    with pytest.raises(AgentError) as raised:
        ground.create()
    assert raised.value.code in {"RepositoryFull", "ResticUnreachable"}, raised.value.message
    assert ground.repository.list_ids() == [snapshot]
    assert ground.service.verify([snapshot])[0][0].is_whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_restic_that_is_missing_or_old_is_told_with_what_installs_it(
    restic: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is begun."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("find", "tar", "setpriv"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    read_version.cache_clear()
    with pytest.raises(AgentError, match="not installed") as raised:
        restic.create()
    assert (raised.value.code, raised.value.hint) == ("ResticMissing", "apt-get install restic")
    old = programs / "restic"
    old.write_text("#!/bin/sh\necho 'restic 0.11.0 compiled with go1.15.9 on linux/amd64'\n")
    old.chmod(0o755)
    with pytest.raises(AgentError, match=r"is 0\.11, and 0\.14 or later is needed"):
        restic.create()
    assert restic.service.list() == ((), ())


def test_both_engines_live_in_one_repository(restic: Ground, tmp_path: Path) -> None:
    """A change stores everything anew and keeps the old readable; what is in restic is handed on as a plain file."""
    place, restic.restic = restic.restic, None
    restic.change(settled_seconds=-5.0)
    plain = restic.service.select(restic.create())
    restic.restic = place
    restic.now += timedelta(hours=1)
    stored = restic.service.select(restic.create())
    assert (plain.engine, stored.engine) == (ARCHIVE_ENGINE, RESTIC_ENGINE)
    assert plain.directories[0].archive.tree == stored.directories[0].archive.tree
    assert all(one.is_whole for one in restic.service.verify()[0])
    file = tmp_path / "sample.tar"
    write_bundle(restic.repository, stored, file)
    other = Repository(tmp_path / "other")
    other.prepare()
    taken = read_bundle(other, file, lambda: restic.now)
    assert taken.engine == ARCHIVE_ENGINE
    assert taken.directories[0].archive.tree == stored.directories[0].archive.tree
    restic.restic = None
    with pytest.raises(AgentError) as raised:
        restic.service.restore(RestoreRequest("sample", stored.id))
    assert raised.value.code == "EngineUnknown"

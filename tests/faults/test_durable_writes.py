"""Writes that fail: the error is shown, what was there stays whole, and all is well again when there is space."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from hostk8s_agent.workspace import Workspace, state_folder
from reliability import Row

COMMAND = Path(sys.executable).with_name("hostk8s-agent")
Wait = Callable[..., None]

WRITING = ("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink")
ERRORS = ("ENOSPC", "EIO", "EROFS")
SECONDS = 60.0


class Injection(NamedTuple):
    """The Nth call of a system call on one of the agent's files fails with an error."""

    call: str
    error: str
    number: int


def durable_files(site: Any) -> list[Path]:
    """What the agent writes so that it outlives it, with the names that stand there meanwhile."""
    state = state_folder(Workspace(site.root), site.environment)
    manifests = site.root / "data/manifests"
    names = [state / "state.db", state / "state.db-journal", state / "lock"]
    return [*names, manifests / "sample.yaml", manifests / ".sample.yaml.new", manifests]


def run_under_strace(site: Any, trace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """One pass of the agent, its calls on its own files traced, and failed as the options say."""
    paths = [word for path in durable_files(site) for word in ("-P", str(path))]
    command = ["strace", "-f", "-qq", "-o", str(trace), *paths, "-e", f"trace={','.join(WRITING)}", *options]
    return subprocess.run(
        [*command, str(COMMAND), "run", "--once", "--timeout", "5", "-o", "json"],
        cwd=site.root,
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def list_injections(site: Any, trace: Path) -> list[Injection]:
    """Every call that a pass with a change makes on its files, with every error, in an order of chance."""
    assert run_under_strace(site, trace).returncode == 0
    site.save("sample", size="2Gi")
    assert run_under_strace(site, trace).returncode == 0
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(encoding="utf-8"), re.MULTILINE))
    found = [Injection(call, error, one + 1) for call in WRITING for one in range(calls[call]) for error in ERRORS]
    random.Random(3).shuffle(found)
    return found


@pytest.mark.fault(
    "D2",
    "ENOSPC, EIO, EROFS on the Nth open, write, sync, rename or unlink of a durable write",
    holds="error shown, old data intact, temporary files gone, recovers when space returns",
    target="0 silent",
    short=1,
    full=60,
)
def test_a_write_that_fails_is_told_and_damages_nothing(row: Row, site: Any, tmp_path: Path) -> None:
    """Records and manifests hold the old or the new, never half of either; the next pass makes all well."""
    trace = tmp_path / "trace"
    site.save("sample", size="1Gi")
    chosen = list_injections(site, trace)
    row.note(f"{len(chosen)} different failures are possible; those tried are drawn from them")
    injections = cycle(chosen)
    sizes = ["2Gi"]
    for trial in row.trials():
        with trial:
            injection, done = _make_one_fail(site, trace, injections, sizes)
            _require_whole(site, set(sizes))
            assert _is_told(done), f"{injection} was silent: {done.stdout} {done.stderr}"
            after = site.run("run", "--once", "-o", "json")
            assert after.returncode == 0, f"after {injection}: {after.stdout} {after.stderr}"
            _require_whole(site, {sizes[-1]})
            assert list((site.root / "data/manifests").glob(".*")) == [], f"{injection} left a file behind"
            del sizes[:-1]


def _make_one_fail(
    site: Any, trace: Path, injections: Iterator[Injection], sizes: list[str]
) -> tuple[Injection, subprocess.CompletedProcess[str]]:
    """Save anew and run a pass in which a call fails. How many calls one makes is a matter of chance: at most ten."""
    for _ in range(10):
        injection = next(injections)
        sizes.append(f"{int(sizes[-1].removesuffix('Gi')) + 1}Gi")
        site.save("sample", size=sizes[-1])
        inject = f"inject={injection.call}:error={injection.error}:when={injection.number}"
        done = run_under_strace(site, trace, "-e", inject)
        if "INJECTED" in trace.read_text(encoding="utf-8"):
            return injection, done
        del sizes[:-1]
    raise AssertionError("ten passes, and none of them made the call that was to fail")


def _require_whole(site: Any, sizes: set[str]) -> None:
    """Records and manifests can be read, and hold one of the versions."""
    text = (site.root / "data/manifests/sample.yaml").read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all(text))
    assert [one["kind"] for one in documents] == ["StorageClass", "PersistentVolume"]
    assert documents[1]["spec"]["capacity"]["storage"] in sizes
    database = state_folder(Workspace(site.root), site.environment) / "state.db"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        [(status, contract)] = connection.execute("SELECT status, contract FROM stacks").fetchall()
        assert json.loads(status)["name"] == "sample"
        assert b"StorageContract" in contract


def _is_told(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a person was told: by the exit code, by a problem of the outcome, or by a warning in the log."""
    return done.returncode != 0 or '"level": "warning"' in done.stderr or "unwritable" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left, and return the file that has it."""
    file = folder / "filling"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * 4096)
    finally:
        os.close(descriptor)
    return file


@pytest.mark.fault(
    "D2/tmpfs",
    "the file system of records, manifests and socket is really full",
    holds="error shown, old data intact, recovers when space returns",
    target="0 silent",
    short=1,
    full=20,
)
def test_a_full_disk_is_told_and_recovered_from(row: Row, site: Any, small_disk: Path, wait_until: Wait) -> None:
    """A save on a full disk makes its stack Blocked or Pending with the reason; with space it is Ready by itself."""
    manifests = site.root / "data/manifests"
    manifests.parent.mkdir()
    (small_disk / "manifests").mkdir()
    manifests.symlink_to(small_disk / "manifests")
    site.environment.update(XDG_STATE_HOME=str(small_disk / "state"))
    site.save("sample")
    site.start()
    site.wait_for("sample", "Ready")
    for trial in row.trials():
        with trial as number:
            old, new = f"{number + 1}Gi", f"{number + 2}Gi"
            filling = fill(small_disk)
            try:
                site.save("sample", size=new)
                wait_until(lambda: "ManifestFolderFailed" in site.codes("sample"), "the full disk is told")
                text = (manifests / "sample.yaml").read_text(encoding="utf-8")
                assert yaml.safe_load(text.split("---")[2])["spec"]["capacity"]["storage"] == old
                assert [one.name for one in manifests.iterdir()] == ["sample.yaml"]
            finally:
                filling.unlink()
            site.wait_for("sample", "Ready")
            assert f"storage: {new}\n" in (manifests / "sample.yaml").read_text(encoding="utf-8")


def test_an_agent_that_cannot_begin_on_a_full_disk_says_so(site: Any, small_disk: Path) -> None:
    """Neither a traceback nor an agent that pretends to run; with space it starts."""
    site.environment.update(XDG_STATE_HOME=str(small_disk / "state"), XDG_RUNTIME_DIR=str(small_disk / "run"))
    site.save("sample")
    filling = fill(small_disk)
    done = site.run("run", "--once")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "cannot be used" in done.stderr
    filling.unlink()
    assert site.run("run", "--once").returncode == 0
    shutil.rmtree(small_disk / "state")

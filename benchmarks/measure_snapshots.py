"""Snapshots and restores by the direct way, beside tar and zstd, restic and borg, in turns on the same disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from figures import TIMES, Check, Figure, Samples, render_rivals
from saving import time_milliseconds
from snapshot_workload import make_data

if TYPE_CHECKING:
    from trial import Trial

ROUNDS = 5
# A directory that has changed in the minute before is read once more: see snapshot/scanning.py.
SETTLED_SECONDS = 65.0
MEMORY_MB = 150
_PROCESS = Path(__file__).with_name("snapshot_process.py")


def run_request(volume: Path, repository: Path, verb: str, names: list[str]) -> dict[str, float]:
    """Have a process of its own create or restore a snapshot; return what it says: milliseconds and peaks in KiB."""
    command = [sys.executable, str(_PROCESS), str(volume), str(repository), verb, *names]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{verb}: {done.stderr.decode(errors='replace')}")
    said: dict[str, float] = json.loads(done.stdout)
    return said


@dataclass
class _Contest:
    """The data, where everybody keeps theirs, and what was measured."""

    folder: Path
    names: list[str]
    ours: dict[str, Samples] = field(default_factory=dict)
    peak_mb: float = 0.0

    @property
    def volume(self) -> Path:
        """What is snapshotted."""
        return self.folder / "volume"

    def agent(self, repository: str, verb: str, volume: Path | None = None) -> dict[str, float]:
        """One request of the agent; remembers the most memory that any has taken."""
        said = run_request(volume or self.volume, self.folder / repository, verb, self.names)
        self.peak_mb = max(self.peak_mb, said["own_kib"] * 1024 / 1e6)
        return said

    def rival(self, command: str) -> float:
        """Run a rival's command in a shell, and return what it took in milliseconds."""
        environment = {
            **os.environ,
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(self.folder / "restic"),
            "RESTIC_CACHE_DIR": str(self.folder / "restic-cache"),
            "BORG_REPO": str(self.folder / "borg"),
            "BORG_BASE_DIR": str(self.folder / "borg-base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        started = time.perf_counter()
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=False,
        )
        milliseconds = time_milliseconds(started)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.decode(errors='replace')}")
        return milliseconds

    def forget(self, *names: str) -> None:
        """Remove what a round has left, and let the disk come to rest: nobody waits for what another has written."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        os.sync()


def measure_snapshots(trial: Trial) -> Figure:
    """First, unchanged, and after one change; then a restore."""
    for program in ("restic", "borg", "zstd"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is missing: apt-get install restic borgbackup zstd")
    rounds = min(ROUNDS, trial.sizes.rounds)
    with trial.ground.private_folder() as folder:
        trial.progress.say("making 1 GiB in 64 files and 40,000 small ones")
        contest = _Contest(folder, make_data(folder / "volume"))
        names = ("first", "tar", "restic first", "borg first", "read back", "unchanged", "restic unchanged")
        more = ("borg unchanged", "changed", "restic changed", "restore", "untar", "restic restore")
        found = {name: Samples() for name in (*names, *more)}
        for number in trial.progress.rounds(rounds):
            _measure_first(contest, found)
            if number == 0:
                trial.progress.say("waiting until the data has settled")
                time.sleep(SETTLED_SECONDS)
            _measure_later(contest, found, number)
            _measure_restore(contest, found, number)
            contest.forget("repository", "restic", "restic-cache", "borg", "borg-base")
        return _build_figure(contest, found, rounds)


def _measure_first(contest: _Contest, found: dict[str, Samples]) -> None:
    contest.forget("repository", "archive.zst")
    said = contest.agent("repository", "create")
    found["first"].add(said["taken_ms"])
    found["read back"].add(said["verified_ms"])
    os.sync()
    found["tar"].add(contest.rival("tar c -C volume . | zstd -q -3 -T0 > archive.zst"))
    os.sync()
    contest.rival("restic init -q && borg init -e none")
    found["restic first"].add(contest.rival("restic backup -q volume"))
    os.sync()
    found["borg first"].add(contest.rival("borg create ::first volume"))
    os.sync()


def _measure_later(contest: _Contest, found: dict[str, Samples], number: int) -> None:
    # The one whose scans are kept, and the two whose files are older than their own grace.
    contest.agent("repository", "create")
    contest.rival("borg create ::second volume")
    found["unchanged"].add(contest.agent("repository", "create")["taken_ms"])
    found["restic unchanged"].add(contest.rival("restic backup -q volume"))
    found["borg unchanged"].add(contest.rival("borg create ::third volume"))
    (contest.volume / "d3/s00/changed").write_text(f"round {number}\n")
    found["changed"].add(contest.agent("repository", "create")["taken_ms"])
    found["restic changed"].add(contest.rival("restic backup -q volume"))
    os.sync()


def _measure_restore(contest: _Contest, found: dict[str, Samples], number: int) -> None:
    """In turns, since a disk remembers what was written before; everybody's tree is on the disk at the end."""
    target = contest.folder / "target"

    def restore() -> float:
        return contest.agent("repository", "restore", target)["restored_ms"]

    def untar() -> float:
        return contest.rival("zstd -q -dc archive.zst | tar x -C target && sync -f target")

    def restic() -> float:
        return contest.rival("restic restore -q latest --target target && sync -f target")

    contestants = [("restore", restore), ("untar", untar), ("restic restore", restic)]
    for place in range(len(contestants)):
        name, run = contestants[(place + number) % len(contestants)]
        contest.forget("target")
        target.mkdir()
        found[name].add(run())
    contest.forget("target")


def _build_figure(contest: _Contest, found: dict[str, Samples], rounds: int) -> Figure:
    def ratio(label: str, rival: str, limit: float) -> Check:
        value = found[label].median / found[rival].median
        return Check(f"{label} / {rival}", value, limit, TIMES)

    return Figure(
        work="snapshots of 1 GiB in 64 files and 40,000 small ones, direct",
        rounds=f"{rounds} rounds",
        measured="; ".join(f"{name} {found[name]}" for name in ("first", "unchanged", "changed", "restore")),
        rivals=render_rivals(
            (name, found[name])
            for name in (
                "tar",
                "restic first",
                "borg first",
                "restic unchanged",
                "borg unchanged",
                "restic changed",
                "untar",
                "restic restore",
            )
        ),
        checks=(
            ratio("first", "tar", 1.3),
            ratio("first", "restic first", 1.0),
            ratio("first", "borg first", 1.0),
            ratio("unchanged", "restic unchanged", 0.25),
            ratio("unchanged", "borg unchanged", 0.25),
            ratio("changed", "restic changed", 0.8),
            ratio("restore", "untar", 1.3),
            ratio("restore", "restic restore", 1.0),
            Check("most memory", contest.peak_mb, MEMORY_MB, "MB"),
        ),
        details=(
            "tar: `tar c | zstd -3 -T0 > file`; untar: `zstd -d | tar x`; all restores end synced",
            "first has the SHA-256 of every file",
            "the memory is the peak of the process with the work, imports included; tar and find are not in it",
            f"reading a new snapshot back took {found['read back']}",
        ),
    )

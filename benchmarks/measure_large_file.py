"""The most memory that snapshots take, with one file of 10 GB."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

from figures import Check, Figure, Samples
from measure_snapshots import MEMORY_MB, run_request

if TYPE_CHECKING:
    from pathlib import Path

    from trial import Trial

FILE_BYTES = 10 * 10**9
_BLOCK_BYTES = 64 << 20


def measure_large_file(trial: Trial) -> Figure:
    """One snapshot of it with its reading back, and one restore: each in a process of its own."""
    with trial.ground.private_folder() as folder:
        # The file, its archive, which is as large, and the restored file.
        if shutil.disk_usage(folder).free < 3.2 * FILE_BYTES:
            raise RuntimeError(f"{3.2 * FILE_BYTES / 1e9:.0f} GB of space are needed in {folder}")
        trial.progress.say("making a file of 10 GB")
        make_large_file(folder / "volume/large/file")
        trial.progress.say("taking a snapshot of it")
        created = run_request(folder / "volume", folder / "repository", "create", ["large"])
        shutil.rmtree(folder / "volume")
        (folder / "target").mkdir()
        trial.progress.say("restoring it")
        restored = run_request(folder / "target", folder / "repository", "restore", ["large"])
    peaks = {name: said["own_kib"] * 1024 / 1e6 for name, said in (("snapshot", created), ("restore", restored))}
    taken, verified, back = Samples(), Samples(), Samples()
    taken.add(created["taken_ms"])
    verified.add(created["verified_ms"])
    back.add(restored["restored_ms"])
    return Figure(
        work="memory of a snapshot and a restore of one 10 GB file, direct",
        rounds="1 round",
        measured="; ".join(f"{name} {peak:.0f} MB" for name, peak in peaks.items()),
        rivals=(),
        checks=tuple(Check(f"most memory, {name}", peak, MEMORY_MB, "MB") for name, peak in peaks.items()),
        details=(
            f"taken in {taken}, read back in {verified}, restored in {back}",
            "the peak resident memory of the process that does the work, imports included; tar and find are not in it",
            "the file is a seeded block of 64 MiB over and over, the blocks numbered: it does not compress",
        ),
    )


def make_large_file(file: Path) -> None:
    """Write 10 GB of pseudo-random bytes, the same each time; a block comes again where no compressor looks for it."""
    file.parent.mkdir(parents=True)
    block = random.Random(10).randbytes(_BLOCK_BYTES)
    with file.open("wb", buffering=0) as output:
        for number in range(0, FILE_BYTES, _BLOCK_BYTES):
            output.write(b"%020d" % number + block[20 : min(_BLOCK_BYTES, FILE_BYTES - number)])
        os.fsync(output.fileno())

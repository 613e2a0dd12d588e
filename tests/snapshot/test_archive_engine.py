"""What is true of plain files alone: their names, what a crash leaves of them, and damage that the next one mends."""

from __future__ import annotations

import subprocess
from datetime import timedelta

from tests.snapshot.conftest import Ground

from hostk8s_agent.snapshot.model import SnapshotState


def test_the_name_of_an_archive_is_its_digest(ground: Ground) -> None:
    """`sha256sum` tells whether it is whole."""
    ground.create()
    (archive,) = ground.archives()
    told = subprocess.run(["sha256sum", archive], capture_output=True, text=True, check=True).stdout
    assert told.split()[0] == archive.name.removesuffix(".tar.zst")


def test_the_content_of_a_damaged_archive_is_stored_anew_by_the_next_snapshot(ground: Ground) -> None:
    """While the directory still has it."""
    ground.create()
    (archive,) = ground.archives()
    archive.write_bytes(archive.read_bytes()[:-100])
    ground.service.verify()
    ground.now += timedelta(hours=1)
    ground.create()
    newest = ground.service.list()[0][-1]
    assert newest.state is SnapshotState.GOOD
    assert ground.service.verify([newest.id])[0][0].is_whole


def test_what_a_crash_left_in_the_repository_goes_with_the_next_snapshot(ground: Ground) -> None:
    """Half-written ground, and archives that no manifest refers to."""
    ground.create()
    folder = ground.folder / "repository/archives"
    (folder / ".incoming-0123").write_bytes(b"half")
    (folder / f"{'0' * 64}.tar.zst").write_bytes(b"whole, and its manifest was never written")
    ground.now += timedelta(hours=1)
    ground.create()
    assert len(ground.archives()) == 1

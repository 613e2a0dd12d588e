"""Packing when the disk fails: told at once, whenever it happens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import Ground

from hostk8s_agent.snapshot import archive_engine
from hostk8s_agent.snapshot.errors import RepositoryFullError
from hostk8s_agent.snapshot.packing import pack_tree


class FullDisk:
    """A file on a disk without room."""

    def write(self, _chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def open_on_full_disk(_folder: Path) -> Iterator[Any]:
    """Open a file as `durable.incoming` does."""
    yield FullDisk()


@pytest.mark.parametrize("extra_bytes", [0, 40 << 20], ids=["at the end", "in the middle"])
def test_a_full_disk_ends_the_packing(ground: Ground, extra_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the first byte is written after the last one was handed over: nobody waits for anybody then."""
    (ground.path() / "large").write_bytes(bytes(extra_bytes))
    (ground.path() / "first-name").unlink()
    repository = ground.repository
    repository.prepare()
    monkeypatch.setattr(archive_engine, "incoming", open_on_full_disk)
    with (
        ground.access.stream_tree_out("/mnt/pv/sample/data") as chunks,
        pytest.raises(RepositoryFullError, match="No space left"),
        pack_tree(chunks, repository, "sample/data"),
    ):
        pass

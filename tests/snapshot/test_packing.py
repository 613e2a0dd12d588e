"""Packing when the disk fails: told at once, whenever it happens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from tests.snapshot.conftest import Ground

from hostk8s_agent.snapshot.packing import pack_tree
from hostk8s_agent.snapshot.repository import Repository


class FullDisk:
    """A file, and the repository that opens it, on a disk without room. Listings have room."""

    @contextmanager
    def begin(self, kind: str) -> Iterator[Any]:
        yield self if kind == "archives" else Room()

    def write(self, _chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class Room:
    """A file that takes everything."""

    def write(self, chunk: bytes) -> int:
        return len(chunk)


@pytest.mark.parametrize("extra_bytes", [0, 40 << 20], ids=["at the end", "in the middle"])
def test_a_full_disk_ends_the_packing(ground: Ground, extra_bytes: int) -> None:
    """Also when the first byte is written after the last one was handed over: nobody waits for anybody then."""
    (ground.path() / "large").write_bytes(bytes(extra_bytes))
    (ground.path() / "first-name").unlink()
    with (
        ground.access.stream_tree_out("/mnt/pv/sample/data") as chunks,
        pytest.raises(OSError, match="No space left"),
        pack_tree(chunks, cast("Repository", FullDisk())),
    ):
        pass

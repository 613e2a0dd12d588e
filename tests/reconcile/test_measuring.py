"""How much each directory holds: shown beside what is declared, kept by every later status, and never insisted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.reconcile import measuring
from hostk8s_agent.reconcile.measuring import UsageMeter
from hostk8s_agent.status.board import StatusBoard
from hostk8s_agent.status.model import DirectoryStatus, StackStatus
from hostk8s_agent.volume.errors import VolumeGoneError
from hostk8s_agent.volume.host_directory import HostDirectoryAccess


def stack(state: Any = "Ready") -> StackStatus:
    """A stack of one directory."""
    return StackStatus("sample", "f", state, "m", directories=(DirectoryStatus("d", "/mnt/pv/d", "1:1", "755", state),))


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[HostDirectoryAccess]:
    """A volume with a directory that holds 5,000 bytes in two files, one of them deep."""
    deep = tmp_path / "pv/d/deep"
    deep.mkdir(parents=True)
    (deep / "one").write_bytes(b"x" * 3000)
    (deep.parent / "two").write_bytes(b"x" * 2000)
    (deep / "out").symlink_to("/etc")
    access = HostDirectoryAccess(tmp_path / "pv")
    yield access
    access.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at once, and again at once."""
    monkeypatch.setattr(measuring, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(measuring, "COST_FACTOR", 0.0)
    monkeypatch.setattr(measuring, "INTERVAL_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
def test_what_a_directory_holds_is_shown_and_kept(volume: HostDirectoryAccess, wait_until: Callable[..., None]) -> None:
    """A run looks at no file: the status that it makes takes the figure over. More is seen with the next look."""
    board = StatusBoard()
    board.update_stack(stack())
    meter = UsageMeter(board, lambda: volume)
    meter.start()

    def used() -> int | None:
        shown = board.stack("sample")
        assert shown is not None
        return shown.directories[0].used_bytes

    wait_until(lambda: used() == 5000)
    assert not board.update_stack(stack())
    assert used() == 5000
    (volume._tree._root / "d/three").write_bytes(b"x" * 500)
    wait_until(lambda: used() == 5500)
    meter.stop()


def test_what_changed_since_the_last_good_snapshot_is_counted_anew_after_each(
    volume: HostDirectoryAccess, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though the directory was measured a moment ago; without a snapshot there is nothing to count from."""
    monkeypatch.setattr(measuring, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(measuring, "COST_FACTOR", 0.0)
    board = StatusBoard()
    board.update_stack(stack())
    last_good: list[datetime | None] = [None]
    meter = UsageMeter(board, lambda: volume, lambda *named: last_good[0] if named == ("sample", "d") else None)
    meter.start()

    def counted() -> tuple[int | None, int | None, str]:
        shown = board.stack("sample")
        assert shown is not None
        [one] = shown.directories
        return one.used_bytes, one.changed_bytes, one.changed_since

    wait_until(lambda: counted() == (5000, None, ""))
    last_good[0] = datetime(2025, 1, 31, 8, tzinfo=UTC)
    wait_until(lambda: counted() == (5000, 5000, "2025-01-31T08:00:00.000Z"))
    last_good[0] = datetime(2125, 1, 31, 8, tzinfo=UTC)
    wait_until(lambda: counted() == (5000, 0, "2125-01-31T08:00:00.000Z"))
    meter.stop()


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_told_is_left_out(volume: HostDirectoryAccess, wait_until: Callable[..., None]) -> None:
    """No volume, a helper container, a directory that is not Ready: none of them is asked twice, or shown as empty."""
    board = StatusBoard()
    board.update_stack(stack("Pending"))
    asked: list[str] = []

    class Helper:
        """A way in by which looking costs too much."""

        access = "helper-container"

    def find_volume() -> Any:
        asked.append("volume")
        if len(asked) < 3:
            raise VolumeGoneError("away", hint="")
        return Helper() if len(asked) < 6 else volume

    meter = UsageMeter(board, find_volume)
    meter.start()
    wait_until(lambda: len(asked) > 8)
    shown = board.stack("sample")
    assert shown is not None
    assert shown.directories[0].used_bytes is None
    meter.stop()

"""A restore that ends between the exchange and the word of it, by a way in that tells no inode."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from tests.snapshot.conftest import Ground, describe

from hostk8s_agent.snapshot.errors import RestoreFailedError
from hostk8s_agent.snapshot.requests import RestoreRequest
from hostk8s_agent.volume.errors import EngineUnreachableError, ToolFailedError


class Dying:
    """The helper container's way, as far as it matters here: no descriptors, and an end before or after an exchange."""

    def __init__(self, access: Any, *, is_before: bool, end: BaseException | None = None) -> None:
        self._access = access
        self._is_before = is_before
        self._end = end or KeyboardInterrupt()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._access, name)

    def exchange_directories(self, first: str, second: str) -> None:
        if not self._is_before:
            self._access.exchange_directories(first, second)
        raise self._end

    def exchange_entries(self, first: str, second: str) -> None:
        if not self._is_before:
            self._access.exchange_entries(first, second)
        raise self._end


class Busy:
    """A way in where somebody makes files in whatever is being removed."""

    def __init__(self, access: Any) -> None:
        self._access = access

    def __getattr__(self, name: str) -> Any:
        return getattr(self._access, name)

    def remove_tree(self, path: str) -> None:
        raise ToolFailedError(f"{path} is not empty", hint="")


@pytest.mark.parametrize("path", ["", "data/conf", "data/conf/file"], ids=["all", "a folder", "a file"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before the exchange", "after the exchange"])
def test_the_next_start_knows_by_the_content_which_tree_is_live(ground: Ground, is_before: bool, path: str) -> None:  # noqa: FBT001
    """It finishes what was begun, and never swaps back what was done."""
    (ground.path() / "conf").mkdir()
    (ground.path() / "conf/file").write_text("precious")
    (ground.path() / "to-nowhere").unlink()
    (ground.path() / "first-name").unlink()
    (ground.path() / "second-name").unlink()
    snapshot = ground.create()
    wanted = sorted(describe(ground.path()))
    if not path:
        (ground.path() / "later").write_text("later")
    (ground.path() / "conf/file").write_text("wrecked")
    dying = Dying(ground.access, is_before=is_before)
    ground.change(volume=lambda: dying)
    with pytest.raises(KeyboardInterrupt):
        ground.service.restore(RestoreRequest("sample", snapshot, path=path))
    after = Dying(ground.access, is_before=is_before)
    after.exchange_directories = ground.access.exchange_directories  # type: ignore[method-assign]
    after.exchange_entries = ground.access.exchange_entries  # type: ignore[method-assign]
    ground.change(volume=lambda: after)
    ground.service.recover()
    assert sorted(describe(ground.path())) == wanted
    assert (ground.path() / "conf/file").read_text() == "precious"
    assert [path.name for path in ground.root.iterdir()] == ["sample"]


def test_an_engine_that_goes_in_the_swap_is_told_as_what_it_is(ground: Ground) -> None:
    """The restore has begun: neither that nothing was replaced would be true, nor that all was."""
    snapshot = ground.create()
    wanted = sorted(describe(ground.path()))
    (ground.path() / "later").write_text("later")
    gone = Dying(ground.access, is_before=True, end=EngineUnreachableError("the engine is away", hint="start it"))
    ground.change(volume=lambda: gone)
    with pytest.raises(RestoreFailedError, match="the engine is away; the restore has begun, and is finished") as told:
        ground.service.restore(RestoreRequest("sample", snapshot))
    assert "nothing was replaced" not in told.value.message
    ground.change(volume=lambda: ground.access)
    ground.service.recover(lock_wait_seconds=0)
    assert sorted(describe(ground.path())) == wanted


def test_what_was_replaced_and_is_still_written_to_goes_later(ground: Ground) -> None:
    """A pod that was deleted by force may write on for a while; the restore is done all the same."""
    snapshot = ground.create()
    wanted = sorted(describe(ground.path()))
    (ground.path() / "later").write_text("later")
    busy = Busy(ground.access)
    ground.change(volume=lambda: busy)
    ground.service.restore(RestoreRequest("sample", snapshot))
    assert sorted(describe(ground.path())) == wanted
    assert len(list(ground.root.iterdir())) == 2
    ground.change(volume=lambda: ground.access)
    with structlog.testing.capture_logs() as said:
        ground.service.recover()
    assert [one["outcome"] for one in said if "outcome" in one] == ["what a restore of sample replaced is removed now"]
    assert [path.name for path in ground.root.iterdir()] == ["sample"]
    assert sorted(describe(ground.path())) == wanted

"""The helper container's own life on the real engine."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.volume.errors import EngineChangedError, PathObstructedError, VolumeGoneError
from hostk8s_agent.volume.helper_container import HelperContainerAccess

if TYPE_CHECKING:
    from tests.volume.conftest import OwnVolume

pytestmark = pytest.mark.engine

CREATE = CreateDirectory("/mnt/pv/a/b", 26, 27, 0o750, "absent")


def list_states(own_volume: OwnVolume) -> list[str]:
    """The states of the volume's helper containers. Listed, because an inspection waits for an open stream."""
    return [one["State"] for one in own_volume.list_containers()]


def test_there_is_one_helper_and_it_never_ran(own_volume: OwnVolume) -> None:
    """Many calls, one container, created and never started."""
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        for _ in range(3):
            access.observe_directories(["/mnt/pv/a", "/mnt/pv/b"])
        assert list_states(own_volume) == ["created"]


def test_two_threads_make_one_helper(own_volume: OwnVolume) -> None:
    """The first calls of several threads share the container."""
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        threads = [threading.Thread(target=access.observe_directories, args=(["/mnt/pv/a"],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list_states(own_volume) == ["created"]


def test_close_removes_the_helper_and_keeps_the_directories(own_volume: OwnVolume) -> None:
    """Nothing of ours is left but what was asked for."""
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        assert access.apply_directories([CREATE]) == (None,)
    assert own_volume.list_helpers() == []
    assert (own_volume.root / "a/b").stat().st_uid == 26


def test_a_leftover_of_a_crash_is_used_again(own_volume: OwnVolume) -> None:
    """The next run finds the container by its labels and makes no second one."""
    crashed = HelperContainerAccess(own_volume.engine, own_volume.helper)
    crashed.observe_directories(["/mnt/pv/a"])
    crashed.abandon()
    left = own_volume.list_helpers()
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        access.observe_directories(["/mnt/pv/a"])
        assert own_volume.list_helpers() == left


def test_a_leftover_that_is_not_as_we_make_it_is_replaced(own_volume: OwnVolume) -> None:
    """A container with our labels and without the volume is removed."""
    client = own_volume.engine.client
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        access.observe_directories(["/mnt/pv/a"])
    foreign = client.create_container(
        "hostk8s-agent/empty:1", command=["x"], labels=own_volume.helper.labels, network_disabled=True
    )["Id"]
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        assert access.apply_directories([CREATE]) == (None,)
        assert foreign not in own_volume.list_helpers()
        assert list_states(own_volume) == ["created"]
    assert (own_volume.root / "a/b").is_dir()


@pytest.mark.parametrize("call", ["observe absent", "observe existing", "apply"])
def test_a_helper_that_was_removed_is_made_again(own_volume: OwnVolume, call: str) -> None:
    """`docker container prune` in mid-use costs one more container, and no wrong answer."""
    (own_volume.root / "there").mkdir(mode=0o700)
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        access.observe_directories(["/mnt/pv/there"])
        (lost,) = own_volume.list_helpers()
        own_volume.engine.client.remove_container(lost)
        if call == "apply":
            assert access.apply_directories([CREATE]) == (None,)
        else:
            observed = access.observe_directories(["/mnt/pv/there" if "existing" in call else "/mnt/pv/absent"])
            assert observed[0].kind == ("directory" if "existing" in call else "absent")
        assert lost not in own_volume.list_helpers()
        assert list_states(own_volume) == ["created"]


def test_a_helper_is_not_made_again_for_another_volume(own_volume: OwnVolume) -> None:
    """When helper and volume are gone, nothing is made: the engine would create an empty volume in silence."""
    docker = own_volume.engine
    gone = VolumeGoneError("gone")
    told: list[VolumeError] = []

    def require_same_volume() -> None:
        if docker.find_volume(own_volume.name) is None:
            raise gone

    access = HelperContainerAccess(
        docker, own_volume.helper, require_same_volume=require_same_volume, report_loss=told.append
    )
    with closing(access):
        access.observe_directories(["/mnt/pv/a"])
        docker.client.remove_container(own_volume.list_helpers()[0])
        docker.client.remove_volume(own_volume.name)
        for _ in range(2):
            with pytest.raises(VolumeGoneError):
                access.apply_directories([CREATE])
            with pytest.raises(VolumeGoneError):
                access.observe_directories(["/mnt/pv/a"])
        assert docker.find_volume(own_volume.name) is None
        assert told == [gone] * 4


def test_nothing_is_made_in_another_engine(own_volume: OwnVolume) -> None:
    """A changed engine is refused before the container is created."""

    def refuse() -> None:
        raise EngineChangedError("another engine")

    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper, require_same_volume=refuse)) as access:
        with pytest.raises(EngineChangedError):
            access.observe_directories(["/mnt/pv/a"])
        assert own_volume.list_helpers() == []


def test_the_image_is_imported_again_when_it_is_gone(own_volume: OwnVolume) -> None:
    """Removing the empty image, between two helpers, costs an import and pulls nothing."""
    client = own_volume.engine.client
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        access.observe_directories(["/mnt/pv/a"])
    client.remove_image("hostk8s-agent/empty:1", force=True)
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        assert access.apply_directories([CREATE]) == (None,)


def test_a_link_that_appears_between_the_look_and_the_write_is_not_replaced(own_volume: OwnVolume) -> None:
    """Links that a pod puts in place while we work stay links, and nothing appears behind them."""
    stop = threading.Event()
    (own_volume.root / "target").mkdir()

    def swap() -> None:
        path = own_volume.root / "raced"
        while not stop.is_set():
            path.mkdir()
            path.rmdir()
            path.symlink_to("target")
            path.unlink()

    def swap_until_it_is_kept() -> None:
        try:
            swap()
        except OSError:
            return

    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        for _ in range(5):
            thread = threading.Thread(target=swap_until_it_is_kept)
            thread.start()
            outcomes = access.apply_directories([CreateDirectory("/mnt/pv/raced", 26, 26, 0o700, "absent")])
            stop.set()
            thread.join()
            stop.clear()
            raced = own_volume.root / "raced"
            assert outcomes == (None,) or isinstance(outcomes[0], PathObstructedError) or not raced.is_dir()
            if raced.is_symlink():
                raced.unlink()
            elif raced.exists():
                raced.rmdir()
    assert list((own_volume.root / "target").iterdir()) == []


def test_a_stream_does_not_stop_the_looks(own_volume: OwnVolume) -> None:
    """While a stream is open, directories are observed and made; its own container goes with it."""
    (own_volume.root / "large").mkdir()
    (own_volume.root / "large/file").write_bytes(bytes(50 * 1024 * 1024))
    with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
        with access.stream_tree_out("/mnt/pv/large") as chunks:
            assert next(iter(chunks))
            assert access.observe_directories(["/mnt/pv/large"])[0].kind == "directory"
            assert access.apply_directories([CREATE]) == (None,)
            assert list_states(own_volume) == ["created", "created"]
        assert list_states(own_volume) == ["created"]


def test_the_leftover_container_of_a_stream_is_removed(own_volume: OwnVolume) -> None:
    """What a crash in the middle of a stream leaves is gone after the next start's first call."""
    (own_volume.root / "a").mkdir()
    crashed = HelperContainerAccess(own_volume.engine, own_volume.helper)
    streaming = crashed.stream_tree_out("/mnt/pv/a")
    streaming.__enter__()
    try:
        assert len(own_volume.list_helpers()) == 2
        with closing(HelperContainerAccess(own_volume.engine, own_volume.helper)) as access:
            access.observe_directories(["/mnt/pv/a"])
            assert len(own_volume.list_helpers()) == 1
    finally:
        streaming.__exit__(None, None, None)
        crashed.close()

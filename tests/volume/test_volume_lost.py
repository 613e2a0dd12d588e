"""The volume's own safety: its loss is noticed, never covered up, and made hard to bring about by mistake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError
from tests.volume.conftest import BUSYBOX_IMAGE, QUICK, Connect, Observed, OwnVolume

from hostk8s_agent.volume.connection import VolumeConnection
from hostk8s_agent.volume.engine import Engine
from hostk8s_agent.volume.errors import VolumeLostError
from hostk8s_agent.volume.helper_life import HelperPlace, remove_helpers
from hostk8s_agent.volume.recognising import RememberedVolume, parse_remembered
from hostk8s_agent.volume.reference import VolumeReference, find_reference, reference_name, remove_reference
from hostk8s_agent.volume.state import ForcedAccess, Pace, VolumeOptions

pytestmark = pytest.mark.engine

WaitUntil = Callable[..., None]


@dataclass(frozen=True)
class Ground:
    """A volume of one test's own, and how to connect to it, and to lose it."""

    docker: Engine
    options: VolumeOptions
    connect: Connect
    wait_until: WaitUntil

    @property
    def volume(self) -> str:
        """The volume's name."""
        return self.options.volume_name

    def open(self, state: str = "Connected", pace: Pace = QUICK, **changes: Any) -> Observed:
        """Start a connection with changed options, and wait until it is in the state."""
        observed = self.connect(replace(self.options, **changes), pace=pace, DOCKER_HOST=self.docker.endpoint.url)
        self.wait_until(observed.reaches(state))
        return observed

    def lose(self) -> None:
        """Remove the volume as a person who means it does."""
        remove_helpers(self.docker, HelperPlace(self.options.workspace, self.volume))
        self.docker.client.remove_volume(self.volume)

    def root(self) -> Path:
        """Where the volume's files are."""
        found = self.docker.find_volume(self.volume)
        assert found is not None
        return Path(found.mountpoint)


@pytest.fixture
def ground(docker: Engine, options: VolumeOptions, volume: str, connect: Connect, wait_until: WaitUntil) -> Ground:
    """What each test stands on; everything of it goes away after the test."""
    assert volume == options.volume_name
    return Ground(docker, options, connect, wait_until)


def remembered_of(observed: Observed) -> RememberedVolume:
    """What would be kept in the records."""
    remembered = observed.connection.state().remembered
    assert remembered is not None
    return remembered


def require_lost(connection: VolumeConnection) -> None:
    """No way in is given out, and the words say what happened and what to do."""
    with pytest.raises(VolumeLostError):
        connection.current_access()
    problem = connection.state().problem
    assert problem is not None
    assert problem.code == "VolumeLost"
    assert "gone" in problem.message
    assert "--accept-loss" in problem.hint


@pytest.mark.parametrize("forced", ["direct", "helper-container"])
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_volume_that_is_removed_is_lost_and_not_made_again(
    ground: Ground, *, forced: ForcedAccess, comes_back: bool
) -> None:
    """Removed, or made anew and empty by someone: VolumeLost, nothing written, until a person accepts it."""
    observed = ground.open(forced_access=forced)
    former = remembered_of(observed).marker
    ground.lose()
    if comes_back:
        ground.docker.client.create_volume(ground.volume)
    ground.wait_until(observed.reaches("VolumeLost"))
    require_lost(observed.connection)
    found = ground.docker.find_volume(ground.volume)
    assert (found is not None) is comes_back
    assert found is None or list(Path(found.mountpoint).iterdir()) == []
    assert observed.connection.accept_loss() is True
    ground.wait_until(observed.reaches("Connected"))
    assert remembered_of(observed).marker not in {"", former}
    assert observed.connection.state().problem is None
    assert observed.connection.accept_loss() is False


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_loss_is_noticed_across_a_restart(ground: Ground, *, comes_back: bool) -> None:
    """What the records say of the volume is compared with what there is when the agent comes back."""
    first = ground.open()
    text = remembered_of(first).render()
    first.connection.stop()
    ground.lose()
    if comes_back:
        ground.docker.client.create_volume(ground.volume)
    second = ground.open("VolumeLost", remembered=parse_remembered(text, ground.volume))
    require_lost(second.connection)
    assert (ground.docker.find_volume(ground.volume) is not None) is comes_back


MADE = RememberedVolume("pv", "m", "engine", "", "2025-01-31T08:00:00Z", "/volumes/pv/_data", 7)


@pytest.mark.parametrize(
    ("before", "now", "is_same"),
    [
        # Docker gives as CreatedAt when the folder last changed: of a volume without an ID of ours it is all there is,
        # and may call one lost that is not, never the reverse.
        ({}, {}, True),
        ({}, {"created_at": "2025-01-31T08:00:01Z"}, False),
        ({"volume_id": "i"}, {"volume_id": "i", "created_at": "2025-01-31T08:00:01Z"}, True),
        ({"volume_id": "i"}, {"volume_id": "j"}, False),
        ({"volume_id": "i"}, {}, False),
        ({}, {"volume_id": "i"}, False),
        ({}, {"root_inode": 8}, False),
        ({}, {"root_inode": 0}, True),
        ({}, {"engine_id": "another"}, False),
        ({}, {"mountpoint": "/elsewhere"}, False),
        # What the engine told of its removal: nothing but the ID in its file proves anything.
        ({"created_at": ""}, {}, False),
    ],
)
def test_what_the_engine_says_of_a_volume_tells_it_from_another(
    before: dict[str, Any], now: dict[str, Any], *, is_same: bool
) -> None:
    """Two that agree in all of it are one, however the one in the records was known."""
    assert replace(MADE, **before).is_same_to_engine(replace(MADE, marker="", **now)) is is_same


NEVER = Pace(check_seconds=3600.0, look_seconds=0.05)


@pytest.mark.parametrize("forced", ["direct", "helper-container"])
@pytest.mark.parametrize("comes_back", [False, True])
def test_the_engine_tells_of_a_loss_before_any_check(ground: Ground, *, forced: ForcedAccess, comes_back: bool) -> None:
    """Also of a volume that a person made, and made again in the same second: only that event tells."""
    ground.docker.client.create_volume(ground.volume)
    observed = ground.open(pace=NEVER, forced_access=forced)
    ground.lose()
    if comes_back:
        ground.docker.client.create_volume(ground.volume)
    ground.wait_until(observed.reaches("VolumeLost"))
    require_lost(observed.connection)


def test_what_keeps_the_volume_is_made_again_before_any_check(ground: Ground, tool_cluster: str) -> None:
    """As often as it goes; what happens to other containers and volumes is nobody's business."""
    docker, volume = ground.docker, ground.volume
    ground.open(pace=NEVER, keeps_volume=True, cluster_name=tool_cluster)
    docker.client.create_volume(f"{volume}-other")
    docker.client.remove_volume(f"{volume}-other")
    for _ in range(2):
        docker.client.remove_container(reference_name(volume), force=True)
        ground.wait_until(lambda: is_running(docker, volume))


def test_a_volume_that_comes_back_with_its_data_ends_the_loss(ground: Ground, tmp_path: Path) -> None:
    """A copy of the files under the same name is the same volume, whenever and wherever it was made."""
    observed = ground.open()
    marker = remembered_of(observed).marker
    (ground.root() / "a").mkdir()
    shutil.copytree(ground.root(), tmp_path / "copy")
    ground.lose()
    ground.wait_until(observed.reaches("VolumeLost"))
    ground.docker.client.create_volume(ground.volume)
    shutil.copytree(tmp_path / "copy", ground.root(), dirs_exist_ok=True)
    ground.wait_until(observed.reaches("Connected"))
    assert remembered_of(observed).marker == marker
    assert observed.connection.current_access().observe_directories(["/mnt/pv/a"])[0].kind == "directory"


def test_a_volume_whose_file_was_removed_is_still_the_same(ground: Ground) -> None:
    """Tidying our file away is no loss: the engine still says that it is the same volume."""
    first = ground.open()
    remembered = remembered_of(first)
    first.connection.stop()
    shutil.rmtree(ground.root() / ".hostk8s-agent")
    second = ground.open(remembered=remembered)
    assert remembered_of(second).marker == remembered.marker
    assert (ground.root() / ".hostk8s-agent/volume.json").exists()


def test_a_second_workspace_takes_the_volume_as_it_is(ground: Ground) -> None:
    """Two workspaces on one volume agree on its ID: the second one writes none over it."""
    first = ground.open()
    second = ground.open(workspace="another")
    assert remembered_of(first).marker == remembered_of(second).marker


def test_a_reference_keeps_the_volume_and_is_made_again(ground: Ground, tool_cluster: str) -> None:
    """`docker volume rm` is refused, also after `docker container prune`, a stop, and when the agent has ended."""
    docker, volume = ground.docker, ground.volume
    observed = ground.open(keeps_volume=True, cluster_name=tool_cluster)
    assert is_running(docker, volume)
    with pytest.raises(APIError, match="in use"):
        docker.client.remove_volume(volume)
    docker.client.remove_container(reference_name(volume), force=True)
    ground.wait_until(lambda: is_running(docker, volume))
    docker.client.stop(reference_name(volume))
    ground.wait_until(lambda: is_running(docker, volume))
    observed.connection.stop()
    with pytest.raises(APIError, match="in use"):
        docker.client.remove_volume(volume)


def test_without_an_image_that_runs_a_created_container_keeps_it(own_volume: OwnVolume) -> None:
    """A reference that was never started serves until there is an image with a sleep in it, and then gives way."""
    images = [""]
    reference = VolumeReference(
        own_volume.engine, own_volume.name, find_image=lambda: images[0], require_same_volume=lambda: None
    )
    try:
        reference.ensure(improves=True)
        assert not is_running(own_volume.engine, own_volume.name)
        with pytest.raises(APIError, match="in use"):
            own_volume.engine.client.remove_volume(own_volume.name)
        images[0] = BUSYBOX_IMAGE
        reference.ensure(improves=False)
        assert not is_running(own_volume.engine, own_volume.name)
        reference.ensure(improves=True)
        assert is_running(own_volume.engine, own_volume.name)
    finally:
        assert remove_reference(own_volume.engine, own_volume.name) is True
    assert remove_reference(own_volume.engine, own_volume.name) is False
    own_volume.engine.client.remove_volume(own_volume.name)


def is_running(docker: Engine, volume: str) -> bool:
    """Whether the reference is there and runs."""
    found = find_reference(docker, volume)
    return found is not None and bool(found["State"]["Running"])

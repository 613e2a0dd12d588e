"""The mountpoint is used only where it truly is the volume."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.volume.choosing import find_reason_against_direct
from hostk8s_agent.volume.engine import EngineIdentity, EngineVolume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.volume.conftest import OwnVolume

    from hostk8s_agent.volume.engine import Engine

pytestmark = pytest.mark.engine

IDENTITY = EngineIdentity("ID", "20.10", remaps_owners=False)


@pytest.fixture
def volume(own_volume: OwnVolume) -> EngineVolume:
    """The test's own volume as the engine has it."""
    found = own_volume.engine.find_volume(own_volume.name)
    assert found is not None
    return found


@pytest.fixture
def mounted_volume(docker: Engine) -> Iterator[EngineVolume]:
    """A volume with options: it is mounted only while a container runs."""
    name = f"volume-test-{secrets.token_hex(6)}"
    docker.client.create_volume(name, driver_opts={"type": "tmpfs", "device": "tmpfs"})
    found = docker.find_volume(name)
    assert found is not None
    yield found
    docker.client.remove_volume(name, force=True)


def test_root_on_the_engines_machine_goes_direct(docker: Engine, volume: EngineVolume) -> None:
    """No reason speaks against the mountpoint, and the probe leaves nothing."""
    assert find_reason_against_direct(docker, IDENTITY, volume, "w") == ""
    assert not docker.client.volumes(filters={"label": "hostk8s.io/workspace=w"})["Volumes"]


def test_a_folder_that_only_has_the_right_name_is_refused(docker: Engine, volume: EngineVolume, tmp_path: Path) -> None:
    """A mountpoint of an engine in a virtual machine may exist here, and is another folder."""
    (tmp_path / "volumes" / volume.name / "_data").mkdir(parents=True)
    elsewhere = replace(volume, mountpoint=str(tmp_path / "volumes" / volume.name / "_data"))
    assert "does not lie beside" in find_reason_against_direct(docker, IDENTITY, elsewhere, "w")
    assert not docker.client.volumes(filters={"label": "hostk8s.io/workspace=w"})["Volumes"]


def test_a_mountpoint_that_is_not_here_is_refused(docker: Engine, volume: EngineVolume) -> None:
    """Docker Desktop's mountpoints do not exist on the machine."""
    away = replace(volume, mountpoint="/nowhere/volumes/x/_data")
    assert "no directory on this machine" in find_reason_against_direct(docker, IDENTITY, away, "w")


def test_an_engine_that_maps_owners_is_refused(docker: Engine, volume: EngineVolume) -> None:
    """Rootless and userns-remap: uid 1000 here is not uid 1000 in the node."""
    remapping = replace(IDENTITY, remaps_owners=True)
    assert "maps owners" in find_reason_against_direct(docker, remapping, volume, "w")


def test_a_volume_that_mounts_something_is_refused(docker: Engine, mounted_volume: EngineVolume) -> None:
    """Its mountpoint is an empty folder while no container runs: what is made there is lost."""
    assert "mounts something" in find_reason_against_direct(docker, IDENTITY, mounted_volume, "w")

"""The table of the node's mounts, and the way into the volume."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from hostk8s_agent.volume.errors import PathOutsideVolumeError
from hostk8s_agent.volume.mapping import NODE_MOUNTS, find_node_mount, parse_volume_path, render_volume_path


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/mnt/pv", None),
        ("/mnt/pv/a/b", None),
        ("/mnt/postgres", PurePosixPath("data/postgres")),
        ("/mnt/storage/x", PurePosixPath("data/storage")),
    ],
)
def test_each_mount_is_found(path: str, folder: PurePosixPath | None) -> None:
    """The volume and the two deprecated folders are HostK8s' mounts."""
    mount = find_node_mount(path)
    assert mount is not None
    assert (mount.host_folder, mount.is_deprecated) == (folder, folder is not None)


def test_the_table_is_hostk8s_own() -> None:
    """Two folders always, three when they are asked for (ADR-012 of HostK8s)."""
    folders = {str(one.host_folder): one.is_deprecated for one in NODE_MOUNTS if one.host_folder}
    assert folders == {
        "data/kubeconfig": False,
        "data/registry": False,
        "data/storage": True,
        "data/pv": True,
        "data/postgres": True,
    }


@pytest.mark.parametrize("path", ["/mnt", "/mnt/pvx", "/mnt/other", "/", ""])
def test_other_paths_lie_in_no_mount(path: str) -> None:
    """A common beginning is not enough."""
    assert find_node_mount(path) is None


def test_a_path_and_its_components_are_the_same_thing() -> None:
    """Parsing and rendering are each other's reverse."""
    assert parse_volume_path("/mnt/pv/a/b c") == ("a", "b c")
    assert render_volume_path(("a", "b c")) == "/mnt/pv/a/b c"


@pytest.mark.parametrize(
    "path", ["/mnt/pv", "/mnt/pv/", "/mnt/pv//a", "/mnt/pv/a/", "/mnt/pv/./a", "/mnt/pv/a/..", "/mnt/pv/a\0b", "pv/a"]
)
def test_only_clean_paths_below_the_volume_are_parsed(path: str) -> None:
    """This is the last line of defence: nothing but names reaches the descriptors and the engine."""
    with pytest.raises(PathOutsideVolumeError):
        parse_volume_path(path)

"""The configuration that `kind-config` prints is one that Kind takes."""

from __future__ import annotations

from pathlib import Path

from hostk8s_agent.volume.kind_config import KindRequest, build_kind_config
from hostk8s_agent.volume.mapping import NODE_MOUNTS

FOLDER = "/var/lib/docker/volumes/hostk8s-pv-data/_data"


def test_each_path_of_the_node_is_mounted_once_and_the_volume_wins(tmp_path: Path) -> None:
    """Docker refuses two mounts at one path, and Kind one at none: every folder of HostK8s is there."""
    for mount in NODE_MOUNTS:
        if mount.host_folder is not None:
            (tmp_path / mount.host_folder).mkdir(parents=True)
    made = build_kind_config(KindRequest(tmp_path, "dev", "hostk8s-pv-data", workers=1), FOLDER)
    expected = [
        {"hostPath": FOLDER, "containerPath": "/mnt/pv"},
        {"hostPath": f"{tmp_path}/data/postgres", "containerPath": "/mnt/postgres"},
        {"hostPath": f"{tmp_path}/data/storage", "containerPath": "/mnt/storage"},
    ]
    assert made["name"] == "dev"
    assert made["nodes"] == [{"role": role, "extraMounts": expected} for role in ("control-plane", "worker")]


def test_of_a_workspace_without_folders_the_volume_alone_is_mounted(tmp_path: Path) -> None:
    """A folder that does not exist would be made by Docker, as root's."""
    made = build_kind_config(KindRequest(tmp_path, "hostk8s", "hostk8s-pv-data"), FOLDER)
    volume = {"hostPath": FOLDER, "containerPath": "/mnt/pv"}
    assert made["nodes"] == [{"role": "control-plane", "extraMounts": [volume]}]

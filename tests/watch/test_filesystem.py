"""What the file system can do: its type from mountinfo, and whether its events are to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.watch.filesystem import find_filesystem_type, find_identity, has_native_events

if TYPE_CHECKING:
    from pathlib import Path

MOUNTINFO = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:30 / /mnt/c rw,noatime - 9p drvfs rw,aname=drvfs
24 22 0:31 / /mnt/with\040space rw - virtiofs tag rw
25 22 0:32 / /home rw master:2 propagate_from:1 - btrfs /dev/vdb rw
26 25 0:33 / /home/me/remote rw - fuse.sshfs me@host: rw
27 22 0:34 / /home rw - nfs4 server:/home rw
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTINFO)
    return path


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv/stacks", "ext4"),
        ("/mnt/c/Users/me", "9p"),
        ("/mnt/cc", "ext4"),
        ("/mnt/with space/stacks", "virtiofs"),
        ("/home/me/stacks", "nfs4"),
        ("/home/me/remote/stacks", "fuse.sshfs"),
        ("/", "ext4"),
    ],
)
def test_the_deepest_and_latest_mount_point_gives_the_type(mountinfo: Path, folder: str, expected: str) -> None:
    """A later mount on the same point covers the earlier; a name that merely begins alike does not count."""
    assert expected == find_filesystem_type(type(mountinfo)(folder), mountinfo)


def test_without_mountinfo_the_type_is_unknown(tmp_path: Path) -> None:
    """MacOS has none; the canary decides there."""
    assert find_filesystem_type(tmp_path, tmp_path / "absent") is None


def test_the_running_system_s_own_mountinfo_is_understood(tmp_path: Path) -> None:
    """The real file has a type for every folder."""
    assert find_filesystem_type(tmp_path)


@pytest.mark.parametrize(
    ("filesystem_type", "expected"),
    [
        ("ext4", True),
        ("btrfs", True),
        ("overlay", True),
        ("tmpfs", True),
        (None, True),
        ("9p", False),
        ("nfs4", False),
        ("cifs", False),
        ("virtiofs", False),
        ("fuse.sshfs", False),
        ("fuseblk", False),
    ],
)
def test_changes_from_elsewhere_send_no_events(filesystem_type: str | None, expected: bool) -> None:  # noqa: FBT001
    """On shares, a write made here does send one, so a canary proves nothing: the type decides first."""
    assert expected is has_native_events(filesystem_type)


def test_a_folder_s_identity_is_its_inode_and_a_missing_one_has_none(tmp_path: Path) -> None:
    """A link leads to the identity of its target."""
    (tmp_path / "link").symlink_to(tmp_path)
    status = tmp_path.stat()
    assert (status.st_dev, status.st_ino) == find_identity(tmp_path / "link")
    assert find_identity(tmp_path / "absent") is None

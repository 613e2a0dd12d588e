"""A stack with directories on a real file system, and the snapshots of it."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.restic_ground import list_snapshots, make_quick_place
from tests.volume.conftest import docker, own_volume, place, tool_cluster

from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.requests import CreateRequest, Surroundings, VolumeIdentity
from hostk8s_agent.snapshot.restic.engine import ResticEngine
from hostk8s_agent.snapshot.restic.environment import ResticPlace
from hostk8s_agent.snapshot.service import SnapshotService
from hostk8s_agent.volume.access import VolumeAccess
from hostk8s_agent.volume.host_directory import HostDirectoryAccess

# Fixtures of the volume's tests, which these tests ask for by name.
__all__ = ["docker", "own_volume", "place", "tool_cluster"]

HEAD = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: sample
spec:
  directories:
"""
DIRECTORY = """\
    - name: {name}
      path: /mnt/pv/sample/{name}
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: manual
      owner: {owner}
      permissions: "0750"
"""


def fill(folder: Path, seed: int = 1, files: int = 12) -> None:
    """Fill a folder with what a tree can hold: depths, links, holes, odd names, odd modes, exact times, attributes."""
    dice = random.Random(seed)
    folders = [folder]
    for number in range(files):
        parent = dice.choice(folders)
        kind = dice.choice(["file", "file", "file", "folder", "empty", "sparse", "odd", "long"])
        odd = os.fsdecode(b"odd\xff \n\x1b[1m%d" % number)
        name = {"odd": odd, "long": f"{number}{'n' * 240}"}.get(kind, f"n{number}")
        path = parent / name
        if kind == "folder":
            path.mkdir()
            folders.append(path)
        elif kind == "sparse":
            with path.open("wb") as file:
                file.seek(dice.randrange(1, 3) << 20)
                file.write(dice.randbytes(100))
                file.truncate(5 << 20)
        else:
            path.write_bytes(b"" if kind == "empty" else dice.randbytes(dice.randrange(1, 70_000)))
        path.chmod(dice.choice([0o600, 0o644, 0o755, 0o4755, 0o2700, 0o000]) | (0o700 if kind == "folder" else 0))
        if os.geteuid() == 0:
            os.chown(path, dice.randrange(65535), dice.randrange(65535))
            path.chmod(stat.S_IMODE(path.stat().st_mode) or 0o640)
    (folder / "to-nowhere").symlink_to("/nowhere/at/all")
    (folder / "upwards").symlink_to("../../../up")
    os.mkfifo(folder / "pipe")
    (folder / "first-name").write_bytes(b"two names")
    os.link(folder / "first-name", folder / "second-name")
    os.setxattr(folder / "first-name", "user.note", b"kept\0whole")
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(10**18, 1_600_000_000_123_456_789 + number * 1_000_000_007), follow_symlinks=False)


def describe(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything that a snapshot claims to keep of a tree, by path."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        shown = str(path.relative_to(folder))
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        first = inodes.setdefault(status.st_ino, shown)
        attributes = () if path.is_symlink() else tuple((n, os.getxattr(path, n)) for n in sorted(os.listxattr(path)))
        target = str(path.readlink()) if path.is_symlink() else ""
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        # The directory's own time changes with what is moved in and out of it, its owner and mode are the contract's.
        time = 0 if path == folder else status.st_mtime_ns
        found[shown] = (status.st_mode, status.st_uid, status.st_gid, size, time, content, first, attributes, target)
    return found


@dataclass
class Ground:
    """One stack: its directories below `root`, its repository, its service; `now` is what its clock shows."""

    folder: Path
    names: tuple[str, ...] = ("data",)
    now: datetime = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
    access: VolumeAccess = field(default=None)  # type: ignore[assignment]  # made with the folder
    root: Path = field(default=Path())
    restic: ResticPlace | None = None
    surroundings: Surroundings = field(init=False)

    def __post_init__(self) -> None:
        owner = f"{os.geteuid()}:{os.getegid()}"
        text = HEAD + "".join(DIRECTORY.format(name=name, owner=owner) for name in self.names)
        contract = parse_contract(text.encode(), file="hostk8s.storage.yaml", stack="sample")
        if self.access is None:
            self.root = self.folder / "pv"
            self.access = HostDirectoryAccess(self.root)
        self.surroundings = Surroundings(
            lambda _stack: (contract, text.encode()),
            lambda: self.access,
            lambda: VolumeIdentity("volume"),
            lock_wait_seconds=0.2,
        )
        for name in self.names:
            if not self.path(name).exists():
                self.path(name).mkdir(parents=True, mode=0o750)
                self.path(name).chmod(0o750)

    @property
    def repository(self) -> Repository:
        """The repository, as a new process opens it."""
        folder = self.folder / "repository"
        engine = ResticEngine(folder, self.restic, lock_wait_seconds=0) if self.restic else None
        return Repository(folder, engine=engine, clock=lambda: self.now)

    @property
    def service(self) -> SnapshotService:
        """The service, as a new process makes it."""
        return SnapshotService(self.repository, self.surroundings, clock=lambda: self.now)

    def change(self, **fields: object) -> None:
        """Give the service other surroundings."""
        self.surroundings = replace(self.surroundings, **fields)  # type: ignore[arg-type]

    def path(self, name: str = "data") -> Path:
        """Where a directory is."""
        return self.root / "sample" / name

    def create(self, **fields: object) -> str:
        """Take a snapshot and return its id."""
        return self.service.create(CreateRequest("sample", **fields)).id  # type: ignore[arg-type]

    def archives(self) -> list[Path]:
        """The files of archives in the repository."""
        return sorted((self.folder / "repository/archives").iterdir())

    def stored(self) -> list[str]:
        """What the engine has, by its own names: restic itself is asked, or the files are listed."""
        return sorted(list_snapshots(self.restic)) if self.restic else [one.name for one in self.archives()]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A stack with one directory that holds everything that a tree can hold."""
    made = Ground(tmp_path)
    fill(made.path())
    yield made
    made.access.close()


@pytest.fixture(params=["archive", pytest.param("restic", marks=pytest.mark.tools)])
def each_engine(request: pytest.FixtureRequest, tmp_path: Path) -> ResticPlace | None:
    """A place for each engine: None for plain files, or a restic repository of the test's own."""
    if request.param == "archive":
        return None
    request.getfixturevalue("restic_tools")
    return make_quick_place(tmp_path)


@pytest.fixture(scope="session")
def restic_tools(testbed: Any) -> Iterator[None]:
    """restic, and what serves it over HTTP, on the PATH, wherever the testbed has them."""
    with pytest.MonkeyPatch.context() as patch:
        folders = {str(Path(testbed.run("tool", name)).parent) for name in ("restic", "rclone")}
        patch.setenv("PATH", os.pathsep.join([os.environ["PATH"], *sorted(folders)]))
        yield

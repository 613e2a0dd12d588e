"""A tree out of the volume and into it as a tar stream, the same for every way in."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostk8s_agent.volume.errors import DirectoryGoneError, PathObstructedError, TarRefusedError

if TYPE_CHECKING:
    from tests.volume.conftest import Place

LARGE = 5 * 1024 * 1024 + 17
NOT_UTF8 = b"latin-\xe9"


def plant(root: Path) -> None:
    """Make a tree with everything that a stream keeps."""
    (root / "empty").mkdir(mode=0o2775)
    (root / "sub/deep").mkdir(parents=True)
    (root / "sub/large").write_bytes(os.urandom(LARGE))
    (root / "sub/none").write_bytes(b"")
    (root / "sub/deep/linked").hardlink_to(root / "sub/none")
    (root / "link").symlink_to("sub/deep")
    (root / "up").symlink_to("sub/../sub/none")
    (root / ("long-" * 30)).write_text("long name")
    Path(os.fsdecode(os.fsencode(root) + b"/" + NOT_UTF8)).write_text("name that is not UTF-8")
    os.mkfifo(root / "fifo", 0o640)
    (root / "setuid").write_text("x")
    os.chown(root / "setuid", 70, 3_000_000)
    (root / "setuid").chmod(0o4750)
    os.chown(root / "link", 5, 6, follow_symlinks=False)
    os.chown(root / "sub", 26, 26)
    (root / "sub").chmod(0o500)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(10**18, 10**18 + 10**9 * len(path.name)), follow_symlinks=False)


def describe(root: Path) -> dict[str, tuple[object, ...]]:
    """Every entry below a root with type, mode, owner, time, links and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([root, *root.rglob("*")]):
        one = path.lstat()
        content: object = os.readlink(path) if path.is_symlink() else None  # noqa: PTH115 - the text, not the path
        if stat.S_ISREG(one.st_mode):
            content = path.read_bytes()
        links = one.st_nlink if stat.S_ISREG(one.st_mode) else 0
        time = one.st_mtime_ns // 10**9
        found[str(path.relative_to(root))] = (oct(one.st_mode), one.st_uid, one.st_gid, time, links, content)
    return found


def render(*members: tuple[tarfile.TarInfo, bytes], tail: bool = True) -> bytes:
    """A tar of members; without its tail it is cut after the last one."""
    stream = b""
    for member, content in members:
        member.size = len(content)
        stream += member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return stream + (bytes(1024) if tail else b"")


def build(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A member's header."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o755
    return member


ROOT_MEMBER = (build(".", tarfile.DIRTYPE), b"")


def test_a_tree_survives_the_way_out_and_in(place: Place) -> None:
    """Types, modes, owners, times, hard links, odd names and contents arrive as they were."""
    source, target = place.root / "source", place.root / "target"
    source.mkdir(mode=0o751)
    target.mkdir()
    os.chown(source, 7, 8)
    plant(source)
    with place.access.stream_tree_out("/mnt/pv/source") as chunks:
        place.access.stream_tree_in("/mnt/pv/target", chunks)
    assert describe(target) == describe(source)


def test_the_stream_begins_with_the_directory_itself(place: Place) -> None:
    """Names are relative to the directory, which comes first as `.`; owners are numbers (the engine names root)."""
    (place.root / "a/sub").mkdir(parents=True)
    os.chown(place.root / "a", 26, 27)
    (place.root / "a/sub/file").write_text("x")
    with place.access.stream_tree_out("/mnt/pv/a") as chunks:
        stream = b"".join(chunks)
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        members = archive.getmembers()
    assert [os.path.normpath(one.name) for one in members] == [".", "sub", "sub/file"]
    assert {one.uname for one in members} <= {"", "root"}
    assert (members[0].uid, members[0].gid) == (26, 27)


def test_a_stream_that_is_left_half_read_harms_nothing(place: Place) -> None:
    """Giving up in the middle closes the stream; the next call works."""
    (place.root / "a").mkdir()
    (place.root / "a/large").write_bytes(os.urandom(LARGE))
    with place.access.stream_tree_out("/mnt/pv/a") as chunks:
        assert next(iter(chunks))
    assert place.access.observe_directories(["/mnt/pv/a"])[0].kind == "directory"


@pytest.mark.parametrize("path", ["/mnt/pv/absent", "/mnt/pv/link", "/mnt/pv/link/below"])
def test_only_a_directory_that_is_one_is_streamed(place: Place, path: str) -> None:
    """Absent ones and links are refused in both directions."""
    (place.root / "real/below").mkdir(parents=True)
    (place.root / "link").symlink_to("real")
    expected = DirectoryGoneError if path.endswith("absent") else PathObstructedError
    with pytest.raises(expected), place.access.stream_tree_out(path):
        pass
    with pytest.raises(expected):
        place.access.stream_tree_in(path, [render(ROOT_MEMBER)])
    assert list((place.root / "real/below").iterdir()) == []


HOSTILE = {
    "absolute name": render((build("/etc/hostk8s-hostile"), b"x")),
    "name with two dots": render((build("a/../../hostile"), b"x")),
    "absolute link": render((build("l", tarfile.SYMTYPE, "/etc"), b""), (build("l/hostile"), b"x")),
    "link that leaves": render((build("l", tarfile.SYMTYPE, "../neighbour"), b""), (build("l/hostile"), b"x")),
    "hard link that leaves": render((build("l", tarfile.LNKTYPE, "../neighbour/file"), b"")),
    "absolute hard link": render((build("l", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "device": render((build("null", tarfile.CHRTYPE), b"")),
    "block device": render((build("disk", tarfile.BLKTYPE), b"")),
    "root that is a link": render((build(".", tarfile.SYMTYPE, "x"), b"")),
    "cut between members": render(ROOT_MEMBER, (build("file"), b"x"), tail=False),
    "cut in a member": render(ROOT_MEMBER, (build("file"), b"x" * 2000))[:1800],
    "garbage": b"\x01" * 4096,
    "garbage after a member": render((build("file"), b"x"), tail=False) + b"\x01" * 4096,
    "nothing": b"",
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_or_broken_stream_is_refused(place: Place, fault: str) -> None:
    """Nothing is written outside the target, whatever the stream says."""
    (place.root / "target").mkdir()
    (place.root / "neighbour").mkdir()
    (place.root / "neighbour/file").write_text("kept")
    with pytest.raises(TarRefusedError):
        place.access.stream_tree_in("/mnt/pv/target", [HOSTILE[fault]])
    assert sorted(one.name for one in place.root.iterdir()) == ["neighbour", "target"]
    assert [one.name for one in (place.root / "neighbour").iterdir()] == ["file"]
    assert (place.root / "neighbour/file").stat().st_nlink == 1
    assert not Path("/etc/hostk8s-hostile").exists()
    assert not list((place.root / "target").glob("*hostile*"))


def test_writing_through_a_link_of_the_stream_is_refused(place: Place) -> None:
    """A link that stays inside is kept, and no member is written through it."""
    (place.root / "target").mkdir()
    stream = render(
        ROOT_MEMBER,
        (build("real", tarfile.DIRTYPE), b""),
        (build("l", tarfile.SYMTYPE, "real"), b""),
        (build("l/hostile"), b"x"),
    )
    with pytest.raises(TarRefusedError):
        place.access.stream_tree_in("/mnt/pv/target", [stream])
    assert list((place.root / "target").rglob("hostile")) == []


def test_a_source_that_fails_is_not_taken_for_its_end(place: Place) -> None:
    """An error of whoever delivers the chunks comes through."""
    (place.root / "target").mkdir()

    def deliver() -> Iterator[bytes]:
        yield render(ROOT_MEMBER, (build("file"), b"x" * 5000))[:3000]
        raise KeyError("the source broke")

    with pytest.raises(KeyError, match="the source broke"):
        place.access.stream_tree_in("/mnt/pv/target", deliver())

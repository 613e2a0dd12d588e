"""A directory as a tar stream, read by descriptors alone: no link is followed, memory stays flat."""

from __future__ import annotations

import os
import stat
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

CHUNK_BYTES = 1 << 20

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NANOSECONDS = 10**9


@dataclass(slots=True)
class _Walk:
    """What has been seen: the first name of every file with several (device, inode → name)."""

    linked: dict[tuple[int, int], str] = field(default_factory=dict)


def read_tree(directory: int, path: str) -> Generator[bytes, None, None]:
    """Yield the tree below a descriptor as a tar stream: pax, numeric owners, `.` first, names sorted.

    Hard links are kept, sockets left out (they mean nothing without their process), files that shrink while they
    are read are filled up with zeros. `path` is for messages. The descriptor stays open.
    """
    with translated(f"read {path}"):
        yield _render_header(_build_header(".", os.fstat(directory), ""))
        # A descriptor of its own: listing moves the offset of the one that it is given.
        root = os.open(".", _OPEN_DIRECTORY, dir_fd=directory)
        yield from _read_entries(root, ".", _Walk())
        yield bytes(2 * tarfile.BLOCKSIZE)


def _read_entries(directory: int, prefix: str, walk: _Walk) -> Iterator[bytes]:
    try:
        for name in sorted(os.listdir(directory), key=os.fsencode):
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                yield from _read_entry(directory, name, f"{prefix}/{name}", found, walk)
            except FileNotFoundError:
                # Removed between the listing and the look: it was not there.
                continue
    finally:
        os.close(directory)


def _read_entry(directory: int, name: str, shown: str, found: os.stat_result, walk: _Walk) -> Iterator[bytes]:
    if stat.S_ISSOCK(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        child = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        yield _render_header(_build_header(shown, os.fstat(child), ""))
        yield from _read_entries(child, shown, walk)
        return
    inode = (found.st_dev, found.st_ino)
    if found.st_nlink > 1 and (first := walk.linked.get(inode)) is not None:
        header = _build_header(shown, found, first)
        header.type, header.size = tarfile.LNKTYPE, 0
        yield _render_header(header)
        return
    if stat.S_ISREG(found.st_mode):
        descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
        try:
            yield from _read_file(descriptor, shown)
        finally:
            os.close(descriptor)
    else:
        target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else ""
        yield _render_header(_build_header(shown, found, target))
    if found.st_nlink > 1:
        walk.linked[inode] = shown


def _read_file(descriptor: int, shown: str) -> Iterator[bytes]:
    header = _build_header(shown, os.fstat(descriptor), "")
    yield _render_header(header)
    left = header.size
    while left:
        chunk = os.read(descriptor, min(left, CHUNK_BYTES))
        if not chunk:
            chunk = bytes(min(left, CHUNK_BYTES))
        left -= len(chunk)
        yield chunk
    yield bytes(-header.size % tarfile.BLOCKSIZE)


def _build_header(name: str, found: os.stat_result, link_target: str) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode = stat.S_IMODE(found.st_mode)
    header.uid, header.gid = found.st_uid, found.st_gid
    seconds, nanoseconds = divmod(found.st_mtime_ns, _NANOSECONDS)
    header.mtime = seconds
    if nanoseconds:
        header.pax_headers = {"mtime": f"{seconds}.{nanoseconds:09d}"}
    header.linkname = link_target
    if stat.S_ISREG(found.st_mode):
        header.size = found.st_size
    else:
        header.type = _TYPES.get(stat.S_IFMT(found.st_mode), tarfile.FIFOTYPE)
    if header.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        header.devmajor, header.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return header


def _render_header(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}

"""A tar stream into a directory, by descriptors alone: nothing is written outside it, whatever the stream says."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hostk8s_agent.volume.errors import TarRefusedError
from hostk8s_agent.volume.tar_members import CheckedMember, MemberContent, iterate_checked_members
from hostk8s_agent.volume.translation import translated

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable, Iterator

CHUNK_BYTES = 1 << 20

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FIFO = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NANOSECONDS = 10**9


def extract_tree(directory: int, path: str, chunks: Iterable[bytes], *, sets_owner: bool) -> None:
    """Extract a tar stream into an open, empty directory.

    `path` is for messages. `sets_owner` False leaves everything to the agent's own user. Raises
    `TarRefusedError`, also for a name that the stream holds twice.
    """
    folders: list[CheckedMember] = []
    with translated(f"write {path}"):
        for member in iterate_checked_members(chunks):
            try:
                _extract_member(directory, member, sets_owner=sets_owner)
            except FileExistsError as error:
                raise _refuse(member, "stands in the stream twice, or in a directory that is not empty") from error
            except (FileNotFoundError, NotADirectoryError) as error:
                raise _refuse(member, "lies in no directory of the stream") from error
            if member.header.isdir():
                folders.append(member)
        # From the deepest: filling a directory changes its time, and a closed one cannot be filled.
        for member in sorted(folders, key=lambda one: len(one.components), reverse=True):
            with _opened(directory, member.components) as descriptor:
                _set_attributes(descriptor, member.header, sets_owner=sets_owner)


def _extract_member(directory: int, member: CheckedMember, *, sets_owner: bool) -> None:
    if not member.components:
        return
    header, name = member.header, member.components[-1]
    with _opened(directory, member.components[:-1]) as parent:
        if header.isdir():
            os.mkdir(name, 0o700, dir_fd=parent)
        elif header.issym():
            os.symlink(header.linkname, name, dir_fd=parent)
            if sets_owner:
                os.chown(name, header.uid, header.gid, dir_fd=parent, follow_symlinks=False)
            moment = _parse_mtime(header)
            os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)
        elif header.islnk():
            with _opened(directory, member.link_components[:-1]) as source:
                os.link(member.link_components[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        elif header.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
            _finish(os.open(name, _OPEN_FIFO, dir_fd=parent), header, None, sets_owner=sets_owner)
        else:
            _finish(os.open(name, _CREATE_FILE, 0o600, dir_fd=parent), header, member.content, sets_owner=sets_owner)


def _finish(descriptor: int, header: tarfile.TarInfo, content: MemberContent | None, *, sets_owner: bool) -> None:
    try:
        while content is not None and (chunk := content.read(CHUNK_BYTES)):
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        _set_attributes(descriptor, header, sets_owner=sets_owner)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(directory: int, components: tuple[str, ...]) -> Iterator[int]:
    current = os.dup(directory)
    try:
        for name in components:
            following = os.open(name, _OPEN_DIRECTORY, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def _set_attributes(descriptor: int, header: tarfile.TarInfo, *, sets_owner: bool) -> None:
    if sets_owner:
        os.fchown(descriptor, header.uid, header.gid)
    # After the owner: a change of owner clears setuid and setgid bits (chown(2)).
    os.fchmod(descriptor, header.mode & 0o7777)
    moment = _parse_mtime(header)
    os.utime(descriptor, ns=(moment, moment))


def _parse_mtime(header: tarfile.TarInfo) -> int:
    """The time in nanoseconds, from the pax text where there is one: a float holds only microseconds."""
    text = header.pax_headers.get("mtime", "")
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and (fraction.isdecimal() or not fraction):
        return int(whole) * _NANOSECONDS + int(fraction[:9].ljust(9, "0") or 0)
    return int(header.mtime * _NANOSECONDS)


def _refuse(member: CheckedMember, what: str) -> TarRefusedError:
    return TarRefusedError(
        f"the tar stream's entry {member.header.name!r} {what}",
        hint="extract into an empty directory, from an archive with each entry once",
    )

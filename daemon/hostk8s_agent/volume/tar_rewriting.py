"""Checked members as a tar stream again, under another folder."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostk8s_agent.volume.tar_members import CheckedMember

CHUNK_BYTES = 1 << 20


def rewrite_members(members: Iterable[CheckedMember], folder: str) -> Iterator[bytes]:
    """Yield the members as a pax stream whose names begin with `folder`, for instance `./b` → `a/b`.

    Only what a member is checked for is written: type, owner, mode, time, link and content.
    """
    for member in members:
        header = _move(member, folder)
        yield header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if member.content is None:
            continue
        while chunk := member.content.read(CHUNK_BYTES):
            yield chunk
        if padding := -header.size % tarfile.BLOCKSIZE:
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _move(member: CheckedMember, folder: str) -> tarfile.TarInfo:
    given = member.header
    header = tarfile.TarInfo("/".join((folder, *member.components)))
    header.type = tarfile.REGTYPE if given.isreg() else given.type
    header.mode = given.mode & 0o7777
    header.uid, header.gid = given.uid, given.gid
    header.size = given.size if given.isreg() else 0
    header.mtime = int(given.mtime)
    if text := given.pax_headers.get("mtime"):
        header.pax_headers = {"mtime": text}
    header.linkname = "/".join((folder, *member.link_components)) if given.islnk() else given.linkname
    return header

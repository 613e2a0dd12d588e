"""What a tar stream may hold: each member is checked before anything is done with it."""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from hostk8s_agent.volume.errors import TarRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

MAX_ENTRIES = 5_000_000
"""More members than any real tree of a development machine has: a stream that goes on is no tree."""

MAX_TRAILING_BYTES = 1 << 20
"""Zeros after the end mark: GNU tar pads to 10 KiB, some tapes to 1 MiB."""

_HINT = "nothing outside the directory was touched; make the archive anew, or look at who made it"


class MemberContent:
    """A file's content, to be read before the next member. A stream that ends in it raises `TarRefusedError`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes, empty only at the end."""
        try:
            return self._file.read(size)
        except tarfile.ReadError as error:
            raise TarRefusedError("the tar stream is cut or broken", hint=_HINT) from error


class CheckedMember(NamedTuple):
    """A member that may be extracted. `components` is its place below the target, empty for the target itself."""

    header: tarfile.TarInfo
    components: tuple[str, ...]
    link_components: tuple[str, ...]
    content: MemberContent | None


class _StrictHeader(tarfile.TarInfo):
    """A header whose absence is an error.

    `tarfile` takes a stream that is cut between two members, or that goes on with garbage, for a complete one.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse one header block."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end mark, which typeshed leaves out
            raise
        except tarfile.HeaderError as error:
            raise TarRefusedError("the tar stream is cut or broken", hint=_HINT) from error


class _ChunkReader:
    """A tar stream's chunks as the file that `tarfile` wants."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, empty only at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = bytes(chunk)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def iterate_contents(chunks: Iterable[bytes]) -> Iterator[tuple[tarfile.TarInfo, MemberContent | None]]:
    """Yield each header of a tar stream and, of a regular file, its content; for looking alone, nothing is checked.

    Raises `TarRefusedError` for a stream that is cut or broken.
    """
    with _open_archive(_ChunkReader(chunks)) as archive:
        while (header := archive.next()) is not None:
            file = archive.extractfile(header) if header.isreg() else None
            yield header, MemberContent(file) if file is not None else None
            archive.members.clear()  # type: ignore[attr-defined]  # see below


def iterate_checked_members(chunks: Iterable[bytes], *, max_entries: int = MAX_ENTRIES) -> Iterator[CheckedMember]:
    """Yield the members of a tar stream, in its order, each checked; a member's content is read before the next.

    Raises `TarRefusedError` for a stream without its end mark and for a member that is absolute, holds `..`, is a hard
    link to what is outside, is a device, or does not lie in a directory that the stream made before. A symbolic link
    may say anything, `/etc` too: it is what was there, and nothing of the stream is ever written through one.
    """
    reader = _ChunkReader(chunks)
    with _open_archive(reader) as archive:
        number = 0
        folders: set[tuple[str, ...]] = {()}
        while (header := archive.next()) is not None:
            number += 1
            if number > max_entries:
                raise TarRefusedError(f"the tar stream holds more than {max_entries} entries", hint=_HINT)
            member = _check_member(archive, header)
            _require_folder(member, folders)
            yield member
            # The library keeps every header for a look-up that streams do not have.
            archive.members.clear()  # type: ignore[attr-defined]
    _drain(reader)


@contextmanager
def _open_archive(reader: _ChunkReader) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", reader),
            mode="r|",
            tarinfo=_StrictHeader,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            yield archive
    except (tarfile.TarError, EOFError) as error:
        raise TarRefusedError(f"the tar stream is cut or broken: {error}", hint=_HINT) from error


def _check_member(archive: tarfile.TarFile, header: tarfile.TarInfo) -> CheckedMember:
    components = _parse_name(header.name, header.name)
    link_components: tuple[str, ...] = ()
    if header.islnk():
        link_components = _parse_name(header.linkname, header.name)
        if not link_components:
            raise _refuse(header.name, "is a hard link to the directory itself")
    elif not (header.isreg() or header.isdir() or header.isfifo() or header.issym()):
        raise _refuse(header.name, "is a device or of a type that the agent does not know")
    if not components and not header.isdir():
        raise _refuse(header.name, "stands for the directory itself and is none")
    file = archive.extractfile(header) if header.isreg() else None
    content = MemberContent(file) if file is not None else None
    return CheckedMember(header, components, link_components, content)


def _require_folder(member: CheckedMember, folders: set[tuple[str, ...]]) -> None:
    """Refuse what would be written through a link of the stream; `folders` grows with each directory."""
    for place in (member.components, member.link_components):
        if place and place[:-1] not in folders:
            raise _refuse(member.header.name, "lies in no directory of the stream")
    if member.header.isdir():
        folders.add(member.components)
    elif member.components in folders:
        raise _refuse(member.header.name, "takes the place of a directory of the stream")


def _parse_name(name: str, shown: str) -> tuple[str, ...]:
    if name.startswith("/") or "\0" in name:
        raise _refuse(shown, "has an absolute name")
    components = tuple(component for component in name.split("/") if component not in ("", "."))
    if ".." in components:
        raise _refuse(shown, "has a name with '..'")
    return components


def _refuse(name: str, what: str) -> TarRefusedError:
    return TarRefusedError(f"the tar stream's entry {name!r} {what}", hint=_HINT)


def _drain(reader: _ChunkReader) -> None:
    taken = 0
    while chunk := reader.read(1 << 16):
        taken += len(chunk)
        if taken > MAX_TRAILING_BYTES or any(chunk):
            raise TarRefusedError("the tar stream goes on after its end", hint=_HINT)

"""A tar stream, read as it passes by: each entry with the SHA-256 of its content, nothing kept, nothing copied.

Whoever passes the stream on gives each chunk to `feed` first: no byte of a header is passed on before the header was
seen by `on_header`, which refuses it by raising.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.tar_headers import (
    BLOCK_BYTES,
    EXTENDED_TYPES,
    Records,
    parse_header,
    parse_number,
    parse_records,
    parse_size,
    refuse,
    require_checksum,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.snapshot.listing import Entry

MAX_RECORDS_BYTES: Final = 1 << 20
"""More than any path, link and set of extended attributes that Linux allows (XATTR_SIZE_MAX is 64 KiB each)."""

MAX_TRAILING_BYTES: Final = 1 << 20
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZEROS = memoryview(bytes(1 << 20))
_MAX_SPARSE_PIECES = 1 << 20


class TarScanner:
    """Given the chunks of a stream, calls `on_header` for each entry, and `on_entry` once its content has passed.

    Raises `ArchiveRefusedError` for what is cut, broken or of no kind that is known.
    """

    def __init__(self, on_entry: Callable[[Entry], None], on_header: Callable[[Entry], None] = lambda _: None) -> None:
        self._on_entry = on_entry
        self._on_header = on_header
        self._rest = b""
        self._records: Records = {}
        self._entry: Entry | None = None
        self._content: _Content | None = None
        self._extended_type = 0
        self._payload = bytearray()
        self._left = 0
        self._padding = 0
        self._zero_blocks = 0
        self._trailing = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream, of any length."""
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        view = memoryview(chunk)
        position, end = 0, len(chunk)
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                self._take(view[position : position + step])
                position += step
            elif self._padding:
                step = min(self._padding, end - position)
                self._padding -= step
                position += step
            elif end - position < BLOCK_BYTES:
                self._rest = chunk[position:]
                return
            else:
                self._read_block(chunk[position : position + BLOCK_BYTES])
                position += BLOCK_BYTES

    def finish(self) -> None:
        """Raise `ArchiveRefusedError` unless the stream has ended where a tar ends: after two blocks of zeros."""
        if self._zero_blocks < 2 or self._left or self._rest or self._entry is not None:  # noqa: PLR2004 - POSIX has two
            raise refuse("is cut: it has no end mark")

    def _read_block(self, block: bytes) -> None:
        if block == _ZERO_BLOCK:
            self._zero_blocks += 1
            self._trailing += BLOCK_BYTES
            if self._trailing > MAX_TRAILING_BYTES or self._records:
                raise refuse("goes on after its end")
            return
        if self._zero_blocks:
            raise refuse("goes on after its end")
        require_checksum(block)
        kind = block[156]
        if kind in EXTENDED_TYPES:
            self._begin_extended(block)
            return
        records, self._records = self._records, {}
        self._left = parse_size(block, records)
        self._padding = -self._left % BLOCK_BYTES
        entry = parse_header(block, records)
        self._on_header(entry)
        if entry.kind != "file":
            self._on_entry(entry)
            return
        self._content = _SparseContent(entry.size) if "GNU.sparse.major" in records else _Content(entry.size)
        self._entry = entry
        if not self._left:
            self._end_entry()

    def _begin_extended(self, block: bytes) -> None:
        self._extended_type = block[156]
        self._left = parse_number(block[124:136])
        self._padding = -self._left % BLOCK_BYTES
        if self._extended_type == ord("g") or not 0 < self._left <= MAX_RECORDS_BYTES:
            raise refuse("has an extended header that no writer of ours makes")

    def _take(self, piece: memoryview) -> None:
        self._left -= len(piece)
        if self._content is not None:
            self._content.take(piece)
            if not self._left:
                self._end_entry()
            return
        self._payload += piece
        if not self._left:
            payload, self._payload = bytes(self._payload), bytearray()
            if self._extended_type == ord("x"):
                self._records.update(parse_records(payload))
            else:
                key = "path" if self._extended_type == ord("L") else "linkpath"
                self._records[key] = payload.rstrip(b"\0")

    def _end_entry(self) -> None:
        entry, content = self._entry, self._content
        self._entry = self._content = None
        if entry is not None and content is not None:
            entry.sha256 = content.finish()
            self._on_entry(entry)


class _Content:
    """A regular file's content."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._digest = hashlib.sha256()

    def take(self, piece: memoryview) -> None:
        # The interpreter's lock is let go for pieces of more than 2 KiB: compression goes on meanwhile.
        self._digest.update(piece)

    def finish(self) -> str:
        return self._digest.hexdigest()


class _SparseContent(_Content):
    """A file with holes in GNU's pax format 1.0: a map of decimal lines in whole blocks, then the pieces.

    https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._map = bytearray()
        self._pieces: list[tuple[int, int]] | None = None
        self._position = 0
        self._index = 0

    def take(self, piece: memoryview) -> None:
        if self._pieces is None:
            self._map += piece
            self._read_map()
            return
        self._take_content(piece)

    def finish(self) -> str:
        if self._pieces is None or any(length for _, length in self._pieces[self._index :]):
            raise refuse("holds a file with holes whose pieces are not all there")
        self._skip_to(self._size)
        return super().finish()

    def _read_map(self) -> None:
        lines = bytes(self._map).split(b"\n")
        try:
            count = int(lines[0]) if len(lines) > 1 else None
            if count is None or len(lines) < 2 * count + 2:
                if len(self._map) > 40 * _MAX_SPARSE_PIECES:
                    raise refuse("holds a file with too many holes")
                return
            numbers = [int(line) for line in lines[1 : 2 * count + 1]]
        except ValueError as error:
            raise refuse("holds a file with holes whose map cannot be read") from error
        used = sum(len(line) + 1 for line in lines[: 2 * count + 1])
        used += -used % BLOCK_BYTES
        if len(self._map) < used:
            return
        self._pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
        end = 0
        for start, length in self._pieces:
            if start < end or length < 0 or start + length > self._size:
                raise refuse("holds a file with holes whose map cannot be")
            end = start + length
        rest, self._map = bytes(self._map[used:]), bytearray()
        if rest:
            self._take_content(memoryview(rest))

    def _take_content(self, piece: memoryview) -> None:
        pieces = self._pieces or []
        while piece:
            if self._index >= len(pieces):
                raise refuse("holds a file with holes and more content than its map says")
            start, length = pieces[self._index]
            self._skip_to(max(start, self._position))
            step = min(start + length - self._position, len(piece))
            self._digest.update(piece[:step])
            self._position += step
            piece = piece[step:]
            if self._position >= start + length:
                self._index += 1

    def _skip_to(self, position: int) -> None:
        while self._position < position:
            step = min(position - self._position, len(_ZEROS))
            self._digest.update(_ZEROS[:step])
            self._position += step

"""A part of a tree: which entries belong to it, and its members out of the archive's stream, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.listing import ROOT_PATH
from hostk8s_agent.snapshot.tar_headers import (
    BLOCK_BYTES,
    EXTENDED_TYPES,
    Records,
    parse_header,
    parse_number,
    parse_records,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hostk8s_agent.snapshot.listing import Entry

_ZERO_BLOCK = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of a tree, with everything below it.

    `path` is relative to the directory; `ancestors` are the directories that lead there, the outermost first, the
    tree's root left out. `first_names` are the other names, outside the part, under which the content of its hard
    links stands in the archive.
    """

    path: str
    ancestors: tuple[Entry, ...]
    first_names: frozenset[str]
    entries: int
    files: int
    byte_count: int

    def has(self, path: str) -> bool:
        """Whether an entry of the tree belongs to the part."""
        return path == self.path or path.startswith(f"{self.path}/")

    def needs(self, path: str) -> bool:
        """Whether an entry has to be written for the part: its own, those that lead there, and first names.

        The directories that lead to a first name come along.
        """
        if self.has(path) or path == ROOT_PATH or path in self.first_names:
            return True
        return self.path.startswith(f"{path}/") or any(one.startswith(f"{path}/") for one in self.first_names)


def find_part(listing: Iterable[Entry], path: str) -> Part | None:
    """Return the part of a tree at a path, None when the tree has nothing there. Reads the listing to its end."""
    ancestors: list[Entry] = []
    targets: set[str] = set()
    entries = files = byte_count = 0
    for one in listing:
        if one.path == path or one.path.startswith(f"{path}/"):
            entries += 1
            files += one.kind in ("file", "hardlink")
            byte_count += one.size
            if one.kind == "hardlink":
                targets.add(one.target)
        elif path.startswith(f"{one.path}/"):
            ancestors.append(one)
    if not entries:
        return None
    outside = frozenset(one for one in targets if one != path and not one.startswith(f"{path}/"))
    return Part(path, tuple(ancestors), outside, entries, files, byte_count)


def select_members(chunks: Iterable[bytes], is_wanted: Callable[[str], bool]) -> Iterator[bytes]:
    """Yield the members of a checked tar stream whose path is wanted, as they are in it, and its end.

    The stream is read to its end: what came of it is proven only then.
    """
    selector = _Selector(is_wanted)
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        position = 0
        while position < len(data):
            step = selector.left or BLOCK_BYTES
            piece = data[position : position + step]
            if not selector.left and len(piece) < BLOCK_BYTES:
                break
            position += len(piece)
            if passed := selector.take(piece):
                yield passed
        rest = data[position:]


class _Selector:
    """Where in the stream it is. `left` bytes belong to the last header, 0 when a header comes next."""

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self.left = 0
        self._is_wanted = is_wanted
        self._is_passing = False
        # The headers before the one that they concern, and what they say.
        self._held = bytearray()
        self._records = Records()
        self._extended = 0
        self._payload = bytearray()
        self._payload_bytes = 0

    def take(self, piece: bytes) -> bytes:
        """Take the next block, or a piece of what belongs to it; return what is to be passed on."""
        if not self.left:
            return piece if piece == _ZERO_BLOCK else self._read_header(piece)
        self.left -= len(piece)
        if not self._extended:
            return piece if self._is_passing else b""
        self._held += piece
        self._payload += piece
        if not self.left:
            self._read_extended(bytes(self._payload[: self._payload_bytes]))
        return b""

    def _read_header(self, block: bytes) -> bytes:
        self._held += block
        if block[156] in EXTENDED_TYPES:
            self._extended, self._payload = block[156], bytearray()
            self._payload_bytes = parse_number(block[124:136])
            self.left = self._payload_bytes + -self._payload_bytes % BLOCK_BYTES
            return b""
        size = parse_size(block, self._records)
        self.left = size + -size % BLOCK_BYTES
        self._is_passing = self._is_wanted(parse_header(block, self._records).path)
        held, self._held, self._records = bytes(self._held), bytearray(), Records()
        return held if self._is_passing else b""

    def _read_extended(self, payload: bytes) -> None:
        if self._extended == ord("x"):
            self._records.update(parse_records(payload))
        else:
            self._records["path" if self._extended == ord("L") else "linkpath"] = payload.rstrip(b"\0")
        self._extended = 0

"""One tar header and its pax records as an entry (POSIX.1-2017 pax, 4.100; GNU tar's and Go's habits).

`tarfile` takes 60 microseconds a header, which for 40,000 files is more than everything else together; this takes six.
It knows what GNU tar, Go's archive/tar and Python's tarfile write into archives of ours, and refuses everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.listing import ROOT_PATH, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.snapshot.listing import EntryKind

BLOCK_BYTES: Final = 512
HINT: Final = "nothing outside was touched; take another snapshot, and do not trust this archive"

# What may stand before a header, and concerns the next one: pax records, GNU's long names.
EXTENDED_TYPES: Final = frozenset(b"xgLK")

Records = dict[str, bytes]

_KINDS: dict[int, EntryKind] = {
    ord("0"): "file",
    0: "file",
    ord("7"): "file",
    ord("1"): "hardlink",
    ord("2"): "symlink",
    ord("3"): "character",
    ord("4"): "block",
    ord("5"): "directory",
    ord("6"): "fifo",
}
_BLANK_CHECKSUM = sum(b" " * 8)
_ATTRIBUTE_PREFIXES = ("SCHILY.xattr.", "SCHILY.acl.", "RHT.security.", "LIBARCHIVE.xattr.")


def refuse(what: str) -> ArchiveRefusedError:
    """Return the error for a stream that is none of ours."""
    return ArchiveRefusedError(f"the archive {what}", hint=HINT)


def parse_number(field: bytes) -> int:
    """Return a header's number: octal, or base 256 with its first bit set (GNU)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise refuse("has a header with a number that is none") from error


def require_checksum(header: bytes) -> None:
    """Raise `ArchiveRefusedError` unless the header's checksum is right."""
    if sum(header) - sum(header[148:156]) + _BLANK_CHECKSUM != parse_number(header[148:156]):
        raise refuse("is cut or broken: a header's checksum is wrong")


def parse_records(payload: bytes) -> Records:
    r"""Return pax records: `LENGTH KEY=VALUE\n`, one after the other; values may hold anything."""
    records: Records = {}
    position = 0
    while position < len(payload):
        space = payload.find(b" ", position)
        try:
            end = position + int(payload[position:space])
        except ValueError as error:
            raise refuse("has a pax header that cannot be read") from error
        key, equals, value = payload[space + 1 : end - 1].partition(b"=")
        if space < 0 or end <= space or end > len(payload) or not equals or payload[end - 1 : end] != b"\n":
            raise refuse("has a pax header that cannot be read")
        records[key.decode("utf-8", "surrogateescape")] = value
        position = end
    return records


def parse_size(header: bytes, records: Mapping[str, bytes]) -> int:
    """Return how many bytes follow the header in the stream, the padding left out."""
    text = records.get("size")
    size = parse_number(header[124:136]) if text is None else _parse_decimal(text)
    # A link's size is that of what it leads to in some archives, and nothing follows it.
    return size if _KINDS.get(header[156]) == "file" else 0


def parse_header(header: bytes, records: Mapping[str, bytes]) -> Entry:
    """Return the entry that a header and its records describe; its hash is not known yet."""
    kind = _KINDS.get(header[156])
    if kind is None:
        raise refuse(f"holds an entry of the unknown type {header[156:157]!r}")
    if kind == "file" and header[156] != 0 and header[156] == ord("7"):
        raise refuse("holds a contiguous file, which no writer of ours makes")
    entry = Entry(
        _parse_path(records.get("GNU.sparse.name") or records.get("path") or _read_name(header)),
        kind,
        parse_number(header[100:108]) & 0o7777,
        _number_of(records, "uid", header[108:116]),
        _number_of(records, "gid", header[116:124]),
        _parse_mtime(header, records),
    )
    if kind == "file":
        real = records.get("GNU.sparse.realsize")
        entry.size = parse_size(header, records) if real is None else _parse_decimal(real)
    elif kind in ("symlink", "hardlink"):
        target = records.get("linkpath") or _cut(header[157:257])
        entry.target = _parse_path(target) if kind == "hardlink" else target.decode("utf-8", "surrogateescape")
    elif kind in ("character", "block"):
        entry.device = f"{parse_number(header[329:337])}:{parse_number(header[337:345])}"
    if len(records) > 1:
        entry.attributes = _parse_attributes(records)
    return entry


def _read_name(header: bytes) -> bytes:
    name = _cut(header[0:100])
    # Only POSIX archives have a prefix; GNU's own format has times there.
    if header[345] and header[257:263] == b"ustar\0":
        return _cut(header[345:500]) + b"/" + name
    return name


def _cut(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _parse_path(name: bytes) -> str:
    """Return a member's name without `./` and a trailing slash; `.` for the directory itself."""
    text = name.decode("utf-8", "surrogateescape")
    text = text.removeprefix("./")
    return text.rstrip("/") or (ROOT_PATH if not text.startswith("/") else "/")


def _parse_mtime(header: bytes, records: Mapping[str, bytes]) -> str:
    text = records.get("mtime")
    if text is None:
        return str(parse_number(header[136:148]))
    whole, _, fraction = text.decode("ascii", "replace").partition(".")
    if not whole.lstrip("-").isdigit() or (fraction and not fraction.isdigit()):
        raise refuse("has a time that is none")
    fraction = fraction[:9].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _parse_attributes(records: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value.hex()) for key, value in records.items() if key.startswith(_ATTRIBUTE_PREFIXES)))


def _number_of(records: Mapping[str, bytes], key: str, field: bytes) -> int:
    text = records.get(key)
    return parse_number(field) if text is None else _parse_decimal(text)


def _parse_decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 - 2**64 has 20 digits
        raise refuse("has a pax header with a number that is none")
    return int(text)

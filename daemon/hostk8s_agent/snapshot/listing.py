"""The listing of a tree: one line of JSON an entry, in the archive's order. Its SHA-256 is the tree's name.

The lines are those of docs/snapshot-format.md, with the keys in a fixed order and nothing optional in between, so that
equal trees have equal listings, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

EntryKind = Literal["directory", "file", "symlink", "hardlink", "fifo", "character", "block"]

KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
ROOT_PATH = "."
MAX_LINE_BYTES = 1 << 21

_quote = json.encoder.encode_basestring_ascii


@dataclass(slots=True)
class Entry:
    """One entry of a tree; made 40,000 at a time, and therefore not frozen, which takes three times as long.

    `path` is relative to the directory, `.` for itself; bytes that are no UTF-8 are surrogates (PEP 383). `mtime` is in
    seconds with up to nine decimals, as text. `size` and `sha256` are the content's, of regular files alone. `target`
    is where a link leads: as written for a symlink, a path of the tree for a hard link. `device` is `major:minor`.
    `attributes` are extended attributes and ACLs, name and value (hex), sorted.
    """

    path: str
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    mtime: str
    size: int = 0
    target: str = ""
    device: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    sha256: str = ""

    @property
    def is_device(self) -> bool:
        """Whether it is a device node: captured, and never made by a restore."""
        return self.kind in ("character", "block")


def render_entry(entry: Entry) -> bytes:
    """Return the entry's line, with its line end. What a kind does not have is left out."""
    head = f'{{"path":{_quote(entry.path)},"type":"{entry.kind}","mode":"{entry.mode:04o}"'
    parts = [head, f',"owner":"{entry.uid}:{entry.gid}","mtime":"{entry.mtime}"']
    if entry.kind == "file":
        parts.append(f',"size":{entry.size},"sha256":"{entry.sha256}"')
    if entry.target:
        parts.append(f',"target":{_quote(entry.target)}')
    if entry.device:
        parts.append(f',"device":"{entry.device}"')
    if entry.attributes:
        parts.append(f',"attributes":{json.dumps(dict(entry.attributes), separators=(",", ":"))}')
    parts.append("}\n")
    return "".join(parts).encode("ascii")


def parse_entry(line: bytes) -> Entry:
    """Return the entry of a line. Raises `ValueError` for one that `render_entry` did not write."""
    try:
        found: dict[str, Any] = json.loads(line)
        uid, gid = found["owner"].split(":")
        entry = Entry(
            found["path"],
            found["type"],
            int(found["mode"], 8),
            int(uid),
            int(gid),
            found["mtime"],
            found.get("size", 0),
            found.get("target", ""),
            found.get("device", ""),
            tuple(sorted(found.get("attributes", {}).items())),
            found.get("sha256", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no entry of a listing: {line[:80]!r}") from error
    if entry.kind not in KINDS or render_entry(entry) != line:
        raise ValueError(f"no entry of a listing: {line[:80]!r}")
    return entry

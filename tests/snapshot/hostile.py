"""Archives that mean harm, in a repository that somebody has made to fit them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard
from tests.snapshot.conftest import Ground

from hostk8s_agent.snapshot.documents import seal_manifest
from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.listing import Entry, render_entry
from hostk8s_agent.snapshot.tar_scanning import TarScanner

Member = tuple[str, bytes, str]
ROOT: Member = (".", tarfile.DIRTYPE, "")
ZEROS_BYTES = 10 << 30
MANY_ENTRIES = 10**6


def build(*members: Member, content: bytes = b"", form: int = tarfile.PAX_FORMAT, mode: int = 0o755) -> bytes:
    """A tar of members: name, type, link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for name, kind, link in members:
            header = tarfile.TarInfo(name)
            header.type, header.linkname, header.mode = kind, link, mode
            header.devmajor, header.devminor = (1, 3) if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else (0, 0)
            header.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(header, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return buffer.getvalue()


# Written so that `{outside}` is a folder next to the volume: a write through any of these would be seen in it.
_MEMBERS: dict[str, tuple[Member, ...]] = {
    "upwards": (ROOT, ("../x", tarfile.REGTYPE, "")),
    "upwards in the middle": (ROOT, ("a", tarfile.DIRTYPE, ""), ("a/../../x", tarfile.REGTYPE, "")),
    "absolute": (ROOT, ("{outside}/x", tarfile.REGTYPE, "")),
    "through a symlink": (ROOT, ("a", tarfile.SYMTYPE, "{outside}"), ("a/x", tarfile.REGTYPE, "")),
    "a symlink and then a directory of its name": (
        ROOT,
        ("a", tarfile.SYMTYPE, "{outside}"),
        ("a", tarfile.DIRTYPE, ""),
    ),
    "a hard link outside": (ROOT, ("a", tarfile.LNKTYPE, "../../outside/precious")),
    "an absolute hard link": (ROOT, ("a", tarfile.LNKTYPE, "{outside}/precious")),
    "a hard link through a symlink": (
        ROOT,
        ("a", tarfile.SYMTYPE, "{outside}"),
        ("b", tarfile.LNKTYPE, "a/precious"),
    ),
    "a hard link to a directory": (ROOT, ("a", tarfile.DIRTYPE, ""), ("b", tarfile.LNKTYPE, "a")),
    "a hard link to what comes later": (ROOT, ("a", tarfile.LNKTYPE, "b"), ("b", tarfile.REGTYPE, "")),
    "in no directory": (ROOT, ("a/b", tarfile.REGTYPE, "")),
    "twice": (ROOT, ("a", tarfile.REGTYPE, ""), ("a", tarfile.REGTYPE, "")),
    "out of order": (ROOT, ("b", tarfile.REGTYPE, ""), ("a", tarfile.REGTYPE, "")),
    "a name that is too long": (ROOT, ("n" * 256, tarfile.REGTYPE, "")),
    "no directory first": (("a", tarfile.REGTYPE, ""),),
    "an empty component": (ROOT, ("a", tarfile.DIRTYPE, ""), ("a//b", tarfile.REGTYPE, "")),
    "an unknown type": (ROOT, ("a", b"V", "")),
    "a contiguous file": (ROOT, ("a", tarfile.CONTTYPE, "")),
}


def _build_from(members: tuple[Member, ...]) -> Callable[[Path], bytes]:
    return lambda outside: build(
        *((name.format(outside=outside), kind, link.format(outside=outside)) for name, kind, link in members)
    )


def _build_zeros(_outside: Path) -> bytes:
    """A header that promises 10 GB; what follows would be zeros, which pack to nothing."""
    header = tarfile.TarInfo("zeros")
    header.size = ZEROS_BYTES
    return build(ROOT)[:512] + header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)


def _build_many(_outside: Path) -> bytes:
    """The begin of 10^6 entries, of which its manifest counts a few."""
    return build(ROOT, *((f"{number:07}", tarfile.REGTYPE, "") for number in range(MANY_ENTRIES // 1000)))


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    **{name: _build_from(members) for name, members in _MEMBERS.items()},
    "10 GB of zeros": _build_zeros,
    "10^6 entries": _build_many,
}
"""What is refused."""

_ODD = os.fsdecode(b"odd\xff\n\x1b[2J")
ACCEPTED: dict[str, Callable[[Path], bytes]] = {
    "devices": lambda _: build(ROOT, ("./b", tarfile.BLKTYPE, ""), ("./c", tarfile.CHRTYPE, "")),
    "devices by other names": lambda _: build(ROOT, ("b", tarfile.BLKTYPE, ""), ("c/", tarfile.CHRTYPE, "")),
    "a FIFO": lambda _: build(ROOT, ("p", tarfile.FIFOTYPE, "")),
    "setuid": lambda _: build(ROOT, ("s", tarfile.REGTYPE, ""), content=b"#!/bin/sh\n", mode=0o4755),
    "odd names": lambda _: build(ROOT, (_ODD, tarfile.REGTYPE, ""), content=b"x"),
    "a symlink outside": lambda outside: build(ROOT, ("l", tarfile.SYMTYPE, f"{outside}/precious")),
}
"""What is a stack's own business: made within its directory as it was, devices excepted."""


def plant(ground: Ground, stream: bytes) -> Any:
    """Add a snapshot of an archive with a listing and a manifest that fit, as far as any can; return its manifest."""
    entries: list[Entry] = []
    scanner = TarScanner(entries.append, lambda _entry: None)
    for start in range(0, len(stream), 512):
        try:
            scanner.feed(stream[start : start + 512])
        except ArchiveRefusedError:
            # The listing ends with what can be read of it.
            break
    lines = b"".join(render_entry(one) for one in entries[:50])
    tree = hashlib.sha256(lines).hexdigest()
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(stream)
    digest = hashlib.sha256(packed).hexdigest()
    honest = ground.repository.load(ground.repository.list_ids()[0])
    [directory] = honest.directories
    archive = replace(directory.archive, tree=tree, stored_as=digest, packed_bytes=len(packed))
    files = [one for one in entries[:50] if one.kind == "file"]
    planted = replace(
        directory,
        archive=archive,
        entries=min(len(entries), 50),
        files=len(files),
        byte_count=sum(one.size for one in files),
    )
    snapshot = seal_manifest(replace(honest, directories=(planted,), name="planted"))
    ground.repository.archives.path(archive).write_bytes(packed)
    ground.repository.listing_path(tree).write_bytes(zstandard.ZstdCompressor().compress(lines))
    ground.repository.add(snapshot)
    return snapshot

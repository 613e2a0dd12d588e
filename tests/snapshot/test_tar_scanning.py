"""What a broken archive meets: nothing of it is passed on. Hostile ones are row I5, in test_integrity_rows.py."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable

import pytest
from tests.snapshot.hostile import ROOT, build

from hostk8s_agent.snapshot.checking import EntryChecker
from hostk8s_agent.snapshot.errors import ArchiveRefusedError
from hostk8s_agent.snapshot.listing import Entry, parse_entry, render_entry
from hostk8s_agent.snapshot.tar_scanning import TarScanner


def scan(stream: bytes, step: int = 1 << 20, **limits: int) -> list[Entry]:
    """The entries of a stream that is fed by so many bytes at a time."""
    entries: list[Entry] = []
    scanner = TarScanner(entries.append, EntryChecker(**limits).check)
    for start in range(0, len(stream), step):
        scanner.feed(stream[start : start + step])
    scanner.finish()
    return entries


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("step", [100, 511, 513, 1 << 20])
def test_the_entries_are_those_of_the_archive_however_it_is_cut_into_chunks(form: int, step: int) -> None:
    """Long names, names that are no UTF-8, links, in both formats that writers use."""
    odd = os.fsdecode(b"odd\xff\n\x1b")
    members = (
        ROOT,
        ("a" * 250, tarfile.DIRTYPE, ""),
        (f"{'a' * 250}/{'b' * 250}", tarfile.REGTYPE, ""),
        (odd, tarfile.REGTYPE, ""),
        ("p", tarfile.LNKTYPE, odd),
        ("q", tarfile.SYMTYPE, "/etc/passwd"),
        ("r", tarfile.FIFOTYPE, ""),
    )
    stream = build(*members, content=b"x" * 700, form=form)
    entries = scan(stream, step)
    assert [(one.path, one.target) for one in entries] == [(name, link) for name, _kind, link in members]
    assert {one.sha256 for one in entries} == {"", hashlib.sha256(b"x" * 700).hexdigest()}


def test_a_stream_cut_at_any_block_is_refused() -> None:
    """Also between two entries, where tarfile takes it for whole."""
    stream = build(ROOT, ("a", tarfile.REGTYPE, ""), ("b", tarfile.REGTYPE, ""), content=b"x" * 600)
    end = stream.rindex(b"x") + 1
    end += -end % 512
    for cut in range(0, end + 512, 256):
        with pytest.raises(ArchiveRefusedError):
            scan(stream[:cut])


def test_a_stream_that_goes_on_after_its_end_is_refused() -> None:
    """What follows would be seen by another reader."""
    whole = build(ROOT)
    with pytest.raises(ArchiveRefusedError):
        scan(whole + whole)


BROKEN_RECORDS: dict[str, bytes] = {
    "no length": b"path=a\n",
    "too long": b"99 path=a\n",
    "no line end": b"9 path=a ",
    "no value": b"7 path\n",
}


@pytest.mark.parametrize("payload", BROKEN_RECORDS.values(), ids=BROKEN_RECORDS)
def test_broken_pax_records_are_refused(payload: bytes) -> None:
    """Lengths that lie, and records that are none."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(payload)
    stream = build(ROOT)[:512] + header.tobuf(tarfile.USTAR_FORMAT) + payload.ljust(512, b"\0") + build(ROOT)
    with pytest.raises(ArchiveRefusedError):
        scan(stream)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(".", "directory", 0o750, 26, 26, "1.5"),
        Entry("a\n\udcff", "file", 0o4755, 0, 0, "-1", 3, sha256="0" * 64, attributes=(("SCHILY.xattr.user.a", "00"),)),
        Entry("l", "symlink", 0o777, 0, 0, "0", target="/x"),
        Entry("d", "character", 0o600, 0, 0, "0", device="1:3"),
    ],
    ids=lambda entry: entry.kind,
)
def test_an_entry_survives_its_line(entry: Entry) -> None:
    """And no line means two things."""
    assert parse_entry(render_entry(entry)) == entry


@pytest.mark.parametrize("change", [bytes.upper, lambda line: line.replace(b",", b", ", 1), lambda line: line[:-3]])
def test_a_line_that_was_written_otherwise_is_no_entry(change: Callable[[bytes], bytes]) -> None:
    """So that the digest of a listing stands for one listing."""
    with pytest.raises(ValueError, match="no entry of a listing"):
        parse_entry(change(render_entry(Entry("a", "file", 0o600, 0, 0, "0", 1, sha256="0" * 64))))

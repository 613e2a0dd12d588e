"""A snapshot as one file, for a colleague: a plain tar of its manifest, listings and archives as they lie here.

The manifest comes first, so that whoever reads the file knows what must follow; everything is compared when it is taken
in, and nothing is visible before all of it is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from hostk8s_agent.snapshot.documents import ID_PATTERN, parse_manifest, render_manifest, seal_manifest
from hostk8s_agent.snapshot.durable import INCOMING_PREFIX, incoming
from hostk8s_agent.snapshot.errors import BundleRefusedError, ManifestForgedError, SnapshotError
from hostk8s_agent.snapshot.exporting import require_outside
from hostk8s_agent.snapshot.model import ARCHIVE_ENGINE, SnapshotState
from hostk8s_agent.snapshot.packing import pack_tree
from hostk8s_agent.snapshot.progress import Meter
from hostk8s_agent.snapshot.repository import Repository
from hostk8s_agent.snapshot.unpacking import iterate_archive
from hostk8s_agent.snapshot.verifying import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from hostk8s_agent.snapshot.model import SnapshotManifest

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 20
_HINT: Final = "ask for the file again; nothing was added to the repository"


def write_bundle(repository: Repository, snapshot: SnapshotManifest, file: Path, *, meter: Meter | None = None) -> None:
    """Write a snapshot as one new file, whole or not at all. Raises `BundleRefusedError` where something is already.

    What another engine keeps is packed into archives for it: who gets the file has no way to the restic repository.
    Such a copy has an id of its own.
    """
    meter = meter or Meter()
    require_outside(repository, file)
    # A device, too: whoever is root would replace it for all programs of the machine.
    if os.path.lexists(file):
        raise BundleRefusedError(f"{file} exists already", hint="name a new file; nothing is ever written over")
    if snapshot.engine != ARCHIVE_ENGINE:
        with tempfile.TemporaryDirectory(prefix=INCOMING_PREFIX, dir=file.resolve().parent) as scratch:
            packed = Repository(Path(scratch))
            packed.prepare()
            write_bundle(packed, _repack(repository, snapshot, packed, meter), file, meter=meter)
        return
    meter.begin("exporting", sum(path.stat().st_size for path in _find_parts(repository, snapshot).values()))
    with incoming(file.resolve().parent) as beside:
        with os.fdopen(os.dup(beside.descriptor), "wb") as output, tarfile.open(fileobj=output, mode="w") as bundle:
            text = render_manifest(snapshot)
            header = tarfile.TarInfo(MANIFEST_NAME)
            header.size = len(text)
            bundle.addfile(header, io.BytesIO(text))
            for name, path in _find_parts(repository, snapshot).items():
                with path.open("rb") as part:
                    header = tarfile.TarInfo(name)
                    header.size = os.fstat(part.fileno()).st_size
                    bundle.addfile(header, _Counted(part, meter))
        beside.keep_as(file.resolve())


class _Counted(io.RawIOBase):
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._meter.advance(len(chunk))
        return chunk


def _repack(repository: Repository, snapshot: SnapshotManifest, target: Repository, meter: Meter) -> SnapshotManifest:
    directories = []
    meter.begin("reading", snapshot.byte_count)
    for one in snapshot.directories:
        with pack_tree(meter.count(iterate_archive(repository, one)), target, one.name) as packed:
            archive = packed.archive.keep(packed.tree)
            packed.listing.keep_as(target.listing_path(packed.tree))
        directories.append(replace(one, archive=archive))
    return seal_manifest(replace(snapshot, directories=tuple(directories), engine=ARCHIVE_ENGINE))


def read_bundle(
    repository: Repository, file: Path, clock: Callable[[], datetime], *, meter: Meter | None = None
) -> SnapshotManifest:
    """Take a file's snapshot into the repository, and return it; under the lock, with the repository prepared.

    One that is here already is returned as it is, and the rest of the file is not read. Raises `BundleRefusedError` for
    what is none, and for one that is not what was written.
    """
    try:
        return _take_in(repository, file, clock, meter or Meter())
    except BaseException:
        # What was stored of it already belongs to no snapshot, also when a person has stopped it.
        repository.sweep()
        raise


def _take_in(repository: Repository, file: Path, clock: Callable[[], datetime], meter: Meter) -> SnapshotManifest:
    try:
        # A pipe has no size.
        meter.begin("importing", file.stat().st_size or None)
        with file.open("rb") as opened, tarfile.open(fileobj=_Counted(opened, meter), mode="r|") as bundle:
            snapshot = _read_manifest(bundle)
            if snapshot.id in repository.list_ids():
                return repository.load(snapshot.id)
            wanted = _find_parts(repository, snapshot)
            while (header := bundle.next()) is not None:
                target = wanted.get(header.name)
                content = bundle.extractfile(header) if target is not None else None
                if target is None or content is None:
                    raise _refuse(f"holds {header.name!r}, which is no part of {snapshot.id}")
                _store(content, target)
    except OSError as error:
        raise BundleRefusedError(
            f"{file} cannot be read: {error.strerror or error}", hint="look at the path and its mode; nothing was added"
        ) from error
    except (EOFError, tarfile.TarError) as error:
        raise _refuse(f"cannot be read: {error}") from error
    if missing := [path.name for path in wanted.values() if not path.exists()]:
        raise _refuse(f"lacks {missing[0]}")
    repository.add(snapshot)
    verifier = Verifier(repository, clock, meter=meter)
    verifier.expect([snapshot])
    verified = verifier.verify(snapshot).snapshot
    if verified.state is SnapshotState.DAMAGED:
        repository.remove(verified.id)
        raise _refuse(f"is not whole: {verified.marks.reason}")
    return verified


def _find_parts(repository: Repository, snapshot: SnapshotManifest) -> dict[str, Path]:
    """Return what belongs to a snapshot besides its manifest: the names in a bundle, and the places here."""
    paths = [repository.listing_path(one.archive.tree) for one in snapshot.directories]
    paths += [repository.archives.path(one.archive) for one in snapshot.directories]
    return {f"{path.parent.name}/{path.name}": path for path in paths}


def _read_manifest(bundle: tarfile.TarFile) -> SnapshotManifest:
    header = bundle.next()
    content = bundle.extractfile(header) if header is not None and header.isreg() else None
    if header is None or content is None or header.name != MANIFEST_NAME or header.size > MAX_MANIFEST_BYTES:
        raise _refuse("does not begin with a manifest")
    text = content.read()
    try:
        snapshot_id = str(json.loads(text)["id"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refuse("does not begin with a manifest") from error
    if not ID_PATTERN.fullmatch(snapshot_id):
        raise _refuse("does not begin with a manifest")
    try:
        return parse_manifest(text, snapshot_id)
    except ManifestForgedError as error:
        raise _refuse("holds a manifest that is not the one that was written") from error


def _store(content: IO[bytes], target: Path) -> None:
    digest = hashlib.sha256()
    with incoming(target.parent) as file:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        # An archive's name is its digest; a listing is compared with its name when it is read.
        if target.parent.name == "archives" and digest.hexdigest() != target.name.partition(".")[0]:
            raise _refuse(f"holds {target.name} with another content")
        if not target.exists():
            file.keep_as(target)


def _refuse(what: str) -> SnapshotError:
    return BundleRefusedError(f"the file {what}", hint=_HINT)

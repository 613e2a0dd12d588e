"""The repository: where manifests, listings and archives lie, and how they come and go.

```
repository.json               format and identity
lock                          who works on it
ledger                        one line for each snapshot that came (+) or was forgotten (-)
manifests/<id>.json           what was taken: never changes
marks/<id>.json               pinned, verified, its state
listings/<tree>.jsonl.zst     every entry of a tree: type, mode, owner, size, time, SHA-256
archives/<sha256>.tar.zst     a tree's content; the name is the file's own SHA-256
scans/                        what unchanged directories are recognised by; may be lost
```

The order of the writes is what makes a snapshot whole: archives, listings, marks, the manifest, the ledger's line. What
no manifest refers to is removed by `sweep`. Reading needs no lock; everything else is done under it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.archive_engine import ARCHIVES_FOLDER, ArchiveEngine
from hostk8s_agent.snapshot.documents import (
    FORMAT_VERSION,
    ID_PATTERN,
    parse_manifest,
    parse_marks,
    render_manifest,
    render_marks,
    render_moment,
)
from hostk8s_agent.snapshot.durable import (
    INCOMING_PREFIX,
    IncomingFile,
    incoming,
    list_paths,
    make_folder,
    measure_folder,
    remove_durably,
    write_durably,
)
from hostk8s_agent.snapshot.errors import (
    EngineUnknownError,
    ManifestDuplicateError,
    ManifestFromFutureError,
    ManifestMissingError,
    RepositoryFullError,
    RepositoryNewerError,
    RepositoryUnusableError,
    SnapshotError,
)
from hostk8s_agent.snapshot.ledger import Ledger
from hostk8s_agent.snapshot.locking import RepositoryLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hostk8s_agent.errors import Problem
    from hostk8s_agent.snapshot.engine import SnapshotEngine
    from hostk8s_agent.snapshot.model import ArchiveReference, Marks, SnapshotManifest

REPOSITORY_FILE: Final = "repository.json"
CLOCK_TOLERANCE: Final = timedelta(minutes=10)
"""How far ahead a manifest may be dated: clocks are set back by so much without anyone forging anything."""

_FOLDERS = ("manifests", "marks", "listings", "scans")


class Repository:
    """One repository. Reading from any thread; what changes it is called with `lock` held.

    New archives are kept by `engine`, plain files when it is None; what another one keeps stays readable.
    """

    def __init__(
        self,
        folder: Path,
        *,
        engine: SnapshotEngine | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self.archives = ArchiveEngine(folder)
        self.engine: SnapshotEngine = engine or self.archives
        self._engines: dict[str, SnapshotEngine] = {one.name: one for one in (self.archives, self.engine)}
        self.lock = RepositoryLock(folder)
        self._ledger = Ledger(folder)
        self._clock = clock

    # Life

    def prepare(self) -> None:
        """Make what is missing of the repository. Raises `RepositoryNewerError` for one that a newer agent wrote."""
        for name in _FOLDERS:
            make_folder(self.folder / name)
        for engine in self._engines.values():
            engine.prepare()
        if not self.require_known():
            document = {
                "format": FORMAT_VERSION,
                "id": secrets.token_hex(16),
                "createdAt": render_moment(self._clock()),
            }
            write_durably(self.folder / REPOSITORY_FILE, json.dumps(document).encode() + b"\n")

    def require_known(self) -> bool:
        """Return whether there is a repository. Raises `RepositoryNewerError` or `RepositoryUnusableError`."""
        try:
            text = (self.folder / REPOSITORY_FILE).read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RepositoryUnusableError(
                f"the snapshot repository {self.folder} cannot be read: {error.strerror}",
                hint="look at what stands there, at its owner and mode, or set snapshot_repository to another folder",
            ) from error
        try:
            version = int(json.loads(text)["format"])
        except (ValueError, TypeError, KeyError) as error:
            raise RepositoryUnusableError(
                f"{self.folder / REPOSITORY_FILE} is damaged",
                hint=f'write {{"format": {FORMAT_VERSION}}} into it if the rest is whole; snapshot verify --all tells',
            ) from error
        if version > FORMAT_VERSION:
            raise RepositoryNewerError(
                f"the snapshot repository {self.folder} has format {version}, and this agent knows {FORMAT_VERSION}",
                hint="update hostk8s-agent, or set snapshot_repository to another folder",
            )
        return True

    # Reading

    def list_ids(self) -> list[str]:
        """Return the ids of the manifests that are there, the oldest first."""
        try:
            names = [path.name for path in (self.folder / "manifests").iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(".json") for name in names if ID_PATTERN.fullmatch(name.removesuffix(".json")))

    def load(self, snapshot_id: str) -> SnapshotManifest:
        """Return one snapshot. Raises the error that says what is wrong with its manifest."""
        try:
            text = self._manifest_path(snapshot_id).read_bytes()
        except OSError as error:
            raise ManifestMissingError(
                f"the manifest of {snapshot_id} cannot be read: {error.strerror}",
                hint="bring the file back from a copy of the repository, or forget the snapshot",
            ) from error
        manifest = parse_manifest(text, snapshot_id)
        if manifest.id != snapshot_id:
            raise ManifestDuplicateError(
                f"the manifest under the name of {snapshot_id} is that of {manifest.id}",
                hint="remove or rename it: a snapshot has one manifest, under its own id",
            )
        self.require_past(manifest)
        return replace(manifest, marks=self.find_marks(snapshot_id) or parse_marks(b""))

    def require_past(self, manifest: SnapshotManifest) -> None:
        """Raise `ManifestFromFutureError` for a manifest that is dated after now."""
        if manifest.taken_at > self._clock() + CLOCK_TOLERANCE:
            raise ManifestFromFutureError(
                f"the snapshot {manifest.id} says that it was taken at {render_moment(manifest.taken_at)}, after now",
                hint="set this machine's clock right; if it is right, do not trust the snapshot",
            )

    def find_marks(self, snapshot_id: str) -> Marks | None:
        """Return the marks that lie here, also of a snapshot whose manifest is gone; None when there are none."""
        try:
            return parse_marks(self._marks_path(snapshot_id).read_bytes())
        except OSError:
            return None

    def load_all(self) -> tuple[tuple[SnapshotManifest, ...], tuple[Problem, ...]]:
        """Return every snapshot that can be trusted, the oldest first, and what is wrong with the others."""
        manifests: list[SnapshotManifest] = []
        problems: list[Problem] = []
        ids = self.list_ids()
        for snapshot_id in ids:
            try:
                manifests.append(self.load(snapshot_id))
            except SnapshotError as error:
                problems.append(error.problem)
        problems += [_build_missing(one, self._sent()).problem for one in sorted(self.known_ids() - set(ids))]
        return tuple(manifests), tuple(problems)

    def known_ids(self) -> set[str]:
        """Return the ids of all snapshots, those included whose manifest is gone or cannot be trusted."""
        # Where the ledger is gone as well, what was sent elsewhere tells: then nothing must be forgotten there.
        came = self._ledger.load() | (self._sent() - self._ledger.load_forgotten())
        return came | set(self.list_ids())

    def list_forgotten(self) -> set[str]:
        """Return the ids of the snapshots that were forgotten."""
        return self._ledger.load_forgotten() - set(self.list_ids())

    def find_engine(self, reference: ArchiveReference) -> SnapshotEngine:
        """Return what keeps an archive. Raises `EngineUnknownError` where there is no such engine."""
        engine = self._engines.get(reference.engine)
        if engine is None:
            raise EngineUnknownError(
                f"the archive of {reference.tree[:12]} is kept by the engine {reference.engine!r}, which is not set up",
                hint="set it up again as it was (docs/snapshots.md), or forget the snapshot",
            )
        return engine

    def listing_path(self, tree: str) -> Path:
        """Where the listing of a tree lies."""
        return self.folder / "listings" / f"{tree}.jsonl.zst"

    def scan_path(self, name: str) -> Path:
        """Where the scan by which a directory is recognised lies; `name` is a digest."""
        return self.folder / "scans" / f"{name}.json"

    def measure(self) -> int:
        """Return the bytes that the repository takes; 0 when there is none."""
        own = sum(measure_folder(self.folder / name) for name in _FOLDERS)
        return own + sum(engine.measure() for engine in self._engines.values())

    # Changing, under the lock

    def begin_listing(self) -> AbstractContextManager[IncomingFile]:
        """Open a new listing, to be kept under its name once that is known."""
        return incoming(self.folder / "listings")

    def add(self, manifest: SnapshotManifest) -> None:
        """Make a sealed manifest part of the repository; its archives and listings are there already."""
        write_durably(self._marks_path(manifest.id), render_marks(manifest.marks))
        write_durably(self._manifest_path(manifest.id), render_manifest(manifest))
        # After the manifest: what the ledger has is there, or was taken away by somebody else than us.
        self._ledger.append("+", manifest.id)

    def mark(self, snapshot_id: str, marks: Marks) -> None:
        """Replace a snapshot's marks."""
        write_durably(self._marks_path(snapshot_id), render_marks(marks))

    def remove(self, snapshot_id: str) -> None:
        """Take a snapshot out; its archives go with the next `sweep`."""
        try:
            self._ledger.append("-", snapshot_id)
        except RepositoryFullError:
            # Room for one line, on a disk whose room is to come from this.
            remove_durably(self._marks_path(snapshot_id))
            self._ledger.append("-", snapshot_id)
        remove_durably(self._manifest_path(snapshot_id))
        remove_durably(self._marks_path(snapshot_id))

    def sweep(self) -> int:
        """Remove what a crash left and what no manifest refers to; return the bytes that it freed.

        Nothing at all is removed while any manifest cannot be read: it may refer to anything.
        """
        for name in (".", *_FOLDERS, ARCHIVES_FOLDER, "restores"):
            for path in list_paths(self.folder / name):
                if path.name.startswith(INCOMING_PREFIX):
                    remove_durably(path)
        # A manifest without its line is of a crash between the two.
        for snapshot_id in sorted(set(self.list_ids()) - self._ledger.load()):
            self._ledger.append("+", snapshot_id)
        manifests, problems = self.load_all()
        if problems:
            return 0
        kept = {one.archive for manifest in manifests for one in manifest.directories}
        forgotten = self.list_forgotten()
        freed = sum(engine.sweep(kept, forgotten) for engine in self._engines.values())
        listings = {self.listing_path(one.tree) for one in kept}
        for path in list_paths(self.folder / "listings"):
            if path not in listings:
                freed += path.stat().st_size
                remove_durably(path)
        return freed

    def tidy(self) -> None:
        """Do what removing snapshots has left to do, if it is time."""
        for engine in self._engines.values():
            engine.tidy()

    def _sent(self) -> set[str]:
        return self.engine.manifests.list_sent() if self.engine.manifests is not None else set()

    def _manifest_path(self, snapshot_id: str) -> Path:
        return self.folder / "manifests" / f"{snapshot_id}.json"

    def _marks_path(self, snapshot_id: str) -> Path:
        return self.folder / "marks" / f"{snapshot_id}.json"


def _build_missing(snapshot_id: str, sent: set[str]) -> ManifestMissingError:
    way = "hostk8s-agent snapshot recover" if snapshot_id in sent else "bring the file back from a copy"
    return ManifestMissingError(
        f"the snapshot {snapshot_id} was taken, and its manifest is not there any more",
        hint=f"{way}, or accept the loss: hostk8s-agent snapshot forget",
    )

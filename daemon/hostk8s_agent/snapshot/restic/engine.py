"""The restic engine: an archive is one file, `/STACK.DIRECTORY.tar`, in one snapshot of a restic repository."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from hostk8s_agent.snapshot.errors import ResticRepositoryMissingError, SnapshotError
from hostk8s_agent.snapshot.model import RESTIC_ENGINE, ArchiveReference
from hostk8s_agent.snapshot.restic.client import LOCK_WAIT_SECONDS, ResticClient
from hostk8s_agent.snapshot.restic.environment import redact_address
from hostk8s_agent.snapshot.restic.manifests import ResticManifests, render_origin_tag
from hostk8s_agent.snapshot.restic.records import ResticRecords, StoredArchive
from hostk8s_agent.snapshot.restic.storing import iterate_file, name_file, uploading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.restic.environment import ResticEnvironment, ResticPlace
    from hostk8s_agent.snapshot.restic.storing import Committed, ResticUpload

log = structlog.get_logger()

# Event names.
FORGOTTEN = "restic.forgotten"
NOT_FORGOTTEN = "restic.not_forgotten"
PRUNED = "restic.pruned"

PRUNE_AFTER_SECONDS: Final = 7 * 86400.0
"""How long what was forgotten waits for its prune: that rewrites packs, and keeps every other restic out meanwhile."""


class ResticEngine:
    """Keeps archives in a restic repository; what is known of them lies in a folder of our own one."""

    def __init__(self, repository: Path, place: ResticPlace, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._records = ResticRecords(repository, place.repository)
        self._client = ResticClient(place, self._records, lock_wait_seconds)
        self._origin_tag = render_origin_tag(repository)
        self._address = redact_address(place.repository)
        self._manifests = ResticManifests(repository, self._client, self._records)

    @property
    def name(self) -> str:
        """Its name in manifests."""
        return RESTIC_ENGINE

    @property
    def address(self) -> str:
        """The restic repository's, without passwords."""
        return self._address

    @property
    def manifests(self) -> ResticManifests:
        """Where the copies of manifests are."""
        return self._manifests

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self._client.stop()

    def prepare(self) -> None:
        """Make the folder of what is known."""
        self._records.prepare()
        self._manifests.prepare()

    @contextmanager
    def begin(self, name: str) -> Iterator[_IncomingResticArchive]:
        """Start a `restic backup` of what will come. It commits when the archive is kept, and never otherwise."""
        path = name_file(name, "tar")
        with uploading(
            self._client, self._records, f"store {name}", path, [self._origin_tag], may_create=True
        ) as upload:
            yield _IncomingResticArchive(upload, self._records, path)

    def has(self, reference: ArchiveReference) -> bool:
        """Whether it was stored in the repository that is at this location: nothing is asked of restic."""
        known = self._records.load(reference.stored_as)
        return known is not None and reference.home == known.home == self._records.load_home()

    def read(self, reference: ArchiveReference) -> Iterator[bytes]:
        """Yield the stream that `restic dump` gives; restic compares what it reads with its own digests."""
        environment = self._client.build_environment()
        home = self._client.find_home(environment)
        if home != reference.home:
            raise ResticRepositoryMissingError(
                f"the archive of {reference.tree[:12]} lies in the restic repository {reference.home[:12]}, and "
                f"{home[:12]} is at the place that the settings name",
                hint="set snapshot_restic_repository to the other one, or forget the snapshot",
            )
        known = self._records.load(reference.stored_as)
        path = known.path if known else self._client.find_path(reference.stored_as, environment)
        yield from iterate_file(self._client, reference.stored_as, path)

    def sweep(self, kept: Collection[ArchiveReference], forgotten: Collection[str]) -> int:
        """Forget every other snapshot of ours there. What cannot be forgotten now is tried again the next time."""
        wanted = {one.stored_as for one in kept}
        home = self._records.load_home()
        unwanted = [one for one in self._records.load_all() if one.snapshot not in wanted and one.home == home]
        intents = self._records.list_intents()
        if not home or not (unwanted or intents):
            return 0
        try:
            # Before its archives: a manifest whose archives are gone would promise what is not there.
            self._manifests.forget(forgotten)
            self._forget([one.snapshot for one in unwanted], intents)
        except SnapshotError as error:
            # The snapshot is gone for us; that its bytes are still there harms nobody.
            log.warning(NOT_FORGOTTEN, snapshots=len(unwanted), code=error.code, reason=error.message)
            return 0
        return sum(one.byte_count for one in unwanted)

    def measure(self) -> int:
        """Return what we have added to the restic repository, as restic told then."""
        return sum(one.byte_count for one in self._records.load_all()) + self._manifests.measure()

    def tidy(self) -> None:
        """Let restic remove the content of what was forgotten, once that is a week ago."""
        age = self._records.find_prune_age()
        if age is None or age < PRUNE_AFTER_SECONDS:
            return
        environment = self._client.build_environment()
        self._client.find_home(environment)
        self._client.ask("prune", ["prune"], environment, timeout=None)
        self._records.clear_prune()
        log.info(PRUNED)

    def find_home(self, environment: ResticEnvironment | None = None, *, may_create: bool = False) -> str:
        """Return the id of the restic repository; with `may_create` one is made where none was ever found."""
        return self._client.find_home(environment, may_create=may_create)

    def _forget(self, snapshots: Iterable[str], intents: list[str]) -> None:
        environment = self._client.build_environment()
        self._client.find_home(environment)
        left = [str(one["id"]) for one in self._client.list_tagged(intents, environment)] if intents else []
        # One that is known was committed and written down before the crash.
        known = self._manifests.list_stored()
        gone = {*snapshots, *(one for one in left if self._records.load(one) is None and one not in known)}
        if gone:
            self._client.ask("forget snapshots", ["forget", *sorted(gone)], environment)
            self._records.mark_prune()
            log.info(FORGOTTEN, snapshots=len(gone))
        for one in gone:
            self._records.remove(one)
        for token in intents:
            self._records.end_intent(token)


class _IncomingResticArchive:
    """What a `restic backup` is fed. It gets the end of its input when the archive is kept."""

    def __init__(self, upload: ResticUpload, records: ResticRecords, path: str) -> None:
        self._upload = upload
        self._records = records
        self._path = path

    def put(self, chunk: bytes) -> None:
        """Hand a chunk to restic."""
        self._upload.put(chunk)

    def finish(self) -> None:
        """Nothing: whether restic has worked off everything shows when it commits."""

    def keep(self, tree: str) -> ArchiveReference:
        """Let restic commit."""
        stored = self._upload.commit(self._record)
        return ArchiveReference(tree, stored.snapshot, stored.byte_count, RESTIC_ENGINE, stored.home)

    def _record(self, stored: Committed) -> None:
        self._records.add(StoredArchive(stored.snapshot, stored.home, self._path, stored.byte_count))

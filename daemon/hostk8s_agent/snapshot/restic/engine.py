"""The restic engine: an archive is one file, `/STACK/DIRECTORY.tar`, in one snapshot of a restic repository."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from hostk8s_agent.snapshot.errors import (
    RepositoryLockedError,
    ResticFailedError,
    ResticRepositoryMissingError,
    SnapshotError,
)
from hostk8s_agent.snapshot.model import RESTIC_ENGINE, ArchiveReference
from hostk8s_agent.snapshot.restic.environment import build_environment
from hostk8s_agent.snapshot.restic.locks import list_locks, remove_dead_locks
from hostk8s_agent.snapshot.restic.process import ask_restic, started
from hostk8s_agent.snapshot.restic.records import ResticRecords, StoredArchive

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from hostk8s_agent.snapshot.restic.environment import ResticEnvironment, ResticPlace
    from hostk8s_agent.snapshot.restic.process import ResticProcess

log = structlog.get_logger()

# Event names.
INITIALISED = "restic.initialised"
FORGOTTEN = "restic.forgotten"
NOT_FORGOTTEN = "restic.not_forgotten"
PRUNED = "restic.pruned"
UNLOCKED = "restic.unlocked"

TAG: Final = "hostk8s-agent"
PRUNE_AFTER_SECONDS: Final = 7 * 86400.0
"""How long what was forgotten waits for its prune: that rewrites packs, and keeps every other restic out meanwhile."""

LOCK_WAIT_SECONDS: Final = 60.0
_LOCK_POLL_SECONDS = 2.0
_KNOWN_SECONDS = 60.0
_COMMIT_SECONDS = 3600.0
_FULL_ID = re.compile(r"[0-9a-f]{64}")


class ResticEngine:
    """Keeps archives in a restic repository; what is known of them lies in a folder of our own one."""

    def __init__(self, repository: Path, place: ResticPlace, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._place = place
        self._records = ResticRecords(repository, place.repository)
        self._lock_wait_seconds = lock_wait_seconds
        self._seen_at: float | None = None
        self._stopping = threading.Event()

    @property
    def name(self) -> str:
        """Its name in manifests."""
        return RESTIC_ENGINE

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self._stopping.set()

    def prepare(self) -> None:
        """Make the folder of what is known."""
        self._records.prepare()

    @contextmanager
    def begin(self, name: str) -> Iterator[_IncomingResticArchive]:
        """Start a `restic backup` of what will come. It commits when the archive is kept, and never otherwise."""
        environment = self._build_environment()
        home = self.find_home(environment, may_create=True)
        path, token = f"/{name}.tar", self._records.begin_intent()
        arguments = ["backup", "--json", "--stdin", "--stdin-filename", path, "--tag", TAG, "--tag", token]
        may_be_left = False

        def keep(answer: Callable[[], bytes]) -> StoredArchive:
            nonlocal may_be_left
            may_be_left = True
            stored = self._keep(answer(), home, path, token)
            may_be_left = False
            return stored

        try:
            with started(f"store {name}", arguments, environment, is_fed=True) as process:
                yield _IncomingResticArchive(process, keep)
        finally:
            # The next sweep looks for what was committed and not written down.
            if not may_be_left:
                self._records.end_intent(token)

    def has(self, reference: ArchiveReference) -> bool:
        """Whether it was stored in the repository that is at this location: nothing is asked of restic."""
        known = self._records.load(reference.stored_as)
        return known is not None and reference.home == known.home == self._records.load_home()

    def read(self, reference: ArchiveReference) -> Iterator[bytes]:
        """Yield the stream that `restic dump` gives; restic compares what it reads with its own digests."""
        environment = self._build_environment()
        home = self.find_home(environment)
        if home != reference.home:
            raise ResticRepositoryMissingError(
                f"the archive of {reference.tree[:12]} lies in the restic repository {reference.home[:12]}, and "
                f"{home[:12]} is at the place that the settings name",
                hint="set snapshot_restic_repository to the other one, or forget the snapshot",
            )
        known = self._records.load(reference.stored_as)
        path = known.path if known else self._find_path(reference.stored_as, environment)
        arguments = ["dump", reference.stored_as, path]
        with started(f"read {path}", arguments, environment) as process:
            while chunk := process.read():
                yield chunk
            process.require_success(is_reading=True)

    def sweep(self, kept: Collection[ArchiveReference]) -> int:
        """Forget every other snapshot of ours there. What cannot be forgotten now is tried again the next time."""
        wanted = {one.stored_as for one in kept}
        home = self._records.load_home()
        unwanted = [one for one in self._records.load_all() if one.snapshot not in wanted and one.home == home]
        intents = self._records.list_intents()
        if not home or not (unwanted or intents):
            return 0
        try:
            self._forget([one.snapshot for one in unwanted], intents)
        except SnapshotError as error:
            # The snapshot is gone for us; that its bytes are still there harms nobody.
            log.warning(NOT_FORGOTTEN, snapshots=len(unwanted), code=error.code, reason=error.message)
            return 0
        return sum(one.byte_count for one in unwanted)

    def measure(self) -> int:
        """Return what our archives have added to the restic repository, as restic told then."""
        return sum(one.byte_count for one in self._records.load_all())

    def tidy(self) -> None:
        """Let restic remove the content of what was forgotten, once that is a week ago."""
        age = self._records.find_prune_age()
        if age is None or age < PRUNE_AFTER_SECONDS:
            return
        environment = self._build_environment()
        self.find_home(environment)
        self._ask("prune", ["prune"], environment, timeout=None)
        self._records.clear_prune()
        log.info(PRUNED)

    def find_home(self, environment: ResticEnvironment | None = None, *, may_create: bool = False) -> str:
        """Return the id of the restic repository; with `may_create` one is made where none was ever found."""
        environment = environment or self._build_environment()
        known = self._records.load_home()
        if known and self._seen_at is not None and time.monotonic() - self._seen_at < _KNOWN_SECONDS:
            return known
        try:
            found = self._read_home(environment)
        except ResticRepositoryMissingError:
            # One that was there is missed, not made anew: its disk may not be mounted.
            if known or not may_create:
                raise
            ask_restic("make the repository", ["init"], environment)
            found = self._read_home(environment)
            log.info(INITIALISED, repository=found[:12])
        self._seen_at = time.monotonic()
        if may_create:
            self._records.keep_home(found)
        return found

    def _read_home(self, environment: ResticEnvironment) -> str:
        document = _parse_json(self._ask("open the repository", ["cat", "config"], environment))
        return str(document["id"])

    def _keep(self, answer: bytes, home: str, path: str, token: str) -> StoredArchive:
        summary = _find_summary(answer)
        snapshot = str(summary.get("snapshot_id", ""))
        if not _FULL_ID.fullmatch(snapshot):
            # Before 0.17 restic tells but the first digits.
            found = self._list_tagged([token], self._build_environment())
            if len(found) != 1:
                raise ResticFailedError(
                    f"restic has {len(found)} snapshots where it said that it made one",
                    hint="look with restic snapshots; nothing was added to the repository",
                )
            snapshot = found[0]
        added = summary.get("data_added_packed", summary.get("data_added", 0))
        archive = StoredArchive(snapshot, home, path, int(added))
        self._records.add(archive)
        return archive

    def _forget(self, snapshots: Iterable[str], intents: list[str]) -> None:
        environment = self._build_environment()
        self.find_home(environment)
        left = self._list_tagged(intents, environment) if intents else []
        # One that is known was committed and written down before the crash.
        gone = {*snapshots, *(one for one in left if self._records.load(one) is None)}
        if gone:
            self._ask("forget snapshots", ["forget", *sorted(gone)], environment)
            self._records.mark_prune()
            log.info(FORGOTTEN, snapshots=len(gone))
        for one in gone:
            self._records.remove(one)
        for token in intents:
            self._records.end_intent(token)

    def _list_tagged(self, tags: Iterable[str], environment: ResticEnvironment) -> list[str]:
        chosen = [argument for tag in tags for argument in ("--tag", tag)]
        found = _parse_json(self._ask("list snapshots", ["snapshots", "--json", *chosen], environment))
        return [str(one["id"]) for one in found or ()]

    def _find_path(self, snapshot: str, environment: ResticEnvironment) -> str:
        text = self._ask("find a snapshot", ["cat", "snapshot", snapshot], environment, is_reading=True)
        return str(_parse_json(text)["paths"][0])

    def _ask(
        self,
        attempt: str,
        arguments: list[str],
        environment: ResticEnvironment,
        *,
        timeout: float | None = _COMMIT_SECONDS,
        is_reading: bool = False,
    ) -> bytes:
        return self._unlocked(
            environment,
            lambda: ask_restic(attempt, arguments, environment, timeout=timeout, is_reading=is_reading),
        )

    def _unlocked(self, environment: ResticEnvironment, ask: Callable[[], bytes]) -> bytes:
        """Ask; wait for the living who hold a lock, for a while, and remove the locks of the dead."""
        deadline = time.monotonic() + self._lock_wait_seconds
        while True:
            try:
                return ask()
            except RepositoryLockedError as error:
                locks = list_locks(environment)
                if remove_dead_locks(environment, locks):
                    log.warning(UNLOCKED, holders=[str(one) for one in locks if one.is_dead])
                elif time.monotonic() > deadline:
                    holders = "; ".join(str(one) for one in locks) or error.message
                    raise RepositoryLockedError(
                        f"the restic repository is in use: {holders}",
                        hint="try again when that is done; a lock is removed by itself only when its holder is dead. "
                        "restic unlock removes one that a dead machine has left",
                    ) from error
                else:
                    self._stopping.wait(_LOCK_POLL_SECONDS)

    def _build_environment(self) -> ResticEnvironment:
        return build_environment(self._place, self._records.cache, self._stopping)


class _IncomingResticArchive:
    """What a `restic backup` is fed. It gets the end of its input when the archive is kept."""

    def __init__(self, process: ResticProcess, keep: Callable[[Callable[[], bytes]], StoredArchive]) -> None:
        self._process = process
        self._keep = keep

    def put(self, chunk: bytes) -> None:
        """Hand a chunk to restic."""
        self._process.write(chunk)

    def finish(self) -> None:
        """Nothing: whether restic has worked off everything shows when it commits."""

    def keep(self, tree: str) -> ArchiveReference:
        """Let restic commit."""
        stored = self._keep(lambda: self._process.finish_input(timeout=_COMMIT_SECONDS))
        return ArchiveReference(tree, stored.snapshot, stored.byte_count, RESTIC_ENGINE, stored.home)


def _find_summary(answer: bytes) -> dict[str, Any]:
    summary = _parse_json(answer)
    if not isinstance(summary, dict) or summary.get("message_type") != "summary":
        raise ResticFailedError(
            "restic has ended without saying what it stored", hint="nothing was added to the repository; try again"
        )
    return summary


def _parse_json(text: bytes) -> Any:  # noqa: ANN401 - restic's
    try:
        return json.loads(text)
    except ValueError as error:
        raise ResticFailedError(
            "restic's answer cannot be understood", hint="is this a restic newer than the agent? report it"
        ) from error

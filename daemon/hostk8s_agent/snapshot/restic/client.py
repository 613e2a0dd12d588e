"""The restic repository as it is asked: which one it is, what is in it, and who holds its locks."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from hostk8s_agent.snapshot.errors import RepositoryLockedError, ResticFailedError, ResticRepositoryMissingError
from hostk8s_agent.snapshot.restic.environment import build_environment
from hostk8s_agent.snapshot.restic.locks import list_locks, remove_dead_locks
from hostk8s_agent.snapshot.restic.process import ask_restic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hostk8s_agent.snapshot.restic.environment import ResticEnvironment, ResticPlace
    from hostk8s_agent.snapshot.restic.records import ResticRecords

log = structlog.get_logger()

# Event names.
INITIALISED = "restic.initialised"
UNLOCKED = "restic.unlocked"

LOCK_WAIT_SECONDS: Final = 60.0
COMMIT_SECONDS: Final = 3600.0
_LOCK_POLL_SECONDS = 2.0
_KNOWN_SECONDS = 60.0


class ResticClient:
    """Asks restic. `is_awake`: it was started since somebody last set this to False, so that a start more costs little.

    Used by one thread at a time, but for `stop`.
    """

    def __init__(self, place: ResticPlace, records: ResticRecords, lock_wait_seconds: float) -> None:
        self.is_awake = False
        self._place = place
        self._records = records
        self._lock_wait_seconds = lock_wait_seconds
        self._seen_at: float | None = None
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self._stopping.set()

    def build_environment(self) -> ResticEnvironment:
        """Return what a restic is started with. Raises `ResticPasswordUnusableError`."""
        environment = build_environment(self._place, self._records.cache, self._stopping)
        self.is_awake = True
        return environment

    def find_home(self, environment: ResticEnvironment | None = None, *, may_create: bool = False) -> str:
        """Return the id of the restic repository; with `may_create` one is made where none was ever found."""
        environment = environment or self.build_environment()
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

    def list_tagged(self, tags: Iterable[str], environment: ResticEnvironment) -> list[dict[str, Any]]:
        """Return what restic tells of each snapshot that has one of the tags: `id`, `time`, `tags`, `paths`."""
        chosen = [argument for tag in tags for argument in ("--tag", tag)]
        return parse_json(self.ask("list snapshots", ["snapshots", "--json", *chosen], environment)) or []

    def find_path(self, snapshot: str, environment: ResticEnvironment) -> str:
        """Return the path of the one file in a snapshot of ours."""
        text = self.ask("find a snapshot", ["cat", "snapshot", snapshot], environment, is_reading=True)
        return str(parse_json(text)["paths"][0])

    def ask(
        self,
        attempt: str,
        arguments: list[str],
        environment: ResticEnvironment,
        *,
        timeout: float | None = COMMIT_SECONDS,
        is_reading: bool = False,
    ) -> bytes:
        """Run a restic to its end and return what it wrote, once nobody's lock is in its way."""
        return self._unlocked(
            environment,
            lambda: ask_restic(attempt, arguments, environment, timeout=timeout, is_reading=is_reading),
        )

    def _read_home(self, environment: ResticEnvironment) -> str:
        # Without a lock, which takes restic 0.2 s: this file never changes.
        document = parse_json(self.ask("open the repository", ["cat", "config", "--no-lock"], environment))
        return str(document["id"])

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


def parse_json(text: bytes) -> Any:  # noqa: ANN401 - what restic wrote
    """Return what restic told as JSON. Raises `ResticFailedError` when it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ResticFailedError(
            "restic's answer cannot be understood", hint="is this a restic newer than the agent? report it"
        ) from error

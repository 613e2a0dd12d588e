"""One file into the restic repository as a snapshot of its own, and out of it again: a stream, both ways."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.snapshot.errors import ResticFailedError
from hostk8s_agent.snapshot.restic.client import COMMIT_SECONDS, parse_json
from hostk8s_agent.snapshot.restic.process import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hostk8s_agent.snapshot.restic.client import ResticClient
    from hostk8s_agent.snapshot.restic.process import ResticProcess
    from hostk8s_agent.snapshot.restic.records import ResticRecords

TAG: Final = "hostk8s-agent"
"""The tag of everything that is ours in a restic repository."""

_FULL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Committed:
    """What restic has made of a stream: the snapshot's id, the repository's id, and the bytes that it added there."""

    snapshot: str
    home: str
    byte_count: int


class ResticUpload:
    """A `restic backup` that is fed. It gets the end of its input when it is to commit, and never otherwise."""

    def __init__(self, process: ResticProcess, finish: Callable[[Callable[[Committed], None]], Committed]) -> None:
        self._process = process
        self._finish = finish

    def put(self, chunk: bytes) -> None:
        """Hand a chunk to restic."""
        self._process.write(chunk)

    def commit(self, record: Callable[[Committed], None]) -> Committed:
        """Let restic commit, and have written down what it made."""
        return self._finish(record)


@contextmanager
def uploading(
    client: ResticClient, records: ResticRecords, attempt: str, path: str, tags: Sequence[str], *, may_create: bool
) -> Iterator[ResticUpload]:
    """Start a `restic backup` of one file, `path`. With `may_create` the repository is made where none ever was.

    An intent is on disk meanwhile: what is committed and was not recorded is found by it.
    """
    environment = client.build_environment()
    home = client.find_home(environment, may_create=may_create)
    token = records.begin_intent()
    chosen = [argument for tag in (TAG, *tags, token) for argument in ("--tag", tag)]
    may_be_left = False
    try:
        with started(
            attempt, ["backup", "--json", "--stdin", "--stdin-filename", path, *chosen], environment, is_fed=True
        ) as process:

            def finish(record: Callable[[Committed], None]) -> Committed:
                nonlocal may_be_left
                may_be_left = True
                summary = _find_summary(process.finish_input(timeout=COMMIT_SECONDS))
                added = summary.get("data_added_packed", summary.get("data_added", 0))
                committed = Committed(_find_id(client, summary, token), home, int(added))
                record(committed)
                may_be_left = False
                return committed

            yield ResticUpload(process, finish)
    finally:
        # The next sweep looks for what was committed and not written down.
        if not may_be_left:
            records.end_intent(token)


def name_file(*parts: str) -> str:
    """Return the path of a file that is stored: `/STACK.DIRECTORY.tar`, a dot for each slash.

    Not below a folder: restic 0.18.0 cannot store a stream there (restic/restic#5324).
    """
    return "/" + ".".join(parts).replace("/", ".")


def iterate_file(client: ResticClient, snapshot: str, path: str) -> Iterator[bytes]:
    """Yield the content of the file in a snapshot; restic compares what it reads with its own digests."""
    with started(f"read {path}", ["dump", snapshot, path], client.build_environment()) as process:
        while chunk := process.read():
            yield chunk
        process.require_success(is_reading=True)


def _find_id(client: ResticClient, summary: dict[str, Any], token: str) -> str:
    snapshot = str(summary.get("snapshot_id", ""))
    if _FULL_ID.fullmatch(snapshot):
        return snapshot
    # Before 0.17 restic tells but the first digits.
    found = client.list_tagged([token], client.build_environment())
    if len(found) != 1:
        raise ResticFailedError(
            f"restic has {len(found)} snapshots where it said that it made one",
            hint="look with restic snapshots; nothing was added to the repository",
        )
    return str(found[0]["id"])


def _find_summary(answer: bytes) -> dict[str, Any]:
    summary = parse_json(answer)
    if not isinstance(summary, dict) or summary.get("message_type") != "summary":
        raise ResticFailedError(
            "restic has ended without saying what it stored", hint="nothing was added to the repository; try again"
        )
    return summary

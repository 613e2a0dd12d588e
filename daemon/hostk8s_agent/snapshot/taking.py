"""All directories of a stack at one moment, as a manifest that is sealed and not in the repository yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent import __version__
from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.errors import VolumeError
from hostk8s_agent.snapshot.capturing import DirectoryCapture
from hostk8s_agent.snapshot.documents import seal_manifest
from hostk8s_agent.snapshot.errors import DirectoryMissingError
from hostk8s_agent.snapshot.model import Marks, SnapshotManifest, SnapshotState
from hostk8s_agent.snapshot.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.snapshot.model import ArchiveReference, DirectoryManifest
    from hostk8s_agent.snapshot.ports import Rest
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.snapshot.requests import CreateRequest, Surroundings
    from hostk8s_agent.volume.access import VolumeAccess


def take_snapshot(
    surroundings: Surroundings,
    repository: Repository,
    request: CreateRequest,
    former: Sequence[SnapshotManifest],
    now: datetime,
    meter: Meter | None = None,
) -> SnapshotManifest:
    """Capture the stack's directories; `former` are the repository's snapshots, `now` is when this one was begun.

    Raises `DirectoryMissingError`, `CaptureFailedError`, and what the contract, the volume and the repository raise.
    """
    meter = meter or Meter()
    subject = _find_subject(surroundings, request, former)
    access = surroundings.volume()
    volume = surroundings.identify_volume()
    capture = DirectoryCapture(
        access,
        repository,
        _find_known(former, repository.engine.name),
        volume=f"{volume.engine}/{volume.name}",
        settled_seconds=surroundings.settled_seconds,
        meter=meter,
    )
    expected = _expect_bytes(access, request.stack, subject.directories, former) if meter.is_heard else None
    meter.begin("reading", expected)
    directories: list[DirectoryManifest] = []
    with _at_rest(surroundings, request, subject) as rest:
        for directory in subject.directories:
            try:
                directories.append(capture.capture(request.stack, directory))
            except DirectoryMissingError:
                if not request.skips_missing:
                    raise
        reached = request.reached() if request.reached else rest.reached()
    if not directories:
        raise DirectoryMissingError(
            f"no directory of {request.stack} exists", hint="the agent makes them: hostk8s-agent reconcile"
        )
    return seal_manifest(
        SnapshotManifest(
            id="",
            stack=request.stack,
            # As it is written: to the millisecond.
            taken_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            directories=tuple(directories),
            contract_text=subject.contract_text,
            contract_digest=subject.contract_digest,
            asked=subject.asked,
            consistency=reached.consistency,
            rest_note=reached.note,
            name=request.name,
            tags=request.tags,
            engine=repository.engine.name,
            access=access.access,
            docker_engine=volume.engine,
            agent_version=__version__,
            marks=Marks(is_pinned=request.is_pinned),
        )
    )


def _expect_bytes(
    access: VolumeAccess, stack: str, directories: Sequence[Directory], former: Sequence[SnapshotManifest]
) -> int | None:
    """Return about how many bytes there are to read: as of the newest snapshot, else measured; None if neither is."""
    known = {
        directory.path: directory.byte_count
        for one in sorted(former, key=lambda one: one.taken_at)
        if one.stack == stack
        for directory in one.directories
    }
    new = [one.path for one in directories if one.path not in known]
    if new and access.access == "helper-container":
        # The engine would send every byte twice.
        return None
    sizes = access.measure_trees(new)
    return sum(known[one.path] for one in directories if one.path in known) + sum(
        one.size_bytes for one in sizes if not isinstance(one, VolumeError)
    )


def find_equal(snapshot: SnapshotManifest, former: Sequence[SnapshotManifest]) -> SnapshotManifest | None:
    """Return the newest of the stack's snapshots that was read back whole and has all of this one's content."""
    for one in reversed(former):
        held = {(part.path, part.archive.tree) for part in one.directories}
        is_whole = one.stack == snapshot.stack and one.state in (SnapshotState.GOOD, SnapshotState.SUSPECT)
        if is_whole and all((part.path, part.archive.tree) in held for part in snapshot.directories):
            return one
    return None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is taken, and the contract that it is kept with, empty where none is known."""

    directories: tuple[Directory, ...]
    contract_text: str
    contract_digest: str
    asked: Quiesce


def _at_rest(surroundings: Surroundings, request: CreateRequest, subject: _Subject) -> AbstractContextManager[Rest]:
    asked = Quiesce.NONE if request.reached else subject.asked
    return surroundings.quiescer.at_rest(request.stack, subject.directories, asked)


def _find_subject(surroundings: Surroundings, request: CreateRequest, former: Sequence[SnapshotManifest]) -> _Subject:
    default = surroundings.default_quiesce
    if request.orphan is not None:
        holding = [
            one
            for one in former
            if one.stack == request.stack and any(part.path == request.orphan.path for part in one.directories)
        ]
        text, digest = (holding[-1].contract_text, holding[-1].contract_digest) if holding else ("", "")
        return _Subject((request.orphan,), text, digest, default)
    contract, loaded = surroundings.load_contract(request.stack)
    policy = contract.snapshots
    asked = (policy.quiesce if policy else None) or default
    return _Subject(contract.directories, loaded.decode("utf-8", "replace"), contract.digest, asked)


def _find_known(former: Sequence[SnapshotManifest], engine: str) -> dict[str, ArchiveReference]:
    """Return the archives of an engine that can be referred to again.

    None of a damaged snapshot, whose content is stored anew, and none of another engine: one that was set anew is to
    have everything.
    """
    return {
        directory.archive.tree: directory.archive
        for snapshot in former
        if snapshot.state is not SnapshotState.DAMAGED
        for directory in snapshot.directories
        if directory.archive.engine == engine
    }

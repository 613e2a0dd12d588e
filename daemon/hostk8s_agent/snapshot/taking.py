"""All directories of a stack at one moment, as a manifest that is sealed and not in the repository yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent import __version__
from hostk8s_agent.errors import VolumeError
from hostk8s_agent.snapshot.capturing import DirectoryCapture
from hostk8s_agent.snapshot.documents import seal_manifest
from hostk8s_agent.snapshot.errors import DirectoryMissingError
from hostk8s_agent.snapshot.model import Marks, SnapshotManifest, SnapshotState
from hostk8s_agent.snapshot.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.snapshot.model import ArchiveReference, DirectoryManifest
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
    contract, text = surroundings.load_contract(request.stack)
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
    expected = _expect_bytes(access, request.stack, contract.directories, former) if meter.is_heard else None
    meter.begin("reading", expected)
    policy = contract.snapshots
    asked = (policy.quiesce if policy else None) or surroundings.default_quiesce
    directories: list[DirectoryManifest] = []
    with surroundings.quiescer.at_rest(request.stack, contract.directories, asked) as rest:
        for directory in contract.directories:
            try:
                directories.append(capture.capture(request.stack, directory))
            except DirectoryMissingError:
                if not request.skips_missing:
                    raise
        reached = rest.reached()
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
            contract_text=text.decode("utf-8", "replace"),
            contract_digest=contract.digest,
            asked=asked,
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

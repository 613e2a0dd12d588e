"""One directory of a contract into the repository, or the word that it is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.snapshot.errors import CaptureFailedError, DirectoryMissingError
from hostk8s_agent.snapshot.model import DirectoryManifest
from hostk8s_agent.snapshot.packing import pack_tree
from hostk8s_agent.snapshot.reading import open_tree
from hostk8s_agent.snapshot.scanning import keep_recognised, load_recognised, name_scan, scan_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.plan.observed import ObservedDirectory
    from hostk8s_agent.snapshot.model import ArchiveReference
    from hostk8s_agent.snapshot.packing import PackedTree
    from hostk8s_agent.snapshot.progress import Meter
    from hostk8s_agent.snapshot.reading import TreeStream
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.volume.access import VolumeAccess


class DirectoryCapture:
    """Captures the directories of one snapshot. `known` has the archives that its engine holds, by tree.

    An archive of a damaged snapshot does not belong in `known`: its content is then stored anew. `volume` names the
    volume, so that a directory of another one is never recognised; see `scanning` for `settled_seconds`.
    """

    def __init__(
        self,
        access: VolumeAccess,
        repository: Repository,
        known: Mapping[str, ArchiveReference],
        *,
        volume: str,
        settled_seconds: float,
        meter: Meter,
    ) -> None:
        self._access = access
        self._repository = repository
        self._known = known
        self._volume = volume
        self._settled_seconds = settled_seconds
        self._meter = meter

    def capture(self, stack: str, directory: Directory) -> DirectoryManifest:
        """Capture one directory. Raises `DirectoryMissingError`, `CaptureFailedError` and what the way in raises."""
        observed = self._access.observe_directories([directory.path])[0]
        _require_directory(observed)
        kept_at = self._repository.scan_path(name_scan(stack, directory.path, self._volume))
        scan = scan_directory(self._access, directory.path, self._settled_seconds)
        kept = load_recognised(kept_at)
        if kept and scan and kept.scan == scan.digest and self._has(kept.archive):
            self._meter.advance(kept.byte_count)
            return DirectoryManifest(
                directory.name,
                directory.path,
                str(directory.owner),
                directory.permissions,
                kept.observed_owner,
                kept.observed_mode,
                kept.archive,
                kept.entries,
                kept.files,
                kept.byte_count,
                kept.lost,
            )
        manifest = self._read(stack, directory)
        keep_recognised(kept_at, scan, manifest)
        return manifest

    def _read(self, stack: str, directory: Directory) -> DirectoryManifest:
        name = f"{stack}/{directory.name}"
        with (
            open_tree(self._access, directory.path) as stream,
            pack_tree(self._meter.count(stream.chunks), self._repository, name) as packed,
        ):
            archive = self._store(packed)
            return _build_manifest(directory, packed, archive, stream)

    def _store(self, packed: PackedTree) -> ArchiveReference:
        known = self._known.get(packed.tree)
        if known is not None and self._has(known):
            return known
        archive = packed.archive.keep(packed.tree)
        packed.listing.keep_as(self._repository.listing_path(archive.tree))
        return archive

    def _has(self, archive: ArchiveReference) -> bool:
        """Whether the repository has an archive whole as far as a look tells, of a snapshot that is not damaged."""
        return (
            self._known.get(archive.tree) == archive
            and self._repository.engine.has(archive)
            and self._repository.listing_path(archive.tree).exists()
        )


def _build_manifest(
    directory: Directory, packed: PackedTree, archive: ArchiveReference, stream: TreeStream
) -> DirectoryManifest:
    lost = stream.lost
    if packed.devices:
        lost = (*lost, f"{packed.devices} device nodes: they are in the archive, and no restore makes them")
    return DirectoryManifest(
        directory.name,
        directory.path,
        str(directory.owner),
        directory.permissions,
        f"{packed.root.uid}:{packed.root.gid}",
        packed.root.mode,
        archive,
        packed.entries,
        packed.files,
        packed.byte_count,
        lost,
        tuple(stream.changed),
    )


def _require_directory(observed: ObservedDirectory) -> None:
    if observed.kind == "directory":
        return
    if observed.kind == "absent":
        raise DirectoryMissingError(
            f"{observed.path} does not exist", hint="the agent makes it from the contract: hostk8s-agent reconcile"
        )
    raise CaptureFailedError(
        f"{observed.path} is {'unreadable' if observed.kind == 'unreadable' else 'no directory'}"
        f"{f': {observed.detail}' if observed.detail else ''}",
        hint="look at what stands there; nothing was added to the repository",
    )

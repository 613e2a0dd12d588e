"""Directories in the volume that no contract asks for any more: shown, purged on a person's word, brought back.

The agent by itself never moves or deletes one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from hostk8s_agent.contract.paths import RESERVED_PREFIX, is_inside
from hostk8s_agent.errors import AgentError, ClusterError, VolumeError
from hostk8s_agent.reconcile.refusals import NotAnOrphanError, PathInUseError, PathWantedError, PurgeUnsecuredError
from hostk8s_agent.status.board import render_time
from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey
from hostk8s_agent.status.orphans import Orphan, PathHolder, Purged, Secured, TrashedDirectory, secure_nothing
from hostk8s_agent.volume.access import TreeSize
from hostk8s_agent.volume.mapping import parse_volume_path, render_volume_path
from hostk8s_agent.volume.trash import Trash, TrashItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hostk8s_agent.plan.observed import ObservedObject, ObservedPod
    from hostk8s_agent.reconcile.contracts import ContractBook
    from hostk8s_agent.reconcile.inventory import Inventory
    from hostk8s_agent.status.orphans import SecureDirectory
    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.holders import HolderLedger
    from hostk8s_agent.workspace import Workspace

log = structlog.get_logger()

PURGED = "orphan.purged"
BROUGHT_BACK = "orphan.brought_back"
TRASH_EMPTIED = "trash.emptied"
TAKEN_OVER = "volume.taken_over"
RECOVERY_FAILED = "trash.recovery_failed"


class VolumeSource(Protocol):
    """The volume and the cluster, as far as the care for the volume needs them."""

    def volume(self) -> VolumeAccess:
        """Return the way into the volume. Raises the `VolumeError` that says why there is none."""

    def volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that lead to a path, into it or around it. Raises a `ClusterError`."""

    def pods_at(self, path: str) -> tuple[ObservedPod, ...]:
        """Return the pods that mount a path of the volume past any claim. Raises a `ClusterError`."""

    def accept_volume_loss(self) -> bool:
        """Begin anew in place of a lost volume; return whether there was a loss."""

    @property
    def ledger(self) -> HolderLedger:
        """Who holds which path of the volume."""


@dataclass(frozen=True, slots=True)
class CareSources:
    """What is known elsewhere: what was applied, what is asked for, the volume, and who leads to a path of it.

    `secure` takes a snapshot of a directory before it is purged.
    """

    inventory: Inventory
    book: ContractBook
    backends: VolumeSource
    secure: SecureDirectory = secure_nothing


class VolumeCare:
    """Orphaned directories and the trash of one workspace. Safe from several threads; one thing is done at a time."""

    def __init__(
        self,
        workspace: Workspace,
        sources: CareSources,
        on_event: Callable[[str, str, str], None],
        on_taken_over: Callable[[Iterable[str]], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._sources = sources
        self._on_event = on_event
        self._on_taken_over = on_taken_over
        self._clock = clock
        self._lock = threading.Lock()

    def orphans(self) -> tuple[Orphan, ...]:
        """Return the directories that a contract once had and none asks for, with what they hold, by path."""
        candidates = self._find_candidates()
        access = self._sources.backends.volume()
        seen = access.observe_directories(list(candidates))
        present = [one.path for one in seen if one.kind == "directory"]
        sizes = access.measure_trees(present)
        return tuple(self._describe(candidates[path], size) for path, size in zip(present, sizes, strict=True))

    def trash(self) -> tuple[TrashedDirectory, ...]:
        """Return what is in the trash, the oldest first."""
        with self._lock:
            return tuple(map(_describe_item, self._open_trash().items()))

    def purge(self, path: str, *, without_snapshot: bool = False) -> Purged:
        """Move an orphaned directory into the trash, after a snapshot of it.

        Raises the `AgentError` that says why it is left; `PurgeUnsecuredError` where no snapshot could be taken.
        """
        clean = _require_path(path)
        with self._lock:
            stack = self._require_purgeable(clean).key.stack
        # Not under the lock: it may take as long as the directory is large, and is looked at anew afterwards.
        secured = Secured(reason="none was asked for") if without_snapshot else self._secure(stack, clean)
        with self._lock:
            entry = self._require_purgeable(clean)
            access = self._sources.backends.volume()
            (size,) = access.measure_trees([clean])
            known = size if isinstance(size, TreeSize) else None
            item = self._open_trash(access).put(clean, entry.key.stack, known, self._clock())
            self._sources.inventory.forget([entry.key])
        log.info(PURGED, path=clean, item=item.id, snapshot=secured.snapshot)
        words = f"the snapshot {secured.snapshot} has it too" if secured.snapshot else f"no snapshot: {secured.reason}"
        self._on_event(PURGED, f"{clean} was moved into the trash; {words}", item.stack)
        return Purged(_describe_item(item), secured)

    def undo(self, path: str) -> TrashedDirectory:
        """Bring back what was purged from a path (or by its ID). Raises the `AgentError` that says why not."""
        with self._lock:
            item = self._open_trash().undo(path)
            now = self._clock()
            key = InventoryKey(item.stack, "Directory", item.path)
            self._sources.inventory.put_back(InventoryEntry(key, recorded_at=now, unwanted_since=now))
        log.info(BROUGHT_BACK, path=item.path, item=item.id)
        self._on_event(BROUGHT_BACK, f"{item.path} was brought back out of the trash", item.stack)
        return _describe_item(item)

    def empty_trash(self) -> tuple[TrashedDirectory, ...]:
        """Delete what is in the trash for good, and return it."""
        with self._lock:
            items = self._open_trash().empty()
        for item in items:
            log.info(TRASH_EMPTIED, path=item.path, item=item.id)
            self._on_event(TRASH_EMPTIED, f"what was purged from {item.path} was deleted for good", item.stack)
        return tuple(map(_describe_item, items))

    def accept_volume_loss(self) -> bool:
        """Begin anew in place of a lost volume; return whether there was a loss."""
        was_lost = self._sources.backends.accept_volume_loss()
        if was_lost:
            # What no contract asks for is not made anew, and must not be told as left behind.
            self._sources.inventory.forget(one.key for one in self._sources.inventory.unwanted_directories())
        return was_lost

    def take_over(self, path: str) -> tuple[str, ...]:
        """Take a path from the workspaces that hold it, all of them silent; return where they are.

        Raises `HolderAliveError`.
        """
        clean = _require_path(path)
        former = tuple(holder.workspace for holder in self._sources.backends.ledger.take_over(clean))
        if former:
            self._on_event(TAKEN_OVER, f"{clean} was taken over from {', '.join(former)}", "")
            self._on_taken_over(sorted({stack for stack, _ in self._claims(clean)}))
        return former

    def holders(self) -> tuple[PathHolder, ...]:
        """Return the workspaces that hold paths of the volume, this one first."""
        now = self._clock()
        return tuple(
            PathHolder(
                workspace=one.workspace,
                machine=one.machine,
                cluster=one.cluster,
                heartbeat_at=render_time(one.heartbeat_at) if one.heartbeat_at else "",
                is_silent=bool(index) and one.is_silent(now),
                paths=tuple(sorted(one.paths)),
            )
            for index, one in enumerate(self._sources.backends.ledger.holders())
        )

    def begin_recovery(self) -> None:
        """Put right, in a thread of its own, what a crash has left half done in the trash."""
        threading.Thread(target=self.recover, name="trash-recovery", daemon=True).start()

    def recover(self) -> None:
        """Put right what a crash has left half done in the trash; what cannot be is tried at the next start."""
        try:
            with self._lock:
                self._open_trash().recover()
        except VolumeError as error:
            log.warning(RECOVERY_FAILED, reason=error.message)

    def _open_trash(self, access: VolumeAccess | None = None) -> Trash:
        return Trash(access or self._sources.backends.volume(), self._workspace.identity)

    def _claims(self, path: str) -> tuple[tuple[str, str], ...]:
        return self._sources.book.find_claims(path)

    def _find_candidates(self) -> Mapping[str, InventoryEntry]:
        found: dict[str, InventoryEntry] = {}
        for entry in self._sources.inventory.unwanted_directories():
            path = entry.key.name
            # What lies at, or in, a directory that is asked for is part of that stack's data.
            if not any(claimed == path or is_inside(path, claimed) for _, claimed in self._claims(path)):
                found[path] = entry
        return dict(sorted(found.items()))

    def _require_orphan(self, path: str) -> InventoryEntry:
        for stack, claimed in self._claims(path):
            what = "asks for it" if claimed == path else f"asks for {claimed}"
            raise PathWantedError(
                f"{path} is left: the contract of the stack {stack} {what}",
                hint="take the directory out of the contract first; its data stays until it is purged",
            )
        if (entry := self._find_candidates().get(path)) is None:
            raise NotAnOrphanError(
                f"{path} is left: it is no directory that a contract of this workspace once had",
                hint="see which ones there are: hostk8s-agent orphans",
            )
        return entry

    def _require_purgeable(self, path: str) -> InventoryEntry:
        entry = self._require_orphan(path)
        if reason := self._find_reason_against(path):
            raise PathInUseError(f"{path} is left: {reason}", hint=_IN_USE_HINT)
        return entry

    def _secure(self, stack: str, path: str) -> Secured:
        try:
            return self._sources.secure(stack, path, "purge")
        except AgentError as error:
            raise PurgeUnsecuredError(
                f"{path} is left: the snapshot before the purge failed: {error.message}",
                hint=f"{error.hint}; or purge with --without-snapshot: until the trash is emptied nothing is lost",
            ) from error

    def _find_reason_against(self, path: str) -> str:
        """Return why a path must stay, empty when nothing speaks against it."""
        inside = [claimed for _, claimed in self._claims(path) if is_inside(claimed, path)]
        if inside:
            return f"{inside[0]} in it is asked for"
        if (holder := self._sources.backends.ledger.find_holder(path)) is not None:
            return f"the workspace {holder.workspace} holds it in this volume"
        try:
            leading = self._sources.backends.volumes_at(path)
            pods = () if leading else self._sources.backends.pods_at(path)
        except ClusterError as error:
            return f"it is not known whether a PersistentVolume leads there, or a pod uses it ({error.message})"
        if leading:
            used = leading[0]
            state = f"is {used.phase}" if used.phase else "is there"
            held = f" by {used.claim}" if used.claim else ""
            return f"PersistentVolume/{used.key.name} leads there and {state}{held}"
        if pods:
            return f"{pods[0].full_name} mounts it (hostPath)"
        return ""

    def _describe(self, entry: InventoryEntry, size: TreeSize | VolumeError) -> Orphan:
        known = size if isinstance(size, TreeSize) else None
        return Orphan(
            path=entry.key.name,
            stack=entry.key.stack,
            unwanted_since=render_time(entry.unwanted_since) if entry.unwanted_since is not None else "",
            modified_at=render_time(known.modified_at) if known else "",
            size_bytes=known.size_bytes if known else None,
            entries=known.entries if known else None,
            kept_because=self._find_reason_against(entry.key.name),
            message="" if isinstance(size, TreeSize) else size.message,
        )


_IN_USE_HINT = "let go of it first: delete the claim and its pods; the agent then prunes the PersistentVolume"


def _require_path(path: str) -> str:
    components = parse_volume_path(path.rstrip("/"))
    if components[0].startswith(RESERVED_PREFIX):
        raise NotAnOrphanError(
            f"{path} is the agent's own", hint="what is in the trash is deleted with: hostk8s-agent purge --empty-trash"
        )
    return render_volume_path(components)


def _describe_item(item: TrashItem) -> TrashedDirectory:
    return TrashedDirectory(
        id=item.id,
        path=item.path,
        stack=item.stack,
        purged_at=render_time(item.moved_at),
        size_bytes=item.size_bytes,
        entries=item.entries,
    )

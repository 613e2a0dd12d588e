"""A snapshot back into a stack's directories: written beside, proven, and put in the live tree's place in one step.

What happens, in this order, and what a crash leaves:

1. `stage`: the journal is written (`staging`), a folder of ours is made in the volume, and every directory's tree is
   written there while each byte is compared: a crash leaves the folder, which the next start removes;
2. `swap`: the journal says `swapping`, with the identity of every tree that was written; then live and staged trees
   change places, one directory after the other: a crash in between is finished by the next start, which knows from the
   identities what has been done;
3. the folder with the old trees is removed, then the journal.

The safety snapshot that was taken before the swap has the old trees: an undo is a restore of it. Of one file or folder
(a `Part`) the entry alone changes places; its tree is staged with the directories that lead there and nothing else.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory
from hostk8s_agent.snapshot.errors import RestoreFailedError, SnapshotError
from hostk8s_agent.snapshot.flushing import kept_durable
from hostk8s_agent.snapshot.picking import select_members
from hostk8s_agent.snapshot.restore_journal import Journal, RestoreJournals, StagedTree
from hostk8s_agent.snapshot.telling_apart import has_content
from hostk8s_agent.snapshot.unpacking import iterate_archive, iterate_listing, list_devices
from hostk8s_agent.snapshot.writing import write_tree
from hostk8s_agent.volume.errors import DirectoryGoneError, ExchangeImpossibleError
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.snapshot.model import DirectoryManifest
    from hostk8s_agent.snapshot.picking import Part
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.volume.access import VolumeAccess

_REASON = "a snapshot is restored"


@dataclass(frozen=True, slots=True)
class Replacement:
    """One directory that is to be replaced: what the snapshot has of it, and what the contract asks of it now.

    With a `part` that alone is replaced. `removed` is the path of an entry that the snapshot does not have, and that is
    to go: the undo of a restore that brought it.
    """

    taken: DirectoryManifest
    target: Directory
    part: Part | None = None
    removed: str = ""

    @property
    def inner(self) -> str:
        """Where in the directory it is, empty for all of it."""
        return self.part.path if self.part else self.removed

    @property
    def path(self) -> str:
        """What is replaced."""
        return f"{self.target.path}/{self.inner}" if self.inner else self.target.path

    @property
    def size(self) -> tuple[int, int, int]:
        """Entries, regular files and their bytes that are put there."""
        if self.removed:
            return 0, 0, 0
        held = self.part or self.taken
        return held.entries, held.files, held.byte_count


class Restorer:
    """Restores and recovers. Used under the repository's lock; `on_progress` is told the bytes of each step."""

    def __init__(
        self, access: VolumeAccess, repository: Repository, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self._access = access
        self._repository = repository
        self._on_progress = on_progress
        self._journals = RestoreJournals(repository)

    def stage(self, stack: str, replacements: Sequence[Replacement]) -> Journal:
        """Write everything beside the live trees; to be swapped, or discarded. Raises with nothing left over."""
        journal = Journal(secrets.token_hex(6), stack, "staging", ())
        trees = [_plan_tree(journal.folder, number, one) for number, one in enumerate(replacements)]
        journal = replace(journal, trees=tuple(trees))
        self._journals.write(journal)
        try:
            self._apply(CreateDirectory(journal.folder, 0, 0, 0o700, _REASON))
            with kept_durable(self._access, journal.folder):
                for number, one in enumerate(replacements):
                    if not one.removed:
                        self._stage(f"{journal.folder}/{number}", one)
        except BaseException:
            self.discard(journal)
            raise
        return journal

    def swap(self, journal: Journal, replacements: Sequence[Replacement]) -> None:
        """Put what was staged in place. Raises before anything live was touched, or when the swap itself fails."""
        for one in replacements:
            self._make_ancestors(one)
        journal = replace(
            journal,
            phase="swapping",
            # Of what is to go, the identity of what is live: what comes in its place after a crash is to stay.
            trees=tuple(
                replace(one, identity=self._identify(one.staged if one.tree else one.live)) for one in journal.trees
            ),
        )
        self._journals.write(journal)
        try:
            self._swap(journal)
        except VolumeError as error:
            # Some may be in place by now: that nothing was replaced would be a lie, and so that all was.
            raise RestoreFailedError(
                f"{error.message}; the restore has begun, and is finished from its journal",
                hint="the agent does that by itself once the volume can be reached; without one the next restore does",
            ) from error

    def discard(self, journal: Journal) -> None:
        """Remove the folder in the volume, then the journal; where the first fails the next start does both."""
        with suppress(VolumeError, SnapshotError):
            self._access.remove_tree(journal.folder)
            self._journals.remove(journal)

    def discard_unless_swapping(self, journal: Journal) -> None:
        """Discard what was staged and is not being swapped; nothing where nothing is left of it."""
        for left in self._journals.load_all():
            if left.id == journal.id and left.phase == "staging":
                self.discard(left)

    def recover(self) -> list[str]:
        """Finish or clear what a crash has interrupted; return what was done, in words."""
        done: list[str] = []
        for journal in self._journals.load_all():
            if journal.phase == "swapping":
                # Whoever still writes into what was replaced can keep it from being removed with the swap.
                is_swapped = all(one.is_swapped for one in journal.trees)
                self._swap(journal)
                done.append(
                    f"what a restore of {journal.stack} replaced is removed now"
                    if is_swapped
                    else f"the restore of {journal.stack} that was interrupted is complete now"
                )
            else:
                self.discard(journal)
                done.append(f"what an interrupted restore of {journal.stack} had written was removed")
        return done

    def _stage(self, place: str, one: Replacement) -> None:
        self._apply(CreateDirectory(place, 0, 0, 0o700, _REASON))
        devices = list_devices(self._repository, one.taken.archive.tree)
        chunks = self._iterate(one.taken)
        write_tree(self._access, place, select_members(chunks, one.part.needs) if one.part else chunks, devices)
        if one.part is None:
            owner = one.target.owner
            # The owner that is declared now, also where another one was declared when it was taken.
            self._apply(
                ChangeDirectory(
                    place,
                    owner.uid,
                    owner.gid,
                    one.target.permissions,
                    changes_owner=self._access.may_set_owner,
                    changes_mode=True,
                    reason=_REASON,
                    drift=(),
                )
            )

    def _make_ancestors(self, one: Replacement) -> None:
        """Make the live directories that lead to a part and are missing, as the snapshot has them."""
        if one.part is None:
            return
        root = CreateDirectory(one.target.path, one.target.owner.uid, one.target.owner.gid, one.target.permissions, "")
        inner = [
            CreateDirectory(f"{one.target.path}/{entry.path}", entry.uid, entry.gid, entry.mode, _REASON)
            for entry in one.part.ancestors
        ]
        for action in (replace(root, reason=_REASON), *inner):
            if self._access.observe_directories([action.path])[0].kind == "absent":
                self._apply(action)

    def _iterate(self, taken: DirectoryManifest) -> Iterator[bytes]:
        for chunk in iterate_archive(self._repository, taken):
            self._on_progress(len(chunk))
            yield chunk

    def _swap(self, journal: Journal) -> None:
        for number, tree in enumerate(journal.trees):
            if tree.is_swapped or not self._is_staged(tree):
                continue
            self._put_in_place(journal, tree)
            trees = list(journal.trees)
            trees[number] = replace(tree, is_swapped=True)
            journal = replace(journal, trees=tuple(trees))
            self._journals.write(journal)
        self.discard(journal)

    def _put_in_place(self, journal: Journal, tree: StagedTree) -> None:
        """Put a staged tree where the live one is, or was, or was to be; the old one is in our folder afterwards."""
        is_absent = self._access.observe_directories([tree.live])[0].kind == "absent"
        # A name of its own each time: a crash between two moves leaves the old tree under the first one.
        aside = f"{journal.folder}/old-{secrets.token_hex(4)}"
        if not tree.tree:
            if not is_absent:
                self._access.move_entry(tree.live, aside)
            return
        if tree.part and is_absent:
            self._access.move_entry(tree.staged, tree.live)
            return
        if is_absent:
            # For the exchange, and for the parents.
            self._apply(CreateDirectory(tree.live, 0, 0, 0o700, _REASON))
        exchange = self._access.exchange_entries if tree.part else self._access.exchange_directories
        move = self._access.move_entry if tree.part else self._access.move_directory
        try:
            exchange(tree.live, tree.staged)
        except ExchangeImpossibleError:
            move(tree.live, aside)
            move(tree.staged, tree.live)

    def _is_staged(self, tree: StagedTree) -> bool:
        """Whether what stands at the staged place is still the new one, or what is to go is still live."""
        if not tree.tree:
            return not tree.identity or self._identify(tree.live) == tree.identity
        observed = self._access.observe_directories([tree.staged])[0]
        if observed.kind == "absent" or (observed.kind != "directory" and not tree.part):
            return False
        if tree.identity:
            return self._identify(tree.staged) == tree.identity
        # Nobody but us sees what is there: the new tree as it was written, or the old one.
        return has_content(self._access, tree.staged, iterate_listing(self._repository, tree.tree), tree.part)

    def _identify(self, path: str) -> str:
        if not isinstance(self._access, TreeAccess):
            return ""
        with suppress(DirectoryGoneError):
            return self._access.identify(path)
        return ""

    def _apply(self, action: CreateDirectory | ChangeDirectory) -> None:
        failure = self._access.apply_directories([action])[0]
        if failure is not None:
            raise RestoreFailedError(f"{failure.message}; nothing was replaced", hint=failure.hint) from failure


def _plan_tree(folder: str, number: int, one: Replacement) -> StagedTree:
    place = f"{folder}/{number}/{one.inner}" if one.inner else f"{folder}/{number}"
    return StagedTree(one.path, place, "" if one.removed else one.taken.archive.tree, one.inner)

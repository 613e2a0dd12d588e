"""A snapshot back into a stack's directories: written beside, proven, and put in the live tree's place in one step.

What happens, in this order, and what a crash leaves:

1. the journal is written (`staging`), a folder of ours is made in the volume, and every directory's tree is written
   there while each byte is compared: a crash leaves the folder, which the next start removes;
2. the journal says `swapping`, with the identity of every tree that was written; then live and staged trees change
   places, one directory after the other: a crash in between is finished by the next start, which knows from the
   identities what has been done;
3. the folder with the old trees is removed, then the journal.

The safety snapshot that was taken before has the old trees: an undo is a restore of it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.actions import ChangeDirectory, CreateDirectory
from hostk8s_agent.snapshot.durable import make_folder, remove_durably, write_durably
from hostk8s_agent.snapshot.errors import RestoreFailedError, SnapshotError
from hostk8s_agent.snapshot.telling_apart import has_content
from hostk8s_agent.snapshot.unpacking import iterate_archive, iterate_listing
from hostk8s_agent.snapshot.writing import write_tree
from hostk8s_agent.volume.errors import ExchangeImpossibleError
from hostk8s_agent.volume.tree_access import TreeAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hostk8s_agent.contract.model import Directory
    from hostk8s_agent.snapshot.model import DirectoryManifest
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.volume.access import VolumeAccess

STAGING_FOLDER = "/mnt/pv/.hostk8s-restore"
_JOURNALS = "restores"
_REASON = "a snapshot is restored"


@dataclass(frozen=True, slots=True)
class Replacement:
    """One directory that is to be replaced: what the snapshot has of it, and what the contract asks of it now."""

    taken: DirectoryManifest
    target: Directory


@dataclass(frozen=True, slots=True)
class StagedTree:
    """A tree beside the live one. `identity` is device and inode, empty where the way in does not tell them.

    `tree` is the listing of what was written there. `is_swapped` says that the two have changed places already.
    """

    live: str
    staged: str
    tree: str
    identity: str = ""
    is_swapped: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """What a restore is about to do, as it is kept on disk. `phase` is staging or swapping."""

    id: str
    stack: str
    phase: str
    trees: tuple[StagedTree, ...]

    @property
    def folder(self) -> str:
        """Its own folder in the volume."""
        return f"{STAGING_FOLDER}-{self.id}"


class Restorer:
    """Restores and recovers. Used under the repository's lock; `on_progress` is told the bytes of each step."""

    def __init__(
        self, access: VolumeAccess, repository: Repository, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self._access = access
        self._repository = repository
        self._on_progress = on_progress

    def restore(self, stack: str, replacements: Sequence[Replacement]) -> None:
        """Replace the directories. Raises before anything live was touched, or when the swap itself fails."""
        identifier = secrets.token_hex(6)
        folder = f"{STAGING_FOLDER}-{identifier}"
        trees = tuple(
            StagedTree(one.target.path, f"{folder}/{number}", one.taken.archive.tree)
            for number, one in enumerate(replacements)
        )
        journal = Journal(identifier, stack, "staging", trees)
        self._write(journal)
        try:
            self._stage(journal, replacements)
            journal = replace(
                journal,
                phase="swapping",
                trees=tuple(replace(one, identity=self._identify(one.staged)) for one in journal.trees),
            )
            self._write(journal)
        except BaseException:
            self._clear(journal)
            raise
        self._swap(journal)

    def recover(self) -> list[str]:
        """Finish or clear what a crash has interrupted; return what was done, in words."""
        done: list[str] = []
        for journal in self._load_journals():
            if journal.phase == "swapping":
                self._swap(journal)
                done.append(f"the restore of {journal.stack} that was interrupted is complete now")
            else:
                self._clear(journal)
                done.append(f"what an interrupted restore of {journal.stack} had written was removed")
        return done

    def _stage(self, journal: Journal, replacements: Sequence[Replacement]) -> None:
        self._apply(CreateDirectory(journal.folder, 0, 0, 0o700, _REASON))
        for tree, one in zip(journal.trees, replacements, strict=True):
            self._apply(CreateDirectory(tree.staged, 0, 0, 0o700, _REASON))
            devices = [
                entry.path for entry in iterate_listing(self._repository, one.taken.archive.tree) if entry.is_device
            ]
            write_tree(self._access, tree.staged, self._iterate(one.taken), devices)
            owner = one.target.owner
            # The owner that is declared now, also where another one was declared when it was taken.
            self._apply(
                ChangeDirectory(
                    tree.staged,
                    owner.uid,
                    owner.gid,
                    one.target.permissions,
                    changes_owner=self._access.may_set_owner,
                    changes_mode=True,
                    reason=_REASON,
                    drift=(),
                )
            )

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
            self._write(journal)
        self._clear(journal)

    def _put_in_place(self, journal: Journal, tree: StagedTree) -> None:
        """Put a staged tree where the live one is, or was, or was to be; the old one is in our folder afterwards."""
        if self._access.observe_directories([tree.live])[0].kind == "absent":
            # For the exchange, and for the parents.
            self._apply(CreateDirectory(tree.live, 0, 0, 0o700, _REASON))
        try:
            self._access.exchange_directories(tree.live, tree.staged)
        except ExchangeImpossibleError:
            # A name of its own each time: a crash between the two moves leaves the old tree under the first one.
            self._access.move_directory(tree.live, f"{journal.folder}/old-{secrets.token_hex(4)}")
            self._access.move_directory(tree.staged, tree.live)

    def _is_staged(self, tree: StagedTree) -> bool:
        """Whether the tree at the staged place is still the new one."""
        observed = self._access.observe_directories([tree.staged])[0]
        if observed.kind != "directory":
            return False
        if tree.identity:
            return self._identify(tree.staged) == tree.identity
        # Nobody but us sees what is there: the new tree as it was written, or the old one.
        return has_content(self._access, tree.staged, iterate_listing(self._repository, tree.tree))

    def _identify(self, path: str) -> str:
        if not isinstance(self._access, TreeAccess):
            return ""
        with self._access.open_directory(path) as descriptor:
            found = os.fstat(descriptor)
            return f"{found.st_dev}:{found.st_ino}"

    def _apply(self, action: CreateDirectory | ChangeDirectory) -> None:
        failure = self._access.apply_directories([action])[0]
        if failure is not None:
            raise RestoreFailedError(f"{failure.message}; nothing was replaced", hint=failure.hint) from failure

    # The journal

    def _write(self, journal: Journal) -> None:
        make_folder(self._repository.folder / _JOURNALS)
        document = {
            "id": journal.id,
            "stack": journal.stack,
            "phase": journal.phase,
            "trees": [
                {
                    "live": one.live,
                    "staged": one.staged,
                    "tree": one.tree,
                    "identity": one.identity,
                    "swapped": one.is_swapped,
                }
                for one in journal.trees
            ],
        }
        write_durably(self._path(journal.id), json.dumps(document, indent=1).encode() + b"\n")

    def _clear(self, journal: Journal) -> None:
        """Remove the folder in the volume, then the journal; where the first fails the next start does both."""
        try:
            self._access.remove_tree(journal.folder)
            remove_durably(self._path(journal.id))
        except (VolumeError, SnapshotError):
            return

    def _load_journals(self) -> list[Journal]:
        journals = []
        try:
            paths = sorted((self._repository.folder / _JOURNALS).glob("*.json"))
        except OSError:
            return []
        for path in paths:
            try:
                journals.append(_parse(json.loads(path.read_bytes())))
            except (OSError, ValueError, TypeError, KeyError):
                # Written whole or not at all: this one is no journal of ours.
                continue
        return journals

    def _path(self, identifier: str) -> Path:
        return self._repository.folder / _JOURNALS / f"{identifier}.json"


def has_journals(repository: Repository) -> bool:
    """Whether a restore was interrupted."""
    try:
        return any((repository.folder / _JOURNALS).glob("*.json"))
    except OSError:
        return False


def _parse(document: dict[str, Any]) -> Journal:
    trees = tuple(
        StagedTree(
            str(one["live"]),
            str(one["staged"]),
            str(one["tree"]),
            str(one["identity"]),
            is_swapped=bool(one["swapped"]),
        )
        for one in document["trees"]
    )
    return Journal(str(document["id"]), str(document["stack"]), str(document["phase"]), trees)

"""What a restore is about to do, on disk before it is done: a crash at any moment is finished or cleared from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostk8s_agent.snapshot.durable import make_folder, remove_durably, write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.snapshot.repository import Repository

STAGING_FOLDER: Final = "/mnt/pv/.hostk8s-restore"
_FOLDER: Final = "restores"


@dataclass(frozen=True, slots=True)
class StagedTree:
    """A tree beside the live one. `identity` is device and inode, empty where the way in does not tell them.

    `tree` is the listing of what was written there; empty says that nothing was, and that what is live is to go.
    `part` is where in the tree the entry is that alone is swapped, empty for the whole. `is_swapped` says that the two
    have changed places already.
    """

    live: str
    staged: str
    tree: str
    part: str = ""
    identity: str = ""
    is_swapped: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """One restore. `phase` is staging or swapping."""

    id: str
    stack: str
    phase: str
    trees: tuple[StagedTree, ...]

    @property
    def folder(self) -> str:
        """Its own folder in the volume."""
        return f"{STAGING_FOLDER}-{self.id}"


class RestoreJournals:
    """The journals of a repository. Used under its lock; raises what its durable writes raise."""

    def __init__(self, repository: Repository) -> None:
        self._folder = repository.folder / _FOLDER

    def write(self, journal: Journal) -> None:
        """Keep a journal, over its former state."""
        make_folder(self._folder)
        trees = [
            {
                "live": one.live,
                "staged": one.staged,
                "tree": one.tree,
                "part": one.part,
                "identity": one.identity,
                "swapped": one.is_swapped,
            }
            for one in journal.trees
        ]
        document = {"id": journal.id, "stack": journal.stack, "phase": journal.phase, "trees": trees}
        write_durably(self._path(journal.id), json.dumps(document, indent=1).encode() + b"\n")

    def remove(self, journal: Journal) -> None:
        """Have nothing left of a restore."""
        remove_durably(self._path(journal.id))

    def load_all(self) -> list[Journal]:
        """Return what crashes have left."""
        journals = []
        for path in self._list():
            try:
                journals.append(_parse(json.loads(path.read_bytes())))
            except (OSError, ValueError, TypeError, KeyError):
                # Written whole or not at all: this one is no journal of ours.
                continue
        return journals

    def has_any(self) -> bool:
        """Whether a restore was interrupted."""
        return bool(self._list())

    def _list(self) -> list[Path]:
        try:
            return sorted(self._folder.glob("*.json"))
        except OSError:
            return []

    def _path(self, identifier: str) -> Path:
        return self._folder / f"{identifier}.json"


def _parse(document: dict[str, Any]) -> Journal:
    trees = tuple(
        StagedTree(
            str(one["live"]),
            str(one["staged"]),
            str(one["tree"]),
            str(one.get("part", "")),
            str(one["identity"]),
            is_swapped=bool(one["swapped"]),
        )
        for one in document["trees"]
    )
    return Journal(str(document["id"]), str(document["stack"]), str(document["phase"]), trees)

"""The scan of the contract files: the truth that events only make fast.

What is looked at: every folder below the stacks folder, at any depth, except hidden ones (their name begins
with a dot: `.git`, `.venv`) and `node_modules`: neither can be a stack, and either can hold more folders than
all stacks together. A contract's folder is descended into as well: `foundation` and `foundation/airflow` may
both be stacks.

Links to folders are followed where they lead out of the stacks folder, the stack being named for the link.
One that leads to a folder scanned anyway, or to a folder that holds the stacks folder, is not: the first
would give one contract two names, the second would never end.
"""

# ruff: noqa: PTH112, PTH114, PTH208
# Strings and os.path: a scan of thousands of folders with Path objects takes three times as long.
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hostk8s_agent.watch import problems
from hostk8s_agent.watch.contract_files import CONTRACT_NAME, ContractFile, find_contract_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hostk8s_agent.errors import Problem

RootState = Literal["present", "missing", "unreadable"]

# A workspace has tens of stacks, the largest test a few thousand: beyond this a link has caught a foreign
# tree.
MAXIMUM_FOLDERS = 100_000
_MISSPELT_NAME = CONTRACT_NAME.removesuffix(".yaml") + ".yml"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan saw.

    `files` maps stack to contract file, sorted by stack. `root_state` is of the stacks folder itself: unless
    it is `present`, `files` is empty and means nothing. `unreadable` names the folders (as stacks are named)
    that could not be listed: a stack in or below one of them is unknown, not absent. `problems` is for
    people. `directories` counts the folders listed, the stacks folder included.
    """

    files: Mapping[str, ContractFile]
    root_state: RootState
    unreadable: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    directories: int = 0

    def may_hide(self, stack: str) -> bool:
        """Whether this scan could not see the stack even if it were there."""
        return self.root_state != "present" or any(
            stack == folder or stack.startswith(f"{folder}/") for folder in self.unreadable
        )


def is_skipped_folder(name: str) -> bool:
    """Whether a folder of this name is never descended into."""
    return name.startswith(".") or name == "node_modules"


def scan_contract_files(
    stacks_root: Path,
    *,
    below: Path | None = None,
    before_listing: Callable[[str], None] | None = None,
) -> ScanResult:
    """Given the stacks folder, find every contract file in it, or in the part `below` one of its folders.

    `before_listing` is called with each folder's path before the folder is listed: a watch set there cannot
    miss what is written after the listing. Never raises OSError: what cannot be read is in the result.
    """
    walk = _Walk(str(stacks_root), before_listing)
    root_state = walk.list_root() if below is None else walk.list_part(str(below))
    return ScanResult(
        files=dict(sorted(walk.files.items())),
        root_state=root_state,
        unreadable=tuple(sorted(walk.unreadable)),
        problems=tuple(walk.problems),
        directories=walk.listed,
    )


@dataclass(slots=True)
class _Walk:
    """One run over the tree: iterative, so that no depth can exhaust the stack."""

    root: str
    before_listing: Callable[[str], None] | None
    files: dict[str, ContractFile] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    listed: int = 0
    _links: list[str] = field(default_factory=list)
    _followed: list[str] = field(default_factory=list)

    def list_root(self) -> RootState:
        """Walk the whole tree."""
        try:
            os.listdir(self.root)
        except FileNotFoundError:
            self.problems.append(problems.stacks_folder_missing(self.root))
            return "missing"
        except OSError as error:
            self.problems.append(problems.stacks_folder_unreadable(self.root, _reason(error)))
            return "unreadable"
        self._list_tree(self.root)
        self._follow_links()
        # Its entries vanished under the walk, or it became unreadable: what was found is not the whole.
        return "unreadable" if "" in self.unreadable else "present"

    def list_part(self, folder: str) -> RootState:
        """Walk one folder of the tree, itself perhaps a link."""
        if any(is_skipped_folder(name) for name in self._stack(folder).split("/")):
            return "present"
        if os.path.islink(folder):
            self._links.append(folder)
        else:
            self._list_tree(folder)
        self._follow_links()
        return "present"

    def _list_tree(self, start: str) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            if self.listed >= MAXIMUM_FOLDERS:
                self.problems.append(problems.too_many_folders(MAXIMUM_FOLDERS))
                self.unreadable.extend(self._stack(path) for path in (folder, *waiting))
                return
            self.listed += 1
            try:
                if self.before_listing is not None:
                    self.before_listing(folder)
                waiting.extend(self._list_folder(folder))
            except (FileNotFoundError, NotADirectoryError):
                # It went between the listing of its parent and now. The root's going is another matter.
                if folder == self.root:
                    self.unreadable.append("")
            except OSError as error:
                self.unreadable.append(self._stack(folder))
                self.problems.append(problems.folder_unreadable(folder, _reason(error)))

    def _list_folder(self, folder: str) -> list[str]:
        """Note the contract of one folder and return its subfolders."""
        subfolders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name == CONTRACT_NAME:
                    self._add_contract(folder, entry.path)
                elif is_skipped_folder(name):
                    continue
                elif entry.is_dir(follow_symlinks=False):
                    subfolders.append(entry.path)
                elif entry.is_symlink():
                    self._links.append(entry.path)
                elif name == _MISSPELT_NAME:
                    self.problems.append(problems.contract_name_not_recognised(entry.path))
        return subfolders

    def _add_contract(self, folder: str, path: str) -> None:
        stack = self._stack(folder)
        if not stack:
            self.problems.append(problems.contract_without_stack(path))
            return
        if not stack.isprintable():
            self.problems.append(problems.stack_name_not_text(folder))
            return
        contract_file = find_contract_file(stack, path, is_linked=bool(self._followed))
        if contract_file is not None:
            self.files[stack] = contract_file

    def _follow_links(self) -> None:
        """Walk what the links lead to, in the order of their paths; those found on the way come after."""
        real_root = os.path.realpath(self.root)
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                if not os.path.isdir(link):
                    continue
                target = os.path.realpath(link)
                if any(_is_within(target, seen) or _is_within(seen, target) for seen in (real_root, *self._followed)):
                    self.problems.append(problems.linked_folder_ignored(link, target))
                    continue
                self._followed.append(target)
                self._list_tree(link)

    def _stack(self, folder: str) -> str:
        return folder[len(self.root) + 1 :].replace(os.sep, "/")


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__

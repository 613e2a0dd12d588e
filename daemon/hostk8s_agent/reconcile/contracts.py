"""The contracts in force: the last good version of each, and which stacks contend for a path or an object."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostk8s_agent.contract.conflicts import ClaimIndex, Conflict
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.paths import is_inside
from hostk8s_agent.errors import ContractError, Problem
from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.watch.reading import read_contract_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from hostk8s_agent.contract.model import Contract
    from hostk8s_agent.workspace import Workspace

    ClaimPaths = Callable[[str, Iterable[str]], Mapping[str, Problem]]

# An editor that truncates and rewrites in place lets a reader see half a file (field notes: VS Code).
SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class LoadedContract:
    """What the contract file of a stack says now.

    `contract` is the version in force: the file's, or the last good one while the file has `problems`, or None
    when there never was a good one. `text` is that version's. `is_absent` says that the file is gone.
    `settle_seconds` asks to look again before the problems are reported.
    """

    contract: Contract | None
    text: bytes = b""
    problems: tuple[Problem, ...] = ()
    is_absent: bool = False
    settle_seconds: float | None = None


class ContractBook:
    """All contracts of the workspace. Thread-safe; reading and parsing are done outside the lock."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        last_good: Mapping[str, bytes],
        holders: Mapping[str, str],
        is_expected: Callable[[str], bool] = lambda _stack: False,
        claim: ClaimPaths = lambda _stack, _paths: {},
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with the contracts in force at the last stop (`last_good`) and who held what (`holders`).

        `is_expected` says whether the watch still takes a stack's contract to be there: a file that is not there
        at this instant (an editor is saving it, the stacks folder is being replaced) is gone only when it agrees.
        `claim` claims just these paths of the volume for a stack, and returns those that another workspace holds.
        """
        self._workspace = workspace
        self._clock = clock
        self._is_expected = is_expected
        self._claim = claim
        self._lock = threading.Lock()
        self._index = ClaimIndex(holders)
        # Called with each stack whose contract in force is another one now, with the lock held: they return at once.
        self.listeners: list[Callable[[str], None]] = []
        self._good: dict[str, tuple[bytes, Contract]] = {}
        self._class_users: defaultdict[str, set[str]] = defaultdict(set)
        for stack, text in last_good.items():
            self._recall(stack, text)

    def load(self, stack: str) -> tuple[LoadedContract, frozenset[str]]:
        """Read the stack's contract and put it in force; return it and the other stacks that this may concern."""
        loaded = self.read(stack)
        with self._lock:
            if loaded.is_absent:
                self._claim(stack, ())
                self._put_in_force(stack, None)
                return loaded, self._index.remove(stack)
            known = self._good.get(stack)
            if loaded.contract is None or (known is not None and known[0] == loaded.text):
                return loaded, frozenset()
            self._put_in_force(stack, (loaded.text, loaded.contract))
            return loaded, self._index.update(loaded.contract) - {stack}

    def list_in_force(self) -> Mapping[str, Contract]:
        """Return the contract in force of each stack, without looking at any file."""
        with self._lock:
            return {stack: contract for stack, (_, contract) in self._good.items()}

    def read(self, stack: str) -> LoadedContract:
        """Read the stack's contract and change nothing."""
        path = self._workspace.contract_path(stack)
        with self._lock:
            known = self._good.get(stack)
        good_text, good = known or (b"", None)
        if not _exists(path):
            # Unreadable is never absent: with the stacks folder away, all contracts stay in force.
            is_away = not self._workspace.stacks_root.is_dir() or self._is_expected(stack)
            return LoadedContract(good, good_text) if is_away else LoadedContract(None, is_absent=True)
        shown_as = self._workspace.relative(path)
        try:
            text = read_contract_file(path, shown_as)
            if text == good_text and good is not None:
                return LoadedContract(good, text)
            return LoadedContract(parse_contract(text, file=shown_as, stack=stack), text)
        except ContractError as error:
            settle_seconds = self._remaining_settle_seconds(path)
            return LoadedContract(good, good_text, error.problems, settle_seconds=settle_seconds)

    def conflicts_of(self, stack: str) -> tuple[Conflict, ...]:
        """The conflicts that the stack has a part in."""
        with self._lock:
            return self._index.conflicts_of(stack)

    def lost_claims(self, stack: str) -> dict[str, Problem]:
        """Return the names of the stack's directories that others hold, each with the problem that says who.

        The stack's paths are claimed in the volume by this, where other workspaces see them.
        """
        with self._lock:
            conflicts = self._index.conflicts_of(stack)
            good = self._good.get(stack)
        directories = good[1].directories if good is not None else ()
        elsewhere = self._claim(stack, [one.path for one in directories])
        lost = {one.name: elsewhere[one.path] for one in directories if one.path in elsewhere}
        return lost | {one.directory: one.problem for one in conflicts if one.is_blocked}

    def find_claims(self, path: str) -> tuple[tuple[str, str], ...]:
        """Return the stack and path of each directory in force that is at a path, in it, or around it."""
        with self._lock:
            claimed = [(stack, one.path) for stack, (_, contract) in self._good.items() for one in contract.directories]
        return tuple(sorted(one for one in claimed if one[1] == path or _is_nested(one[1], path)))

    def record_holder(self, stack: str, held: Iterable[str]) -> frozenset[str]:
        """Remember that the stack's paths and PersistentVolumes (`held`) were in fact applied for it.

        Return the other stacks that this may concern.
        """
        with self._lock:
            concerned = [self._index.record_holder(what, stack) for what in held]
        return frozenset().union(*concerned) - {stack}

    def release_holder(self, stack: str, held: Iterable[str]) -> frozenset[str]:
        """Remember that the stack holds these paths and PersistentVolumes no more, because they were pruned.

        What another stack holds by now stays that one's. Return the other stacks that this may concern.
        """
        with self._lock:
            concerned = [self._index.release_holder(what) for what in held if self._index.holder_of(what) == stack]
        return frozenset().union(*concerned) - {stack}

    def stacks_asking_for(self, key: ObjectKey) -> frozenset[str]:
        """Return the stacks whose contract in force asks for the object; quick, however many stacks there are."""
        with self._lock:
            if key.kind == "StorageClass":
                return frozenset(self._class_users.get(key.name, ()))
            return self._index.claimants_of(key.name)

    def objects_asked_for(self) -> dict[str, set[ObjectKey]]:
        """Return the objects that each contract in force asks for, by stack."""
        with self._lock:
            good = {stack: contract for stack, (_, contract) in self._good.items()}
        return {
            stack: {
                key
                for one in contract.directories
                for key in (
                    ObjectKey("PersistentVolume", contract.persistent_volume_name_of(one)),
                    ObjectKey("StorageClass", one.storage_class),
                )
            }
            for stack, contract in good.items()
        }

    def has_contract(self, stack: str) -> bool:
        """Whether the stack has a contract in force."""
        with self._lock:
            return stack in self._good

    def _put_in_force(self, stack: str, good: tuple[bytes, Contract] | None) -> None:
        before = self._good.pop(stack, None)
        for directory in before[1].directories if before is not None else ():
            self._class_users[directory.storage_class].discard(stack)
        if good is not None:
            self._good[stack] = good
            for directory in good[1].directories:
                self._class_users[directory.storage_class].add(stack)
        for listener in self.listeners:
            listener(stack)

    def _recall(self, stack: str, text: bytes) -> None:
        file = self._workspace.relative(self._workspace.contract_path(stack))
        try:
            contract = parse_contract(text, file=file, stack=stack)
        except ContractError:
            return  # another version of the agent thought it good: the file itself will be judged anew
        self._put_in_force(stack, (text, contract))
        self._index.update(contract)

    def _remaining_settle_seconds(self, path: Path) -> float | None:
        """How long the file may still be half written, None when it has had its time."""
        try:
            # The change time: unlike the modification time nobody can set it back.
            age_seconds = self._clock() - path.stat().st_ctime
        except OSError:
            return None
        return SETTLE_SECONDS - age_seconds if 0 <= age_seconds < SETTLE_SECONDS else None


def _is_nested(one: str, other: str) -> bool:
    return is_inside(one, other) or is_inside(other, one)


def _exists(path: Path) -> bool:
    """Whether the name is there, be it a dangling link. A folder that cannot be read is not absent."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True

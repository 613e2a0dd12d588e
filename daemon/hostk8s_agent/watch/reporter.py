"""From events and scans to stacks: says which stack to look at, once for each save.

A written contract is told at once. One that was created waits for its writer to close it, one that is gone
for the editor that puts it back; both are looked at again when that is over, and told if they differ from
what was known.
"""

# ruff: noqa: PTH118
# Strings and os.path: paths are strings on the way of every event.
from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.watch.contract_files import CONTRACT_NAME, ContractFile, find_contract_file
from hostk8s_agent.watch.filesystem import find_identity
from hostk8s_agent.watch.ledger import Ledger
from hostk8s_agent.watch.scan import is_skipped_folder, scan_contract_files

if TYPE_CHECKING:
    from collections.abc import Callable

if TYPE_CHECKING:
    from hostk8s_agent.watch.scan import ScanResult
    from hostk8s_agent.watch.signals import Signals

logger = structlog.get_logger()

# Measured saves by rename leave the name empty for under 10 ms, a slow `git checkout` for some 100 ms.
GONE_SETTLE_SECONDS = 0.5
# A created file is closed within milliseconds, which tells it earlier; links and FIFOs are never closed.
CREATED_SETTLE_SECONDS = 0.3


class StackReporter:
    """Receives the events of any source, and the scans. Its methods may be called from any thread."""

    def __init__(self, root: Path, on_stack: Callable[[str], None], signals: Signals) -> None:
        self._root = str(root)
        self._on_stack = on_stack
        self._signals = signals
        self._ledger = Ledger()
        self._root_identity: tuple[int, int] | None = None
        self._links: dict[str, ContractFile] = {}

    def is_expected(self, stack: str) -> bool:
        """Whether the stack's contract is taken to be there: it was seen, and is not confirmed gone."""
        return self._ledger.has(stack)

    def set_root_identity(self, identity: tuple[int, int] | None) -> None:
        """Say which folder the stacks folder is: absence counts only while its path leads there, never if None."""
        self._root_identity = identity

    def contract_written(self, folder: str) -> None:
        """Tell the stack at once: its contract is complete."""
        stack = self._find_stack(folder)
        if stack is None:
            return
        contract_file = self._look(stack)
        if contract_file is None:
            # Written and removed before we looked: a removal, which has to be confirmed.
            self._look_again(stack, GONE_SETTLE_SECONDS)
            return
        self._ledger.record(stack, contract_file)
        self._tell(stack)

    def contract_unsettled(self, folder: str) -> None:
        """Look at a created or vanished contract again when its save is over."""
        stack = self._find_stack(folder)
        if stack is not None:
            exists = os.path.lexists(os.path.join(folder, CONTRACT_NAME))
            self._look_again(stack, CREATED_SETTLE_SECONDS if exists else GONE_SETTLE_SECONDS)

    def folder_appeared(self, folder: str, watch: Callable[[str], None]) -> None:
        """Tell the stacks of a new folder: what was written before it was watched sent no event."""
        part = scan_contract_files(Path(self._root), below=Path(folder), before_listing=watch)
        for stack, contract_file in part.files.items():
            if contract_file.kind == "file" and contract_file.fingerprint.size == 0:
                # Created and not written yet: its close will tell, and at the latest the second look.
                self._look_again(stack, CREATED_SETTLE_SECONDS)
            else:
                self.check(stack)

    def folder_gone(self, folder: str) -> None:
        """Look again at the stacks of a folder that left its place."""
        for stack in self._ledger.stacks_below(self._name(folder)):
            self._look_again(stack, GONE_SETTLE_SECONDS)

    def canary_seen(self) -> None:
        """Pass on that events arrive."""
        self._signals.see_canary()

    def events_lost(self) -> None:
        """Pass on that some did not."""
        self._signals.lose_events()

    def check(self, stack: str) -> bool:
        """Look at a stack now, and tell it if it differs from what was known; return whether it was told.

        Unreadable is never absent: a contract counts as gone only while the stacks folder is in its place.
        """
        contract_file = self._look(stack)
        if contract_file is None and not self._is_root_in_place():
            return False
        if not self._ledger.record(stack, contract_file):
            return False
        self._tell(stack)
        return True

    def check_due(self, now: float) -> None:
        """Look at the stacks whose save should be over."""
        for stack in self._ledger.take_due(now):
            self.check(stack)

    def check_links(self) -> None:
        """Look at the contracts that are links: what changes behind one sends no event."""
        for stack, seen in self._links.items():
            contract_file = self._look(stack)
            if contract_file is not None and contract_file.fingerprint != seen.fingerprint:
                self._links[stack] = contract_file
                self.check(stack)

    def has_known_stacks(self) -> bool:
        """Whether any stack is known."""
        return not self._ledger.is_empty()

    def next_look_at(self) -> float | None:
        """Return when `check_due` has something to do (monotonic seconds), None if nothing waits."""
        return self._ledger.next_look_at()

    def compare(self, scan: ScanResult) -> int:
        """Tell what a scan saw and no event did; return how many changes an event should have told.

        What the scan did not see is looked at again first, and what lies behind links may send no event.
        """
        if scan.root_state != "present":
            return 0
        self._links = {stack: seen for stack, seen in scan.files.items() if seen.is_linked}
        changed, absent = self._ledger.diff_scan(scan)
        told = [stack for stack in changed if self.check(stack)]
        for stack in absent:
            self._look_again(stack, GONE_SETTLE_SECONDS)
        return len([stack for stack in told if stack not in self._links])

    def _look(self, stack: str) -> ContractFile | None:
        return find_contract_file(stack, os.path.join(self._root, stack, CONTRACT_NAME))

    def _is_root_in_place(self) -> bool:
        return self._root_identity is not None and find_identity(Path(self._root)) == self._root_identity

    def _look_again(self, stack: str, after_seconds: float) -> None:
        self._ledger.look_again(stack, time.monotonic() + after_seconds)
        self._signals.wake.set()

    def _name(self, folder: str) -> str:
        return folder[len(self._root) + 1 :].replace(os.sep, "/")

    def _find_stack(self, folder: str) -> str | None:
        """The stack of a folder, None where no contract is looked for or the name is no text."""
        stack = self._name(folder)
        if not stack:
            # Only a scan reports the problem of a contract without a stack, so let it come soon.
            self._signals.ask_for_scan()
            return None
        if any(is_skipped_folder(name) for name in stack.split("/")) or not stack.isprintable():
            return None
        return stack

    def _tell(self, stack: str) -> None:
        try:
            self._on_stack(stack)
        except Exception:
            # The consumer's error must not end a thread of the watch; the next scan does not repeat this
            # stack.
            logger.exception("watch.consumer_failed", stack=stack)

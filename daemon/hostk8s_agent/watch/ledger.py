"""What was last told about each stack, so that the scan and the events tell each save once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostk8s_agent.watch.contract_files import ContractFile, Fingerprint
    from hostk8s_agent.watch.scan import ScanResult


@dataclass(slots=True)
class Ledger:
    """Known fingerprints, and stacks to look at again at a time. Thread-safe; knows no clock and no disk.

    Times are monotonic seconds, given by the caller.
    """

    _known: dict[str, Fingerprint] = field(default_factory=dict)
    _unsettled: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, stack: str, contract_file: ContractFile | None) -> bool:
        """Take what was just seen of a stack as known and return whether it differs from what was known."""
        with self._lock:
            self._unsettled.pop(stack, None)
            if contract_file is None:
                return self._known.pop(stack, None) is not None
            before = self._known.get(stack)
            self._known[stack] = contract_file.fingerprint
            return before != contract_file.fingerprint

    def look_again(self, stack: str, at: float) -> None:
        """Ask for another look at a stack at a time, in place of an earlier one asked for."""
        with self._lock:
            self._unsettled[stack] = at

    def take_due(self, now: float) -> list[str]:
        """Return the stacks whose time for another look has come, and forget that they were asked for."""
        with self._lock:
            due = [stack for stack, at in self._unsettled.items() if at <= now]
            for stack in due:
                del self._unsettled[stack]
            return due

    def next_look_at(self) -> float | None:
        """Return when the next stack is due, None when none is."""
        with self._lock:
            return min(self._unsettled.values(), default=None)

    def stacks_below(self, folder: str) -> list[str]:
        """Return the known stacks in or below a folder (named as stacks are)."""
        with self._lock:
            return [stack for stack in self._known if stack == folder or stack.startswith(f"{folder}/")]

    def has(self, stack: str) -> bool:
        """Whether the stack's contract was there when it was last looked at, and is not confirmed gone."""
        with self._lock:
            return stack in self._known

    def is_empty(self) -> bool:
        """Whether no stack is known."""
        with self._lock:
            return not self._known

    def diff_scan(self, scan: ScanResult) -> tuple[list[str], list[str]]:
        """Return the stacks that a scan saw as new or changed, and those it could have seen and did not.

        A scan is older than the events that came while it ran, so both are to be looked at again, and the
        second not at once: an editor replaces a file by removing it first.
        """
        with self._lock:
            changed = [stack for stack, seen in scan.files.items() if self._known.get(stack) != seen.fingerprint]
            absent = self._known.keys() - scan.files.keys() - self._unsettled.keys()
        return changed, sorted(stack for stack in absent if not scan.may_hide(stack))

"""Writes what changed to the records, a little later and in one go, so that no save waits for a disk."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.status.board import HISTORY_LENGTH
from hostk8s_agent.status.model import StackStatus, render_json
from hostk8s_agent.status.records import Records, StackRecord

if TYPE_CHECKING:
    from hostk8s_agent.status.board import Event
    from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey

log = structlog.get_logger()

FLUSH_DELAY_SECONDS = 0.5
RETRY_DELAY_SECONDS = 10.0


class Recorder:
    """Thread-safe. What is recorded and not yet flushed is lost by a crash: the next start finds it out anew."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._changed: dict[str, tuple[StackStatus, bytes] | None] = {}
        self._facts: dict[str, str] = {}
        self._inventory: dict[InventoryKey, InventoryEntry | None] = {}
        self._events: deque[Event] = deque(maxlen=HISTORY_LENGTH)
        self._last_sequence: int | None = None
        self._wake = threading.Condition()
        self._is_stopping = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and close the records."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._flush()
        self._release_sequences()
        self._records.close()

    def record(self, status: StackStatus, contract_text: bytes) -> None:
        """Record a stack's status and the text of its contract in force."""
        self._put(status.name, (status, contract_text))

    def forget(self, stack: str) -> None:
        """Record that nothing is left of a stack."""
        self._put(stack, None)

    def record_fact(self, name: str, value: str) -> None:
        """Record one fact of the whole workspace."""
        with self._wake:
            self._facts[name] = value
            self._wake.notify()

    def record_inventory(self, key: InventoryKey, entry: InventoryEntry | None) -> None:
        """Record one entry of the inventory, None when it is gone."""
        with self._wake:
            self._inventory[key] = entry
            self._wake.notify()

    def record_event(self, event: Event) -> None:
        """Record one event. Returns at once."""
        with self._wake:
            self._events.append(event)
            self._wake.notify()

    def release_sequences(self, last_sequence: int) -> None:
        """Say, before `stop`, which number was the last: no other was used, so that no gap is left."""
        self._last_sequence = last_sequence

    def _put(self, stack: str, change: tuple[StackStatus, bytes] | None) -> None:
        with self._wake:
            self._changed[stack] = change
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._is_stopping or self._has_changes())
                if self._is_stopping:
                    return
                # Gather what follows closely: a cold start of a thousand stacks is then a few writes.
                delay_seconds = RETRY_DELAY_SECONDS if self._is_failing else FLUSH_DELAY_SECONDS
                self._wake.wait_for(lambda: self._is_stopping, delay_seconds)
            try:
                self._flush()
            except Exception:
                # A status that cannot be rendered must not end the memory of all others.
                log.exception("records.crashed")

    def _has_changes(self) -> bool:
        return bool(self._changed or self._facts or self._inventory or self._events)

    def _flush(self) -> None:
        with self._wake:
            changed, self._changed = self._changed, {}
            facts, self._facts = self._facts, {}
            inventory, self._inventory = self._inventory, {}
            events = tuple(self._events)
            self._events.clear()
        try:
            # The inventory first: what was applied must be known even if nothing else is.
            if inventory:
                self._records.save_inventory(
                    [entry for entry in inventory.values() if entry is not None],
                    [key for key, entry in inventory.items() if entry is None],
                )
            if events:
                self._records.save_events(events)
            if facts:
                self._records.save_facts(facts)
            if changed:
                self._records.save_stacks(
                    [
                        StackRecord(name, render_json(status), text)
                        for name, (status, text) in ((n, c) for n, c in changed.items() if c is not None)
                    ],
                    [name for name, change in changed.items() if change is None],
                )
        except sqlite3.Error as error:
            # The records make restarts and `status` better; the agent's work does not depend on them.
            if not self._is_failing:
                log.warning("records.unwritable", path=str(self._records.path), reason=str(error))
            self._is_failing = True
            with self._wake:
                self._changed = {**changed, **self._changed}
                self._facts = {**facts, **self._facts}
                self._inventory = {**inventory, **self._inventory}
                self._events = deque((*events, *self._events), maxlen=HISTORY_LENGTH)
        else:
            self._is_failing = False

    def _release_sequences(self) -> None:
        if self._last_sequence is None:
            return
        try:
            self._records.release_sequences(self._last_sequence)
        except sqlite3.Error as error:
            # Then the next agent begins behind the block that was reserved.
            log.warning("records.unwritable", path=str(self._records.path), reason=str(error))

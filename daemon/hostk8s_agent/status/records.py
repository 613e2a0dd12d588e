"""The last known state on disk, so that a restart and `status` without an agent know what was true.

One SQLite file: a change is a transaction, so that a crash leaves the old state or the new one. It costs
what changed, not what is known.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostk8s_agent.errors import AgentError
from hostk8s_agent.status.history import (
    HISTORY_SCHEMA,
    RESERVED_AHEAD,
    History,
    load_history,
    reserve_sequences,
    save_events,
)
from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey, find_past_inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hostk8s_agent.status.board import Event

FORMAT_VERSION = 2
DATABASE_NAME = "state.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stacks (
    name TEXT PRIMARY KEY,
    status TEXT NOT NULL,          -- the stack's JSON, as /v1/stacks/NAME shows it
    contract BLOB NOT NULL         -- the text of the last good contract, empty when there never was one
);
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS inventory (
    stack TEXT NOT NULL,
    kind TEXT NOT NULL,            -- PersistentVolume, StorageClass or Directory
    name TEXT NOT NULL,            -- the object's name, or the directory's path
    uid TEXT NOT NULL,             -- of the object as it was last seen applied, else empty
    recorded_at REAL NOT NULL,     -- seconds since the epoch
    unwanted_since REAL,           -- the same; null while the stack's contract asks for it
    PRIMARY KEY (stack, kind, name)
);
"""


class RecordsError(AgentError):
    """The records cannot be used."""

    code = "RecordsUnusable"


@dataclass(frozen=True, slots=True)
class StackRecord:
    """One stack as it was last known: `status` is its JSON, `contract` the text of the last good contract."""

    name: str
    status: Mapping[str, Any]
    contract: bytes


class Records:
    """The database of one workspace. Used from one thread at a time; the caller sees to that."""

    def __init__(self, folder: Path, *, is_kept: bool = True) -> None:
        """Open the records in `folder`, made where it is missing; a damaged file is moved aside and begun anew.

        With `is_kept` False what is known is read, and nothing is written. Raises `RecordsError` when the folder
        cannot be used, or when a newer agent wrote the records. `damage` says in words that a file was moved aside.
        """
        self.path = folder / DATABASE_NAME
        self.damage = ""
        self._is_kept = is_kept
        self._reserved = 0
        try:
            if is_kept:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise RecordsError(
                f"the state folder {folder} cannot be used: {error}",
                hint="make it a folder that the agent may write to, or set XDG_STATE_HOME to one",
            ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            # What it held is found out anew by the next runs; the file stays for whoever wants to know.
            aside = self.path.with_name(f"{DATABASE_NAME}.damaged")
            self.damage = f"{self.path} is damaged ({error}) and kept as {aside.name}"
            if self._is_kept:
                self.path.replace(aside)
            return self._connect(is_new=True)

    def _connect(self, *, is_new: bool = False) -> sqlite3.Connection:
        is_on_disk = self._is_kept or (self.path.exists() and not is_new)
        connection = sqlite3.connect(
            self.path if is_on_disk else ":memory:", check_same_thread=False, isolation_level=None
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            self._require_known(version)
            if not self._is_kept:
                connection = _copy_into_memory(connection)
            connection.executescript(_SCHEMA + HISTORY_SCHEMA)
            if version == 1:
                _migrate_from_1(connection)
            connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_known(self, version: int) -> None:
        if version > FORMAT_VERSION:
            raise RecordsError(
                f"{self.path} has format {version}, this agent knows {FORMAT_VERSION}",
                hint="use the newer agent again, or move the file away: what it holds is found out anew",
            )

    def save_stacks(self, records: Iterable[StackRecord], removed: Iterable[str]) -> None:
        """Write the records and forget the removed stacks, in one transaction."""
        if not self._is_kept:
            return
        rows = [(record.name, json.dumps(record.status), record.contract) for record in records]
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO stacks VALUES (?, ?, ?)", rows)
            self._connection.executemany("DELETE FROM stacks WHERE name = ?", [(name,) for name in removed])

    def load_stacks(self) -> dict[str, StackRecord]:
        """Return every stack's record by name."""
        rows = self._connection.execute("SELECT name, status, contract FROM stacks").fetchall()
        return {name: StackRecord(name, json.loads(status), bytes(contract)) for name, status, contract in rows}

    def save_facts(self, facts: Mapping[str, str]) -> None:
        """Write facts, such as the engine's ID that this workspace used, in one transaction."""
        if not self._is_kept:
            return
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def load_facts(self) -> dict[str, str]:
        """Return every fact by name."""
        return dict(self._connection.execute("SELECT name, value FROM facts").fetchall())

    def save_inventory(self, entries: Iterable[InventoryEntry], removed: Iterable[InventoryKey]) -> None:
        """Write the entries and forget the removed ones, in one transaction."""
        if not self._is_kept:
            return
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            _insert_inventory(self._connection, entries)
            self._connection.executemany(
                "DELETE FROM inventory WHERE stack = ? AND kind = ? AND name = ?", [tuple(key) for key in removed]
            )

    def load_inventory(self) -> tuple[InventoryEntry, ...]:
        """Return all entries of the inventory."""
        columns = "stack, kind, name, uid, recorded_at, unwanted_since"
        rows = self._connection.execute(f"SELECT {columns} FROM inventory").fetchall()  # noqa: S608 - constants
        return tuple(InventoryEntry(InventoryKey(stack, kind, name), *rest) for stack, kind, name, *rest in rows)

    def load_history(self) -> History:
        """Return what happened under earlier agents, and reserve the numbers of the first events of this one."""
        history = load_history(self._connection)
        try:
            self._reserve(history.last_sequence + RESERVED_AHEAD)
        except sqlite3.Error:
            # A full disk: the first events that can be written reserve their numbers.
            self._reserved = history.last_sequence
        return history

    def save_events(self, events: Sequence[Event]) -> None:
        """Write events, and reserve more numbers where they come to an end. `events` are in order, never empty."""
        if not self._is_kept:
            return
        last = events[-1].sequence
        if last > self._reserved - RESERVED_AHEAD // 2:
            self._reserve(last + RESERVED_AHEAD)
        save_events(self._connection, events)

    def release_sequences(self, last_sequence: int) -> None:
        """Say that no number beyond this one was used: nobody records any more."""
        self._reserve(last_sequence)

    def _reserve(self, up_to: int) -> None:
        if self._is_kept:
            reserve_sequences(self._connection, up_to)
        self._reserved = up_to

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()


def _insert_inventory(connection: sqlite3.Connection, entries: Iterable[InventoryEntry]) -> None:
    rows = [(*one.key, one.uid, one.recorded_at, one.unwanted_since) for one in entries]
    connection.executemany("INSERT OR REPLACE INTO inventory VALUES (?, ?, ?, ?, ?, ?)", rows)


def _migrate_from_1(connection: sqlite3.Connection) -> None:
    """Fill the inventory, which format 1 did not have, from what was known of each stack."""
    rows = connection.execute("SELECT name, status FROM stacks").fetchall()
    _insert_inventory(connection, find_past_inventory({name: json.loads(status) for name, status in rows}))


def _copy_into_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy that can be migrated without a trace on disk; the original is closed."""
    copy = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    with closing(connection):
        connection.backup(copy)
    return copy


def find_holders(known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Given each stack's status as JSON, return which stack held which path and PersistentVolume."""
    held: dict[str, str] = {}
    for name, status in known.items():
        held |= {part["path"]: name for part in status.get("directories", ()) if part.get("state") == "Ready"}
        volumes = (part for part in status.get("volumes", ()) if part.get("phase") and part.get("state") != "Blocked")
        held |= {part["name"]: name for part in volumes}
    return held


def load_last_known(database: Path) -> dict[str, dict[str, Any]]:
    """Return each stack's last known status as JSON; empty when there is no readable database.

    Nothing is changed, but that what a crash left half written is taken back (SQLite's hot journal), which a
    connection that may not write could not do.
    """
    if not database.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            rows = connection.execute("SELECT name, status FROM stacks").fetchall()
            return {name: json.loads(status) for name, status in rows}
    except (sqlite3.Error, ValueError):
        return {}

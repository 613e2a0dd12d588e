"""What happened, on disk: the last events of the workspace, with numbers that no restart gives twice.

The numbers are reserved in blocks ahead of their use: after a crash the next agent begins behind the block, so that a
follower never sees one number for two events. An orderly stop gives the rest of the block back.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from hostk8s_agent.status.board import HISTORY_LENGTH, Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HISTORY_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    type TEXT NOT NULL,
    stack TEXT NOT NULL,
    message TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    reason TEXT NOT NULL
);
"""
RESERVED_AHEAD = 1_000
_RESERVED = "events.reserved"
_COLUMNS = ", ".join(field.name for field in fields(Event))


@dataclass(frozen=True, slots=True)
class History:
    """The events of earlier agents, oldest first, and the number after which this agent's begin."""

    events: tuple[Event, ...] = ()
    last_sequence: int = 0


def load_history(connection: sqlite3.Connection) -> History:
    """Return what the database holds; the numbers that were reserved count as used."""
    events = _load_events(connection)
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (_RESERVED,)).fetchone()
    last = events[-1].sequence if events else 0
    return History(events, max(last, int(row[0]) if row else 0))


def save_events(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Write events and forget the oldest beyond the last 1,000, in one transaction."""
    marks = ", ".join("?" * len(fields(Event)))
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            f"INSERT OR REPLACE INTO events ({_COLUMNS}) VALUES ({marks})",  # noqa: S608 - the columns are the class's
            [astuple(event) for event in events],
        )
        connection.execute(
            "DELETE FROM events WHERE sequence <= "
            "(SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
            (HISTORY_LENGTH,),
        )


def reserve_sequences(connection: sqlite3.Connection, up_to: int) -> None:
    """Say that numbers up to this one may be in use already."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_RESERVED, str(up_to)))


def load_last_events(database: Path) -> tuple[Event, ...]:
    """Return the events that an agent left, oldest first; none when there is no readable database.

    Nothing is changed, but that what a crash left half written is taken back (SQLite's hot journal).
    """
    if not database.is_file():
        return ()
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            return _load_events(connection)
    except (sqlite3.Error, ValueError):
        return ()


def _load_events(connection: sqlite3.Connection) -> tuple[Event, ...]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM events ORDER BY sequence").fetchall()  # noqa: S608 - the same
    return tuple(Event(*row) for row in rows)

"""The history: what happened survives restarts and crashes, is bounded, and never has one number twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hostk8s_agent.errors import Problem
from hostk8s_agent.reconcile.recording import Recorder
from hostk8s_agent.status.board import Event, StatusBoard
from hostk8s_agent.status.history import RESERVED_AHEAD, load_last_events
from hostk8s_agent.status.model import StackStatus, VolumeStatus
from hostk8s_agent.status.records import DATABASE_NAME, Records

READY = StackStatus("sample", "f", "Ready", "well")
BLOCKED = StackStatus(
    "sample",
    "f",
    "Blocked",
    "it is foreign",
    volumes=(VolumeStatus("hostk8s-sample-one-pv", "one", "", "fast", "1Gi", "", "Blocked"),),
    problems=(Problem("ObjectForeign", "it is foreign", "delete it"),),
)


class Life:
    """An agent's board and recorder on a state folder, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        records = Records(folder)
        history = records.load_history()
        self.recorder = Recorder(records)
        self.recorder.start()
        self.board = StatusBoard(
            past=history.events, last_sequence=history.last_sequence, listeners=(self.recorder.record_event,)
        )

    def stop(self) -> None:
        """End as an agent does that is asked to."""
        self.recorder.release_sequences(self.board.last_sequence)
        self.recorder.stop()

    def crash(self) -> None:
        """End without a word to anyone, but for what is on disk."""
        self.recorder.stop()


def test_what_happened_is_known_after_a_restart(tmp_path: Path) -> None:
    """Events come back with all their fields, and the numbers go on where they ended."""
    life = Life(tmp_path)
    life.board.record_event(
        "drift", "put back", "sample", subject="PersistentVolume/a", reason="DriftRepaired", is_warning=True
    )
    before = life.board.history()
    life.stop()
    again = Life(tmp_path)
    again.board.record_event("pruned", "gone", "sample")
    assert again.board.history()[:-1] == before
    assert [one.sequence for one in again.board.history()] == [1, 2]
    assert (before[0].severity, before[0].subject, before[0].reason) == (
        "Warning",
        "PersistentVolume/a",
        "DriftRepaired",
    )
    again.stop()
    assert [one.message for one in load_last_events(tmp_path / DATABASE_NAME)] == ["put back", "gone"]


def test_no_number_is_given_twice_after_a_crash(tmp_path: Path) -> None:
    """A follower may have seen an event that the disk never did: its number is not another's."""
    life = Life(tmp_path)
    life.board.record_event("drift", "seen by a follower, and lost")
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        life.crash()
        connection.execute("DELETE FROM events")
        connection.commit()
    again = Life(tmp_path)
    again.board.record_event("drift", "the next")
    [event] = again.board.history()
    assert event.sequence == RESERVED_AHEAD + 1
    again.stop()


def test_the_last_thousand_are_kept(tmp_path: Path) -> None:
    """The disk is bounded, and so is the memory; the newest are what a person asks for."""
    life = Life(tmp_path)
    for number in range(2_500):
        life.board.record_event("drift", str(number))
    life.stop()
    kept = load_last_events(tmp_path / DATABASE_NAME)
    assert (len(kept), kept[0].message, kept[-1].message) == (1_000, "1500", "2499")
    again = Life(tmp_path)
    assert again.board.history() == kept
    assert again.board.last_sequence == 2_500
    again.crash()
    # More numbers than were reserved at the start were used: the next agent begins behind them.
    third = Life(tmp_path)
    assert third.board.last_sequence == 2_500 + RESERVED_AHEAD
    third.crash()


def test_a_disk_without_space_loses_no_event_for_good(tmp_path: Path) -> None:
    """What could not be written is kept, and written when there is space again."""
    records = Records(tmp_path)
    recorder = Recorder(records)
    board = StatusBoard(listeners=(recorder.record_event,))
    records._connection.execute("PRAGMA max_page_count=1")
    for number in range(300):
        board.record_event("drift", f"{number} {'x' * 100}")
    recorder._flush()
    assert load_last_events(tmp_path / DATABASE_NAME) == ()
    records._connection.execute("PRAGMA max_page_count=100000")
    recorder.stop()
    assert load_last_events(tmp_path / DATABASE_NAME) == board.history()


def test_mere_changes_of_state_are_followed_and_not_kept() -> None:
    """A thousand stacks that wait for Docker, and then are Ready again, leave the history as it was."""
    board = StatusBoard()
    board.update_stack(replace(READY, state="Pending", message="Docker is away"))
    board.update_stack(READY)
    assert [one.type for one in board.events_after(0, 0)] == ["stack.state", "stack.state"]
    assert board.history() == ()


def test_a_stack_that_is_held_back_is_told_once_and_its_recovery_too() -> None:
    """Whatever it waits for in between: neither is it held back anew, nor has it recovered by waiting."""
    board = StatusBoard()
    waiting = replace(READY, state="Pending", message="Docker is away")
    for status in (READY, BLOCKED, waiting, BLOCKED, waiting, READY, waiting, READY):
        board.update_stack(status)
    assert [(one.type, one.severity, one.reason, one.subject) for one in board.history()] == [
        ("blocked", "Warning", "ObjectForeign", "PersistentVolume/hostk8s-sample-one-pv"),
        ("recovered", "Normal", "Recovered", "PersistentVolume/hostk8s-sample-one-pv"),
    ]


def test_what_an_earlier_agent_told_is_no_news() -> None:
    """A restart with a stack that is still held back adds nothing; its recovery is told."""
    board = StatusBoard()
    board.remember(BLOCKED)
    board.update_stack(BLOCKED.as_unseen("not reconciled yet"))
    board.update_stack(BLOCKED)
    assert board.history() == ()
    board.update_stack(READY)
    assert [one.type for one in board.history()] == ["recovered"]


def test_a_history_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    """A command never fails for a state file that is not there, or not one."""
    assert load_last_events(tmp_path / DATABASE_NAME) == ()
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database at all")
    assert load_last_events(tmp_path / DATABASE_NAME) == ()


def test_records_of_an_agent_without_a_history_are_read(tmp_path: Path) -> None:
    """After an update the history begins empty, and what was known stays."""
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.executescript(
            "CREATE TABLE stacks (name TEXT PRIMARY KEY, status TEXT NOT NULL, contract BLOB NOT NULL);"
            "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
            "INSERT INTO facts VALUES ('cluster.uid', '1'); PRAGMA user_version=1;"
        )
    with closing(Records(tmp_path)) as records:
        assert records.load_history().events == ()
        records.save_events([Event(1, "2025-01-31T08:00:00.000Z", "drift", "", "put back")])
        assert records.load_facts()["cluster.uid"] == "1"


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_look_records_nothing(tmp_path: Path, *, is_kept: bool) -> None:
    """`plan` without an agent reserves no number and writes no event."""
    with closing(Records(tmp_path, is_kept=True)):
        pass
    with closing(Records(tmp_path, is_kept=is_kept)) as records:
        records.load_history()
        records.save_events([Event(1, "2025-01-31T08:00:00.000Z", "drift", "", "put back")])
    assert len(load_last_events(tmp_path / DATABASE_NAME)) == is_kept

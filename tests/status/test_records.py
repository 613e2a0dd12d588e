"""The records: what was known survives a restart, and a broken file costs nothing but that."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hostk8s_agent.reconcile.recording import Recorder
from hostk8s_agent.status.inventory import InventoryEntry, InventoryKey
from hostk8s_agent.status.model import StackStatus
from hostk8s_agent.status.records import DATABASE_NAME, Records, RecordsError, StackRecord, load_last_known

SAMPLE = StackRecord("sample", {"name": "sample", "state": "Ready"}, b"apiVersion: hostk8s.io/v1\n")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Statuses, contract texts and facts come back as they were."""
    with closing(Records(tmp_path / "state")) as records:
        records.save_stacks([SAMPLE, StackRecord("old", {}, b"")], removed=[])
        records.save_stacks([], removed=["old"])
        records.save_facts({"docker.engine_id": "ABC"})
    with closing(Records(tmp_path / "state")) as records:
        assert records.load_stacks() == {"sample": SAMPLE}
        assert records.load_facts() == {"docker.engine_id": "ABC"}


def test_a_command_reads_what_the_agent_last_knew(tmp_path: Path) -> None:
    """`status` without an agent has the last known state, also while an agent writes."""
    with closing(Records(tmp_path)) as records:
        records.save_stacks([SAMPLE], removed=[])
        assert load_last_known(tmp_path / DATABASE_NAME) == {"sample": dict(SAMPLE.status)}


def test_no_records_and_broken_records_are_nothing_known(tmp_path: Path) -> None:
    """A command never fails for a state file that is not there or not one."""
    assert load_last_known(tmp_path / DATABASE_NAME) == {}
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database at all")
    assert load_last_known(tmp_path / DATABASE_NAME) == {}


def test_records_of_a_newer_agent_are_refused(tmp_path: Path) -> None:
    """An older agent must not write into a format that it does not know."""
    with closing(Records(tmp_path)):
        pass
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(RecordsError, match="has format 99"):
        Records(tmp_path)


def test_the_recorder_writes_what_is_left_when_it_stops(tmp_path: Path) -> None:
    """An orderly stop loses nothing."""
    recorder = Recorder(Records(tmp_path))
    recorder.start()
    recorder.record(StackStatus("a", "f", "Ready", "well"), b"text")
    recorder.record(StackStatus("b", "f", "Ready", "well"), b"")
    recorder.forget("b")
    recorder.record_fact("cluster.uid", "1-2-3")
    recorder.stop()
    with closing(Records(tmp_path)) as records:
        loaded = records.load_stacks()
        assert {name: record.contract for name, record in loaded.items()} == {"a": b"text"}
        assert loaded["a"].status["message"] == "well"
        assert records.load_facts() == {"cluster.uid": "1-2-3"}


def test_damaged_records_are_moved_aside_and_begun_anew(tmp_path: Path) -> None:
    """The records make restarts better; the agent's work must not depend on them."""
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database at all" * 100)
    with closing(Records(tmp_path)) as records:
        assert "damaged" in records.damage
        records.save_stacks([SAMPLE], removed=[])
        assert records.load_stacks() == {"sample": SAMPLE}
    assert (tmp_path / f"{DATABASE_NAME}.damaged").read_bytes().startswith(b"not a database")


def test_a_state_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The person is told which folder, and what to set."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RecordsError) as raised:
        Records(tmp_path / "file/state")
    assert str(tmp_path / "file/state") in raised.value.message
    assert "XDG_STATE_HOME" in raised.value.hint


def test_a_look_leaves_no_trace(tmp_path: Path) -> None:
    """`plan` without an agent changes nothing, not even a memory of what it saw."""
    with closing(Records(tmp_path / "state", is_kept=False)) as records:
        records.save_facts({"docker.engine_id": "ABC"})
        records.save_stacks([SAMPLE], removed=[])
        assert records.load_stacks() == {}
    assert not (tmp_path / "state").exists()


def test_the_inventory_survives_a_restart(tmp_path: Path) -> None:
    """What was applied is known after a stop, with since when nobody asks for it; what is gone is forgotten."""
    wanted = InventoryEntry(InventoryKey("a", "PersistentVolume", "hostk8s-a-b-pv"), "uid-1", 5.0)
    unwanted = InventoryEntry(InventoryKey("a/b", "Directory", "/mnt/pv/a"), "", 6.0, 7.5)
    gone = InventoryEntry(InventoryKey("a", "StorageClass", "fast"), "uid-2", 5.0)
    recorder = Recorder(Records(tmp_path))
    recorder.start()
    for entry in (wanted, unwanted, gone):
        recorder.record_inventory(entry.key, entry)
    recorder.record_inventory(gone.key, None)
    recorder.stop()
    with closing(Records(tmp_path)) as records:
        assert set(records.load_inventory()) == {wanted, unwanted}


FORMAT_1 = """
CREATE TABLE stacks (name TEXT PRIMARY KEY, status TEXT NOT NULL, contract BLOB NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version=1;
"""
PAST = """{"name": "a",
 "directories": [{"path": "/mnt/pv/a", "state": "Ready"}, {"path": "/mnt/pv/b", "state": "Pending"}],
 "volumes": [{"name": "hostk8s-a-b-pv", "storageClass": "fast", "phase": "Bound", "state": "Ready"},
             {"name": "hostk8s-a-c-pv", "storageClass": "slow", "phase": "Bound", "state": "Blocked"}]}"""


def test_records_of_the_first_format_are_taken_over(tmp_path: Path) -> None:
    """An agent that is updated knows what its predecessor applied: without that, nothing of it would ever be pruned."""
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.executescript(FORMAT_1)
        connection.execute("INSERT INTO stacks VALUES ('a', ?, ?)", (PAST, b"text"))
        connection.commit()
    expected = {
        InventoryKey("a", "Directory", "/mnt/pv/a"),
        InventoryKey("a", "PersistentVolume", "hostk8s-a-b-pv"),
        InventoryKey("a", "StorageClass", "fast"),
    }
    before = (tmp_path / DATABASE_NAME).read_bytes()
    with closing(Records(tmp_path, is_kept=False)) as records:
        assert {entry.key for entry in records.load_inventory()} == expected
    assert (tmp_path / DATABASE_NAME).read_bytes() == before, "a look changed the file"
    for _ in range(2):
        with closing(Records(tmp_path)) as records:
            assert {entry.key for entry in records.load_inventory()} == expected
            assert records.load_stacks()["a"].contract == b"text"

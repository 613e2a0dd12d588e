"""Drift through whole runs: put back, told with who and when, and left alone when it becomes a war."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.reconcile.test_stack import Bench, ServerAwayError, cluster_of, volume_of

from hostk8s_agent.plan.desired import ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory
from hostk8s_agent.reconcile.drift import DRIFT_SHOWN, Memory
from hostk8s_agent.status.model import DriftStatus, render_json
from hostk8s_agent.status.records import StackRecord

PATH = "/mnt/pv/sample/one"
VOLUME = ObjectKey("PersistentVolume", "hostk8s-sample-one-pv")
SUBJECT = "PersistentVolume/hostk8s-sample-one-pv"
CAPACITY = "spec.capacity.storage"
EDITOR = FieldManager("kubectl-edit", "Update", {"f:spec": {"f:capacity": {"f:storage": {}}}})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench with the stack `sample` in place."""
    bench = Bench(tmp_path / "workspace")
    bench.save("sample")
    assert bench.run("sample").state == "Ready"
    return bench


def edit(bench: Bench, size: str = "9Gi", version: int = 2) -> None:
    """Somebody edits the volume's size."""
    objects = cluster_of(bench).objects
    found = objects[VOLUME]
    manifest = {**found.manifest, "spec": {**found.manifest["spec"], "capacity": {"storage": size}}}
    managers = (*found.managers, EDITOR)
    objects[VOLUME] = replace(found, manifest=manifest, resource_version=str(version), managers=managers)


def events(bench: Bench) -> list[tuple[str, str, str]]:
    """What the history has, but for what was made at first."""
    return [(one.type, one.subject, one.message) for one in bench.board.history()][1:]


def test_an_edit_is_put_back_and_told_with_its_manager_and_time(bench: Bench) -> None:
    """`status` says what, when and who, and the history too."""
    edit(bench)
    status = bench.run("sample")
    assert status.state == "Ready"
    assert cluster_of(bench).objects[VOLUME].manifest["spec"]["capacity"] == {"storage": "1Gi"}
    assert status.drift == (DriftStatus(SUBJECT, CAPACITY, "1Gi", "9Gi", "kubectl-edit", "2096-10-02T07:06:40.000Z"),)
    message = f"{SUBJECT}: {CAPACITY} was changed to 9Gi by kubectl-edit, and is 1Gi again"
    assert events(bench) == [("drift", SUBJECT, message)]


def test_what_was_made_for_the_contract_is_told_as_that(bench: Bench) -> None:
    """A first run and a change of the contract are no drift."""
    [made] = bench.board.history()
    assert (made.type, made.message) == ("reconciled", f"made or changed: {PATH}, StorageClass/fast, {SUBJECT}")
    file = bench.workspace.contract_path("sample")
    file.write_text(file.read_text(encoding="utf-8").replace("1Gi", "2Gi"), encoding="utf-8")
    status = bench.run("sample")
    assert (status.drift, events(bench)) == ((), [("reconciled", "", f"made or changed: {SUBJECT}")])


def test_what_somebody_removed_is_made_again_and_told(bench: Bench) -> None:
    """A directory and an object; nobody says who removed them."""
    del cluster_of(bench).objects[VOLUME]
    del volume_of(bench).entries[PATH]
    status = bench.run("sample")
    assert status.state == "Ready"
    assert [(one.object, one.field, one.observed, one.manager) for one in status.drift] == [
        (PATH, "existence", None, ""),
        (SUBJECT, "existence", None, ""),
    ]
    assert [message for _, _, message in events(bench)] == [
        f"{PATH}: it was removed, and is made again",
        f"{SUBJECT}: it was removed, and is made again",
    ]


def test_a_directorys_owner_and_mode_are_put_back(bench: Bench) -> None:
    """Within one resync: nothing tells of them but the next look."""
    volume_of(bench).entries[PATH] = ObservedDirectory(PATH, "directory", 0, 0, 0o777)
    assert [(one.field, one.observed) for one in bench.run("sample").drift] == [
        ("owner", "0:0"),
        ("permissions", "777"),
    ]


def test_a_repair_that_fails_is_told_when_it_succeeds(bench: Bench) -> None:
    """What is still wrong was not put back."""
    edit(bench)
    cluster_of(bench).refuses[VOLUME.name] = ServerAwayError("it went away")
    assert bench.run("sample").drift == ()
    cluster_of(bench).refuses.clear()
    assert len(bench.run("sample").drift) == 1
    assert [one[0] for one in events(bench)] == ["drift"]


def test_a_re_created_cluster_is_no_drift(bench: Bench) -> None:
    """Nobody has removed anything there: it never was."""
    cluster_of(bench).objects.clear()
    bench.where["cluster"] = "another"
    assert bench.run("sample").drift == ()
    assert [one[0] for one in events(bench)] == ["reconciled"]
    edit(bench)
    assert len(bench.run("sample").drift) == 1


def test_a_field_war_is_told_and_left_alone_and_tried_again(bench: Bench) -> None:
    """Five repairs within a minute; then the other one has it for five minutes, and the rest is looked after."""
    for version in range(5):
        edit(bench, version=version + 2)
        assert bench.run("sample").state == "Ready"
        bench.now += 1
    edit(bench, version=9)
    cluster_of(bench).applied.clear()
    result = bench.reconciler.reconcile("sample")
    status = bench.board.stack("sample")
    assert status is not None
    assert (status.state, [problem.code for problem in status.problems]) == ("Blocked", ["FieldWar"])
    assert "by kubectl-edit after it had been put back 5 times within a minute" in status.message
    assert (cluster_of(bench).applied, result.requeue_after_seconds) == ([], 300)
    bench.now += 10
    volume_of(bench).entries[PATH] = ObservedDirectory(PATH, "directory", 0, 0, 0o777)
    assert bench.run("sample").state == "Blocked"
    assert volume_of(bench).entries[PATH].mode == 0o755
    assert [one[0] for one in events(bench)] == [*["drift"] * 5, "drift.war", "blocked", "drift"]
    bench.now += 290
    assert bench.run("sample").state == "Ready"
    assert cluster_of(bench).objects[VOLUME].manifest["spec"]["capacity"] == {"storage": "1Gi"}


def test_the_contract_can_end_a_war(bench: Bench) -> None:
    """Whoever gives the contract the value that the other one wants is obeyed at once."""
    for version in range(6):
        edit(bench, version=version + 2)
        status = bench.run("sample")
    assert status.state == "Blocked"
    file = bench.workspace.contract_path("sample")
    file.write_text(file.read_text(encoding="utf-8").replace("1Gi", "5Gi"), encoding="utf-8")
    assert bench.run("sample").state == "Ready"
    assert cluster_of(bench).objects[VOLUME].manifest["spec"]["capacity"] == {"storage": "5Gi"}


def test_what_is_shown_is_bounded(bench: Bench) -> None:
    """The newest changes are shown; the history has the others."""
    for number in range(30):
        edit(bench, size=f"{number + 2}Gi", version=number + 2)
        bench.now += 60
        status = bench.run("sample")
    assert (len(status.drift), status.drift[-1].observed) == (DRIFT_SHOWN, "31Gi")


def test_a_contract_that_comes_back_is_new(bench: Bench) -> None:
    """What was pruned with the contract was removed by nobody else."""
    file = bench.workspace.contract_path("sample")
    text = file.read_text(encoding="utf-8")
    file.unlink()
    bench.reconciler.reconcile("sample")
    cluster_of(bench).objects.clear()
    file.write_text(text, encoding="utf-8")
    assert bench.run("sample").drift == ()


def test_what_happened_while_no_agent_ran_is_drift_all_the_same(bench: Bench, tmp_path: Path) -> None:
    """An agent knows what the one before it left in place: by the contract in force then, and what was Ready."""
    edit(bench)
    before = bench.run("sample")
    record = StackRecord("sample", render_json(before), bench.texts[-1])
    again = Bench(tmp_path / "workspace", Memory({"sample": record}, dict(bench.where)))
    again.volume, again.cluster = bench.volume, bench.cluster
    del cluster_of(again).objects[VOLUME]
    del cluster_of(again).objects[ObjectKey("StorageClass", "fast")]
    status = again.run("sample")
    assert [(one.object, one.field) for one in status.drift] == [
        (SUBJECT, CAPACITY),
        ("StorageClass/fast", "existence"),
        (SUBJECT, "existence"),
    ]


def test_an_earlier_agents_memory_that_is_no_contract_is_none(tmp_path: Path) -> None:
    """A stack that was never valid, or that another version judged otherwise, begins anew."""
    status = {"name": "sample", "file": "f", "state": "Invalid", "message": ""}
    bench = Bench(tmp_path / "workspace", Memory({"sample": StackRecord("sample", status, b"")}))
    bench.save("sample")
    assert bench.run("sample").drift == ()

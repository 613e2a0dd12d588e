"""A directory that a claim uses through another volume is nobody else's: no second volume leads there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.plan.desired import DesiredState, ObjectKey
from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory, ObservedObject, ObservedState
from hostk8s_agent.plan.occupying import explain_occupiers, find_occupiers
from hostk8s_agent.plan.planning import Constraints, plan_stack

DAGS = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-dags-pv")
LOGS = ObjectKey("PersistentVolume", "hostk8s-foundation-airflow-logs-pv")
OTHER = ObjectKey("PersistentVolume", "hostk8s-old-data-pv")


def held(key: ObjectKey, path: Any, **changes: Any) -> ObservedObject:
    """A volume of ours that a claim holds."""
    values: dict[str, Any] = {"phase": "Bound", "claim": "shop/db", "claim_uid": "9"}
    values["managers"] = (FieldManager("hostk8s-agent", "Apply"),)
    return ObservedObject(key, {"spec": {"hostPath": {"path": path}}}, "1", "7", **{**values, **changes})


@pytest.mark.parametrize("path", ["/mnt/pv/airflow/dags", "/mnt/pv/airflow/dags/inner", "/mnt/pv/airflow/dags//"])
def test_what_another_volume_of_ours_is_used_for_is_left(desired: DesiredState, path: str) -> None:
    """Of the stack that had the path before, or moved away from it in its contract and could not in the cluster."""
    found = find_occupiers(desired, {}, [held(OTHER, path)])
    assert {name: one.key for name, one in found.items()} == {"dags": OTHER}
    problem = explain_occupiers(found)["dags"]
    assert problem.code == "DirectoryInUse"
    assert "used by the claim shop/db through PersistentVolume/hostk8s-old-data-pv" in problem.message
    assert "kubectl -n shop delete pvc db" in problem.hint


def test_two_directories_that_swap_their_paths_wait_for_the_one_that_is_used(desired: DesiredState) -> None:
    """Else both volumes would lead to the directory of the one that Kubernetes lets nobody change."""
    existing = {
        DAGS: held(DAGS, "/mnt/pv/airflow/logs"),
        LOGS: held(LOGS, "/mnt/pv/airflow/dags", phase="Available", claim="", claim_uid=""),
    }
    assert list(find_occupiers(desired, existing, ())) == ["logs"]


def test_nobody_is_held_back_without_need(desired: DesiredState) -> None:
    """Not by what is free, foreign, elsewhere or leads nowhere, nor where the own volume leads there already."""
    own = {DAGS: held(DAGS, "/mnt/pv/airflow/dags")}
    others = [
        held(OTHER, "/mnt/pv/airflow/dags", phase="Released"),
        held(OTHER, "/mnt/pv/airflow/dags", phase="Available", claim_uid=""),
        held(OTHER, "/mnt/pv/airflow/dags", managers=(FieldManager("kubectl", "Update"),)),
        held(OTHER, "/mnt/pv/airflow/dags-of-others"),
        held(OTHER, None),
        replace(held(OTHER, ""), manifest={"spec": 7}),
        replace(held(OTHER, ""), manifest={"spec": {"hostPath": 7}}),
        held(LOGS, "/mnt/pv/airflow/logs/before"),
    ]
    assert find_occupiers(desired, {}, others) == {}
    assert find_occupiers(desired, own, [held(OTHER, "/mnt/pv/airflow/dags")]) == {}


def test_a_local_volume_that_leads_there_counts_as_well(desired: DesiredState) -> None:
    """It gives the directory to its claim just as one of the node's own paths does."""
    local = replace(held(OTHER, ""), manifest={"spec": {"local": {"path": "/mnt/pv/airflow/dags"}}})
    assert (local.path, list(find_occupiers(desired, {}, [local]))) == ("/mnt/pv/airflow/dags", ["dags"])


def test_neither_the_directory_nor_the_volume_is_touched(desired: DesiredState) -> None:
    """Its owner and mode are those that the pods of the other volume count on."""
    problems = explain_occupiers(find_occupiers(desired, {}, [held(OTHER, "/mnt/pv/airflow/dags")]))
    observed = {
        "/mnt/pv/airflow/dags": ObservedDirectory("/mnt/pv/airflow/dags", "directory", 0, 0, 0o700),
        "/mnt/pv/airflow/logs": ObservedDirectory("/mnt/pv/airflow/logs", "absent"),
    }
    plan = plan_stack(desired, ObservedState(observed, {}), Constraints(lost_conflicts=problems))
    assert [(type(one), one.path) for one in plan.directories] == [(CreateDirectory, "/mnt/pv/airflow/logs")]
    assert [one.key.name for one in plan.objects] == ["airflow", LOGS.name]
    assert [one.problem.code for one in plan.blocked] == ["DirectoryInUse"]

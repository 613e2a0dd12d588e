"""`explain`, the other shapes of `status`, and the plugin of kubectl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.cli.explain import explain_stack
from hostk8s_agent.cli.status_page import _find_protection
from hostk8s_agent.status.model import LeftDirectory, render_agent_status

pytestmark = pytest.mark.usefixtures("server")

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("stack", "foundation/airflow"), 0, ("stack foundation/airflow is Ready", "edit software/stacks/")),
        (("stack", "sample"), 1, ("is Blocked", "because the path /mnt/pv/airflow/logs is", "choose another path")),
        (("directory", "/mnt/pv/airflow/logs"), 0, ("asks for it as logs: owner 50000:0", "data in it stays")),
        (("directory", "foundation/airflow/logs"), 0, ("directory /mnt/pv/airflow/logs is Ready",)),
        (("pv", "hostk8s-foundation-airflow-logs-pv"), 0, ("Ready, Bound", "airflow/airflow-logs holds it")),
        (("pv", "hostk8s-sample-logs-pv"), 1, ("is Pending, not in the cluster", "choose another path")),
        (("pvc", "airflow/airflow-logs"), 0, ("is Bound", "hostk8s-foundation-airflow-logs-pv")),
        (("pvc", "airflow/other"), 1, ("held by no volume", "kubectl describe pvc --namespace airflow other")),
        (("pvc", "airflow-logs"), 0, ("pvc airflow/airflow-logs is Bound",)),
        (("pvc", "other"), 2, ("there is no claim 'other'", "name it as NAMESPACE/NAME")),
        (("pvc", "a/b/c"), 2, ("there is no claim 'a/b/c'",)),
        (("pvc", "airflow/"), 2, ("name it as NAMESPACE/NAME",)),
        (("pv", "hostk8s-sample-log-pv"), 2, ("there is no pv", "hostk8s-sample-logs-pv")),
    ],
)
def test_it_says_why_and_what_would_change_it(
    run: Callable[..., Any], arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    """In words, of what the agent tells; the exit code says whether it is well."""
    done = run("explain", *arguments)
    assert done.code == code
    assert all(one in done.out + done.err for one in words), done.out + done.err


def test_the_explanation_as_data(run: Callable[..., Any]) -> None:
    """Keys that a script can rely on."""
    document = json.loads(run("explain", "stack", "sample", "-o", "json").out)
    assert list(document) == ["kind", "name", "state", "because", "toChange", "isWell"]


def test_of_a_stack_that_is_gone_it_says_what_it_has_left(agent: Any) -> None:
    """Who deleted a contract asks after its stack, which the status shows no more."""
    left = LeftDirectory("old", "software/stacks/old/hostk8s.storage.yaml", "/mnt/pv/old", "2025-01-31T08:00:00.000Z")
    found = explain_stack(render_agent_status(replace(agent.status(), left_behind=(left,))), "old")
    assert (found.state, found.is_well) == ("gone", False)
    assert "nothing was changed in /mnt/pv/old since 2025-01-31T08:00:00.000Z" in found.because
    assert found.to_change[0] == f"bring {left.file} back, and it is used again"


def test_prune_confirmed_does_not_say_that_what_is_held_is_pruned(run: Callable[..., Any]) -> None:
    """All that is left is held by a claim: a person who confirms reads that nothing goes."""
    done = run("prune", "--confirm")
    assert (done.code, "nothing is pruned: all of it is held" in done.err) == (0, True)


def test_status_as_names_and_wide(run: Callable[..., Any]) -> None:
    """Names for xargs, nothing else; wide with the contract's file."""
    assert set(run("status", "-o", "name").out.split()) == {"foundation/airflow", "sample"}
    wide = run("status", "-o", "wide").out
    assert "CONTRACT" in wide
    assert "software/stacks/sample/hostk8s.storage.yaml" in wide


def test_a_stack_is_protected_since_its_oldest_verification() -> None:
    """One directory without a verified snapshot and the stack is not."""

    def protect(stack: str, *, at: str) -> dict[str, Any]:
        return {"stack": stack, "isProtected": bool(at), "lastVerifiedAt": at}

    told = [protect("a", at="2025-02-02"), protect("a", at="2025-02-01"), protect("b", at="2025-02-02")]
    document = {"snapshots": {"directories": [*told, protect("b", at="")]}}
    assert _find_protection(document) == {"a": "2025-02-01", "b": "no"}


def test_the_plugin_of_kubectl_is_the_same_program() -> None:
    """Kubectl finds `kubectl-hostk8s` on the PATH and hands it the words."""
    done = subprocess.run([BIN / "kubectl-hostk8s", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hostk8s-agent ")

"""`validate`, as a process of its own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.workspace import Workspace


def test_valid_contracts_are_zero(run: Callable[..., Any], write_contract: Callable[..., Path]) -> None:
    """Nothing on stdout, and how many were judged on stderr."""
    write_contract("foundation/airflow", path="/mnt/pv/a")
    write_contract("sample", path="/mnt/pv/b")
    assert run("validate") == type(run("validate"))(0, "", "2 contracts: no problem\n")


def test_problems_have_a_place_and_are_one(run: Callable[..., Any], write_contract: Callable[..., Path]) -> None:
    """All of them, each as file:line:column, relative to the workspace."""
    file = write_contract("sample", text="apiVersion: hostk8s.io/v1\nkind: X\nmetadata: {name: other}\nspec: {}\n")
    done = run("validate")
    assert done.code == 1
    assert done.err == f"1 contract: {len(done.out.splitlines())} problems\n"
    assert all(line.startswith("software/stacks/sample/hostk8s.storage.yaml:") for line in done.out.splitlines())
    problems = json.loads(run("validate", str(file), "-o", "json").out)
    assert {"KindUnknown", "NameMismatch"} <= {problem["code"] for problem in problems}
    assert all(set(problem) == {"code", "message", "hint", "file", "line", "column"} for problem in problems)
    assert yaml.safe_load(run("validate", str(file), "-o", "yaml").out) == problems


def test_contracts_are_judged_against_each_other(
    run: Callable[..., Any], write_contract: Callable[..., Path], workspace: Workspace
) -> None:
    """Two that claim one path are fine alone and not together, whether they are found or named."""
    one, two = write_contract("one"), write_contract("two")
    assert run("validate", str(one)).code == 0
    for arguments in ((), (str(one), str(two)), (str(workspace.stacks_root),)):
        problems = json.loads(run("validate", "-o", "json", *arguments).out)
        assert [problem["code"] for problem in problems] == ["PathConflict", "PathConflict"]


def test_a_contracts_name_is_that_of_its_folder_below_stacks_or_examples(
    run: Callable[..., Any], write_contract: Callable[..., Path], place: Path
) -> None:
    """Elsewhere nothing says what the name should be: then it is not compared, and that is said."""
    text = write_contract("foundation/airflow").read_text(encoding="utf-8")
    for folder, code in (("examples/foundation/airflow", 0), ("examples/airflow", 1), ("elsewhere/airflow", 0)):
        file = place / folder / "hostk8s.storage.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        for path in (file, file.parent):
            done = run("validate", str(path), cwd=place)
            assert (folder, done.code) == (folder, code), done
            assert ("not compared" in done.err) == folder.startswith("elsewhere")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("huge", "FileTooLarge"),
        ("fifo", "ContractFileNotRegular"),
        ("device", "ContractFileNotRegular"),
        ("folder", "ContractFileNotRegular"),
        ("dangling", "ContractFileMissing"),
        ("absent", "ContractFileMissing"),
    ],
)
def test_whatever_stands_at_the_path_is_survived(
    run: Callable[..., Any], write_contract: Callable[..., Path], kind: str, code: str
) -> None:
    """Never blocks, never reads without end, and tells it like any other problem."""
    write_contract("good")
    file = write_contract("bad")
    file.unlink()
    match kind:
        case "huge":
            with file.open("wb") as opened:
                opened.truncate(100_000_000)
        case "fifo":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case "dangling":
            file.symlink_to("nowhere")
    done = run("validate", str(file), "-o", "json")
    assert (done.code, [problem["code"] for problem in json.loads(done.out)]) == (1, [code])
    if kind != "absent":
        assert [problem["code"] for problem in json.loads(run("validate", "-o", "json").out)] == [code]


def test_a_folder_without_contracts_is_a_problem(run: Callable[..., Any], place: Path) -> None:
    """A typing error in a path must not look like a success."""
    done = run("validate", str(place / "ws"), "-o", "json")
    assert (done.code, json.loads(done.out)[0]["code"]) == (1, "NoContract")

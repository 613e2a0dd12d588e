"""`init` and `contract fix`: help with writing contracts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hostk8s_agent.cli.contract_fix import find_misread, quote

CONTRACT = """\
# A comment: 0755
apiVersion: hostk8s.io/v1\r
kind: StorageContract
metadata: {name: yes}   # a name
spec:
  directories:
    - name: 1
      permissions: 0755 # octal
      owner: 26:26
      size: 1Gi
      accessModes: [ReadWriteOnce]
      description: "0755"
  snapshots:
    keep: {last: 3, tags: [on]}
"""


@pytest.mark.parametrize("stack", ["postgres", "foundation/airflow"])
def test_a_first_contract_is_valid_and_known_to_editors(run: Callable[..., Any], workspace: Any, stack: str) -> None:
    """The schema that its first line names is there and takes it; a second time nothing is replaced."""
    done = run("init", stack)
    assert (done.code, done.out.strip()) == (0, f"software/stacks/{stack}/hostk8s.storage.yaml")
    file = workspace.contract_path(stack)
    text = file.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    schema = json.loads((file.parent / first.partition("=")[2]).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))
    assert run("validate").code == 0
    assert list(find_misread(text)) == []
    again = run("init", stack)
    assert (again.code, file.read_text(encoding="utf-8")) == (2, text)


def test_the_stack_is_found_by_the_folder(run: Callable[..., Any], workspace: Any) -> None:
    """As a person does who has made the folder first."""
    folder = workspace.stacks_root / "web"
    folder.mkdir(parents=True)
    assert run("init", cwd=folder).code == 0
    assert (folder / "hostk8s.storage.yaml").exists()
    assert "name the stack" in run("init").err


@pytest.mark.parametrize("stack", ["1", "yes", "0755"])
def test_a_stack_may_have_a_name_that_yaml_misreads(run: Callable[..., Any], workspace: Any, stack: str) -> None:
    """It stands in quotes then."""
    assert run("init", stack).code == 0
    text = workspace.contract_path(stack).read_text(encoding="utf-8")
    assert yaml.safe_load(text)["metadata"]["name"] == stack
    assert (run("contract", "fix", "--check").code, run("validate").code) == (0, 0)


def test_what_is_in_the_way_of_a_first_contract_is_told(run: Callable[..., Any], workspace: Any) -> None:
    """A file where the folder should be, and a link that leads nowhere where the contract should be."""
    (workspace.stacks_root / "web").write_text("", encoding="utf-8")
    (workspace.stacks_root / "linked").mkdir()
    (workspace.stacks_root / "linked/hostk8s.storage.yaml").symlink_to("nowhere")
    assert "cannot be written: " in run("init", "web").err
    assert "has its contract" in run("init", "linked").err
    assert not (workspace.stacks_root / "linked/nowhere").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\n---\nb: 2\n", ":2:1: a second YAML document starts here"),
        ("a: &a [x]\nname: *a\n", ":1:4: an anchor"),
        ("a: [\n", ":2:1: this is not valid YAML"),
        ("", ":1:1: the file says nothing"),
    ],
)
def test_what_cannot_be_fixed_is_told_with_its_place(
    run: Callable[..., Any], write_contract: Callable[..., Path], text: str, words: str
) -> None:
    """And not touched."""
    file = write_contract("one")
    file.write_text(text, encoding="utf-8")
    done = run("contract", "fix")
    assert (done.code, file.read_text(encoding="utf-8")) == (2, text)
    assert words in done.err
    assert "fault of hostk8s-agent" not in done.err


@pytest.mark.parametrize("stack", ["../../elsewhere", "Bad_Name", "/etc", "a//b", ""])
def test_a_name_that_cannot_be_is_refused(run: Callable[..., Any], workspace: Any, stack: str) -> None:
    """And nothing is written anywhere."""
    done = run("init", stack)
    assert (done.code, done.out) == (2, "")
    assert "fault of hostk8s-agent" not in done.err
    assert not list(workspace.root.rglob("hostk8s.storage.yaml"))


def test_only_what_yaml_misreads_is_quoted() -> None:
    """Comments, order, line ends and numbers that are numbers stay to the byte."""
    found = list(find_misread(CONTRACT))
    assert [(one.field, one.value) for one in found] == [
        ("name", "yes"),
        ("name", "1"),
        ("permissions", "0755"),
        ("owner", "26:26"),
        ("tags", "on"),
    ]
    fixed = quote(CONTRACT, found)
    expected = CONTRACT.replace("{name: yes}", '{name: "yes"}').replace("name: 1\n", 'name: "1"\n')
    expected = expected.replace("permissions: 0755", 'permissions: "0755"').replace("26:26", '"26:26"')
    assert fixed == expected.replace("[on]", '["on"]')
    assert list(find_misread(fixed)) == []


def test_files_are_fixed_and_checked(run: Callable[..., Any], write_contract: Callable[..., Path]) -> None:
    """--check tells and writes nothing; without it the file has its mode afterwards, and its quotes."""
    file = write_contract("one")
    text = file.read_text(encoding="utf-8") + "      permissions: 0750 # mine\n"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o640)
    checked = run("contract", "fix", "--check")
    assert (checked.code, file.read_text(encoding="utf-8")) == (1, text)
    assert "permissions: 0750 -> " in checked.out
    assert run("contract", "fix").code == 0
    assert file.read_text(encoding="utf-8") == text.replace("0750", '"0750"')
    assert file.stat().st_mode & 0o777 == 0o640
    assert run("contract", "fix", "--check").code == 0
    file.write_text("a: [", encoding="utf-8")
    assert run("contract", "fix").code == 2

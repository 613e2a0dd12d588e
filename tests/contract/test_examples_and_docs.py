"""The examples are valid and do not conflict, and docs/contract.md says what is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostk8s_agent.contract.conflicts import ClaimIndex
from hostk8s_agent.contract.fields import SHAPES, Field, Shape
from hostk8s_agent.contract.model import Contract
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.reading import Mapping, Node, Scalar, Sequence, read_document
from hostk8s_agent.contract.reporting import Report
from hostk8s_agent.contract.rules import MEANINGS, Code

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "contracts" / "examples"
REFERENCE = (ROOT / "docs" / "contract.md").read_text()


def load_examples() -> list[Contract]:
    """Return all examples, each as the contract of the stack that its folder is."""
    files = sorted(EXAMPLES.rglob("hostk8s.storage.yaml"))
    return [
        parse_contract(file.read_bytes(), file=str(file), stack=file.parent.relative_to(EXAMPLES).as_posix())
        for file in files
    ]


def test_the_examples_show_the_four_cases_and_live_together() -> None:
    """Copied into one workspace, they are a demo without a conflict."""
    contracts = {each.stack: each for each in load_examples()}
    index = ClaimIndex()
    for each in contracts.values():
        index.update(each)

    assert {"sample", "postgres", "foundation/airflow", "every-field"} == set(contracts)
    assert len(contracts["sample"].directories) == 1
    assert len({each.storage_class for each in contracts["postgres"].directories}) < len(
        contracts["postgres"].directories
    )
    assert [str(conflict.problem) for stack in contracts for conflict in index.conflicts_of(stack)] == []


def test_the_example_with_every_field_has_every_field() -> None:
    """Whoever adds a field adds it there."""
    file = EXAMPLES / "every-field" / "hostk8s.storage.yaml"
    written: set[str] = set()

    def walk(node: Node, path: str) -> None:
        if isinstance(node, Mapping):
            for key, value in node.pairs:
                field = f"{path}.{key.text}".lstrip(".")
                written.add(field)
                walk(value, field)
        elif isinstance(node, Sequence):
            for item in node.items:
                walk(item, f"{path}[]")
        else:
            assert isinstance(node, Scalar)

    walk(read_document(file.read_bytes(), Report("f.yaml")), "")

    known = {name_of(shape, field) for shape in SHAPES for field in shape.fields}
    assert known <= written


def name_of(shape: Shape, field: Field) -> str:
    """Return a field's full name: `spec.directories[].path`."""
    return f"{shape.path}.{field.name}".lstrip(".")


def row_of(shape: Shape, field: Field) -> str:
    """Return a field's row in the reference."""
    default = "required" if field.is_required else field.default or "none"
    return f"| `{name_of(shape, field)}` | {default} | {field.description} |"


@pytest.mark.parametrize(("shape", "field"), [(shape, field) for shape in SHAPES for field in shape.fields])
def test_the_reference_has_every_field(shape: Shape, field: Field) -> None:
    """With its default and its words."""
    assert row_of(shape, field) in REFERENCE.splitlines()


def test_the_reference_has_every_code_and_no_other() -> None:
    """In the order of the rules."""
    table = REFERENCE[REFERENCE.index("| code | meaning |") :].splitlines()[2:]
    rows = [line for line in table if line.startswith("|")]

    assert [f"| `{code}` | {meaning} |" for code, meaning in MEANINGS.items()] == rows
    assert list(Code) == list(MEANINGS)

"""The JSON Schema is made from the fields, and says of one value what the parser says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hostk8s_agent.contract.fields import SHAPES
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.contract.schema import render_schema
from hostk8s_agent.errors import ContractError

CONTRACTS = Path(__file__).parents[2] / "contracts"
VALIDATOR = Draft202012Validator(render_schema())
INVALID = {
    file.read_text().split(maxsplit=3)[2]: file
    for file in CONTRACTS.glob("invalid/*.yaml")
    if file.stem not in ("file-not-utf8", "file-not-text")
}

# What one value alone shows.
SEEN_BY_EDITORS = {
    Code.FIELD_UNKNOWN,
    Code.FIELD_MISSING,
    Code.FIELD_TYPE,
    Code.TOO_MANY_PROBLEMS,
    Code.API_VERSION_UNKNOWN,
    Code.KIND_UNKNOWN,
    Code.STACK_NAME_INVALID,
    Code.NAMESPACE_INVALID,
    Code.DIRECTORIES_EMPTY,
    Code.DIRECTORY_NAME_INVALID,
    Code.PATH_OUTSIDE_VOLUME,
    Code.PATH_CHARACTER_NOT_ALLOWED,
    Code.PATH_NOT_CLEAN,
    Code.QUANTITY_INVALID,
    Code.ACCESS_MODES_EMPTY,
    Code.ACCESS_MODE_UNKNOWN,
    Code.ACCESS_MODE_DUPLICATE,
    Code.STORAGE_CLASS_INVALID,
    Code.OWNER_INVALID,
    Code.PERMISSIONS_INVALID,
    Code.SCHEDULE_INVALID,
    Code.TIMEZONE_INVALID,
    Code.KEEP_INVALID,
    Code.QUIESCE_UNKNOWN,
}
# What needs the whole file, the folder's name, or arithmetic.
SEEN_BY_THE_AGENT_ALONE = {
    Code.NAME_MISMATCH,
    Code.DIRECTORY_NAME_DUPLICATE,
    Code.PATH_RESERVED,
    Code.PATH_TOO_LONG,
    Code.PATH_DUPLICATE,
    Code.PATH_NESTED,
    Code.SIZE_OUT_OF_RANGE,
    Code.ACCESS_MODE_NOT_ALONE,
    Code.SCHEDULE_NEVER_FIRES,
    Code.KEEPS_NOTHING,
}


def test_the_schema_file_is_the_schema_of_the_fields() -> None:
    """Whoever changes a field renders the file anew."""
    written = (CONTRACTS / "storage-contract.schema.json").read_text()

    assert written == json.dumps(render_schema(), indent=2) + "\n"


def test_the_schema_is_a_schema() -> None:
    """Of the draft that it names."""
    Draft202012Validator.check_schema(render_schema())


@pytest.mark.parametrize("file", sorted(CONTRACTS.glob("examples/**/*.yaml")), ids=lambda file: file.parent.name)
def test_the_examples_fit_the_schema(file: Path) -> None:
    """Else editors would mark them."""
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(file.read_bytes()))] == []


@pytest.mark.parametrize("code", sorted(SEEN_BY_EDITORS))
def test_editors_see_what_one_value_shows(code: Code) -> None:
    """While the file is being written."""
    assert list(VALIDATOR.iter_errors(yaml.safe_load(INVALID[code].read_bytes())))


@pytest.mark.parametrize("code", sorted(SEEN_BY_THE_AGENT_ALONE))
def test_the_schema_takes_what_only_the_agent_can_judge(code: Code) -> None:
    """No rule is half in the schema."""
    assert not list(VALIDATOR.iter_errors(yaml.safe_load(INVALID[code].read_bytes())))


def test_every_rule_about_values_is_judged_by_one_of_the_two() -> None:
    """What is left over concerns the file as such, or two contracts."""
    about_files = {code for code in Code if code.startswith(("File", "Yaml")) or code is Code.DUPLICATE_KEY}
    between_contracts = {Code.PATH_CONFLICT, Code.PERSISTENT_VOLUME_NAME_CONFLICT}

    assert set(Code) == SEEN_BY_EDITORS | SEEN_BY_THE_AGENT_ALONE | about_files | between_contracts


TEMPLATE = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata: {{name: sample, namespace: {namespace}, labels: {labels}}}
spec:
  directories:
    - name: {name}
      path: {path}
      size: {size}
      accessModes: {modes}
      storageClass: {storage_class}
      owner: {owner}
      permissions: {permissions}
      description: {description}
  snapshots: {snapshots}
"""


@given(
    st.fixed_dictionaries(
        {
            "namespace": st.sampled_from(["a", "~", "12", '"a-b"', "Null"]),
            "labels": st.sampled_from(["{a: b}", "{a: 1, b: true}", "~", "{}"]),
            "name": st.sampled_from(["data", "'x.y'", "2024", "1.5", "-"]),
            "path": st.sampled_from(["/mnt/pv/a", "/mnt/pv/.b/c..d", "/mnt/pv/..", "/mnt/pv/a+b@c:d"]),
            "size": st.sampled_from(["1Gi", "10", "1.5", "1e3", "'10'", "2.5e+3", "5.", "+7", "1E", "0.1Gi"]),
            "modes": st.sampled_from(["[ReadWriteOnce]", "[ReadWriteMany, ReadOnlyMany]", "[]"]),
            "storage_class": st.sampled_from(["s", "a.b", "7", "S"]),
            "owner": st.sampled_from(["26:26", "'26:26'", "~", "1000:1000", "26"]),
            "permissions": st.sampled_from(["755", "0755", "'0755'", "~", "2775", "0o755"]),
            "description": st.sampled_from(["text", "1", "~", "true", "1.5"]),
            "snapshots": st.sampled_from(
                [
                    "~",
                    "{}",
                    "{schedule: every 30m}",
                    "{schedule: off}",
                    "{schedule: 0 0 * * *}",
                    "{keep: {last: 3, daily: '7', weekly: ~}}",
                    "{quiesce: none, timezone: UTC}",
                    "{keep: {within: 2d}}",
                    "{keep: {tags: [v1, 2026, 'a,b']}}",
                    "{timezone: ~, quiesce: ~, keep: ~}",
                ]
            ),
        }
    )
)
@settings(max_examples=100, deadline=None)
def test_the_schema_takes_whatever_the_parser_takes(values: dict[str, str]) -> None:
    """However YAML types the values that people write without quotes."""
    content = TEMPLATE.format(**values).encode()
    assume(is_valid(content))

    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(content))] == []


def is_valid(content: bytes) -> bool:
    """Say whether the parser takes a contract."""
    try:
        parse_contract(content, file="f.yaml", stack="sample")
    except ContractError:
        return False
    return True


def test_every_field_has_words_and_all_but_the_lists_an_example() -> None:
    """They are what an editor shows."""
    for shape in SHAPES:
        for field in shape.fields:
            assert field.description.endswith(".")
            assert field.examples or field.shape is not None

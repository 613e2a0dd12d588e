"""Bytes to a contract: values, defaults, positions, digests, and that nothing but ContractError is ever raised."""

from __future__ import annotations

import posixpath
import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostk8s_agent.contract.model import Contract, Directory, KeepPolicy, Quiesce, SnapshotPolicy
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.reporting import Position
from hostk8s_agent.contract.schedules import IntervalSchedule
from hostk8s_agent.contract.values import Owner
from hostk8s_agent.errors import ContractError, Problem

SAMPLE = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: sample
  namespace: sample
spec:
  directories:
    - name: api-data
      path: /mnt/pv/api-data
      size: 1Gi
      accessModes: [ReadWriteOnce]
      storageClass: sample-storage
"""


def parse(text: str, *, stack: str = "sample") -> Contract:
    """Return the contract of a text."""
    return parse_contract(text.encode(), file="f.yaml", stack=stack)


def problems_of(text: str, *, stack: str = "sample") -> tuple[Problem, ...]:
    """Return what is wrong with a text."""
    with pytest.raises(ContractError) as raised:
        parse(text, stack=stack)
    return raised.value.problems


def places_of(text: str) -> list[tuple[str, int | None, int | None]]:
    """Return code, line and column of each problem of a text."""
    return [(problem.code, problem.line, problem.column) for problem in problems_of(text)]


def with_field(line: str) -> str:
    """Return the sample with one more line in its directory."""
    return f"{SAMPLE}      {line}\n"


def test_hostk8s_own_contract_is_read_with_its_defaults() -> None:
    """Every value, and where it stands."""
    directory = Directory(
        name="api-data",
        path="/mnt/pv/api-data",
        size="1Gi",
        size_bytes=2**30,
        access_modes=("ReadWriteOnce",),
        storage_class="sample-storage",
        owner=Owner(1000, 1000),
        permissions=0o755,
        position=Position(8, 7),
        path_position=Position(9, 13),
    )

    contract = parse(SAMPLE)

    assert Contract("sample", "sample", (directory,), None, "f.yaml", contract.digest) == contract
    assert (directory.line, directory.path_line) == (8, 9)
    assert contract.persistent_volume_name_of(directory) == "hostk8s-sample-api-data-pv"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("permissions: 755", 0o755),
        ("permissions: 0755", 0o755),
        ('permissions: "0755"', 0o755),
        ("permissions: '700'", 0o700),
        ("permissions: 2775", 0o2775),
        ("permissions: ~", 0o755),
        ("permissions:", 0o755),
    ],
)
def test_permissions_mean_what_is_written(line: str, expected: int) -> None:
    """Also where YAML 1.1 would read another number."""
    assert expected == parse(with_field(line)).directories[0].permissions


@pytest.mark.parametrize("line", ["owner: 26:26", 'owner: "26:26"', "owner: '26:26'", "owner: >-\n        26:26"])
def test_an_owner_means_what_is_written(line: str) -> None:
    """YAML 1.1 reads 26:26 as 1586, base 60."""
    assert Owner(26, 26) == parse(with_field(line)).directories[0].owner


def test_half_of_the_contracts_in_use_have_no_namespace() -> None:
    """So it may be left out, or left empty."""
    assert parse(SAMPLE.replace("  namespace: sample\n", "")).namespace is None
    assert parse(SAMPLE.replace("namespace: sample", "namespace:")).namespace is None


def test_numbers_are_names_too() -> None:
    """No quotes are needed: 2024 is a name that Kubernetes takes."""
    assert parse(SAMPLE.replace("name: api-data", "name: 2024")).directories[0].name == "2024"


def test_notes_for_people_are_let_through() -> None:
    """HostK8s' documentation once had component and description; labels and annotations are anyone's habit."""
    text = with_field("component: api\n      description: 12").replace(
        "  namespace: sample\n", "  labels: {a: b}\n  annotations:\n    c: 1\n"
    )

    assert parse(text).digest == parse(SAMPLE.replace("  namespace: sample\n", "")).digest


@pytest.mark.parametrize(
    ("line", "place"),
    [("labels: text", (5, 11)), ("labels: {a: [b]}", (5, 15)), ("annotations: [a]", (5, 16))],
)
def test_notes_must_still_be_text(line: str, place: tuple[int, int]) -> None:
    """Else another tool would choke on them."""
    assert [("ContractFieldType", *place)] == places_of(SAMPLE.replace("namespace: sample", line))


def test_snapshots_are_read() -> None:
    """Each field of the policy."""
    text = SAMPLE + (
        "  snapshots:\n    schedule: every 30m\n    timezone: Europe/Berlin\n    quiesce: hooks\n"
        "    keep: {last: 3, hourly: 24, daily: '7', weekly: 4, monthly: 6, yearly: 1, within: 2d, tags: [v1, 'a,b']}\n"
    )

    assert parse(text).snapshots == SnapshotPolicy(
        IntervalSchedule("every 30m", 1800),
        "Europe/Berlin",
        KeepPolicy(3, 24, 7, 4, 6, 1, 172800, ("v1", "a,b")),
        Quiesce.HOOKS,
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", None),
        ("  snapshots:\n", None),
        ("  snapshots: {}\n", SnapshotPolicy()),
        ("  snapshots: {keep: ~, quiesce: none}\n", SnapshotPolicy(quiesce=Quiesce.NONE)),
    ],
)
def test_what_snapshots_leave_out_is_left_to_the_settings(written: str, expected: SnapshotPolicy | None) -> None:
    """None, at each level."""
    assert expected == parse(SAMPLE + written).snapshots


def test_a_timezone_is_looked_up_where_the_names_are_known() -> None:
    """Without them only the form is checked."""
    content = f"{SAMPLE}  snapshots: {{timezone: Europe/Berlni}}\n".encode()

    assert parse_contract(content, file="f.yaml", stack="sample").snapshots == SnapshotPolicy(timezone="Europe/Berlni")
    with pytest.raises(ContractError) as raised:
        parse_contract(content, file="f.yaml", stack="sample", timezones={"Europe/Berlin", "UTC"})
    assert "did you mean Europe/Berlin?" in str(raised.value)
    right = content.replace(b"Berlni", b"Berlin")
    parse_contract(right, file="f.yaml", stack="sample", timezones={"Europe/Berlin", "UTC"})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("keep: {within: 2 days}", "KeepInvalid"),
        ("keep: {last: -1}", "KeepInvalid"),
        ("keep: []", "ContractFieldType"),
        ("keep: {last: [1]}", "ContractFieldType"),
        ("keep: {tags: release}", "ContractFieldType"),
        ("keep: {tags: [a b]}", "KeepInvalid"),
        ("keep: {tags: ['a,']}", "KeepInvalid"),
        ("keep: {tags: []}", "KeepsNothing"),
        ("quiesce: freez", "QuiesceUnknown"),
        ("timezone: ../../etc/passwd", "TimezoneInvalid"),
        ("timezone: " + "a" * 65, "TimezoneInvalid"),
        ("unknown: 1", "ContractFieldUnknown"),
    ],
)
def test_a_wrong_policy_is_one_problem(line: str, code: str) -> None:
    """Not also that it keeps nothing."""
    assert [code] == [problem.code for problem in problems_of(f"{SAMPLE}  snapshots:\n    {line}\n")]


def test_all_problems_of_a_file_are_told_at_once_in_its_order() -> None:
    """One edit can put them all right."""
    text = (
        SAMPLE.replace("StorageContract", "StorageContrat")
        .replace("name: sample", "name: smaple")
        .replace("/mnt/pv/api-data", "/etc")
        .replace("1Gi", "1GiB")
        .replace("accessModes", "accesModes")
    )

    assert places_of(text) == [
        ("KindUnknown", 2, 7),
        ("NameMismatch", 4, 9),
        ("ContractFieldMissing", 8, 7),
        ("PathOutsideVolume", 9, 13),
        ("QuantityInvalid", 10, 13),
        ("ContractFieldUnknown", 11, 7),
    ]


def test_a_problem_reads_as_file_line_column_problem_and_hint() -> None:
    """The form that editors and people know."""
    (problem,) = problems_of(SAMPLE.replace("1Gi", "0"))

    assert str(problem) == "f.yaml:10:13: the size '0' is not greater than 0; write a size such as 1Gi"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("metadata:\n  name: sample\n  namespace: sample\n", "", (1, 1), id="at the top"),
        pytest.param("  name: sample\n", "", (3, 1), id="in a mapping: where its name stands"),
        pytest.param("name: sample\n", "name:\n", (4, 3), id="a field without a value: where the field stands"),
        pytest.param("      size: 1Gi\n", "", (8, 7), id="in an entry of a list: where the entry starts"),
        pytest.param("metadata:\n  name: sample\n  namespace: sample\n", "metadata:\n", (3, 1), id="a whole mapping"),
    ],
)
def test_a_missing_field_is_told_where_it_would_stand(old: str, new: str, expected: tuple[int, int]) -> None:
    """It has no place of its own."""
    assert [("ContractFieldMissing", *expected)] == places_of(SAMPLE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("[ReadWriteOnce]", "ReadWriteOnce", (11, 20), id="text for a list"),
        pytest.param("[ReadWriteOnce]", "[[ReadWriteOnce]]", (11, 21), id="a list in a list"),
        pytest.param("1Gi", "[1Gi]", (10, 13), id="a list for text"),
        pytest.param("1Gi", "{a: 1Gi}", (10, 13), id="a mapping for text"),
        pytest.param("    - name", "      name", (8, 7), id="a mapping for a list"),
        pytest.param(
            "    - name: api-data\n", "    - api-data\n    - name: api-data\n", (8, 7), id="text for an entry"
        ),
        pytest.param("  name: sample\n  namespace: sample\n", "  sample\n", (4, 3), id="text for a mapping"),
    ],
)
def test_a_wrong_type_is_told_where_the_value_stands(old: str, new: str, expected: tuple[int, int]) -> None:
    """And what the value is."""
    assert [("ContractFieldType", *expected)] == places_of(SAMPLE.replace(old, new, 1))


def test_a_file_that_is_no_mapping_is_no_contract() -> None:
    """A list, or a sentence."""
    assert places_of("- a\n") == [("ContractFieldType", 1, 1)]
    assert places_of("Hello\n") == [("ContractFieldType", 1, 1)]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("storageClassName", "did you mean 'storageClass'?"),
        ("AccessModes", "did you mean 'accessModes'?"),
        ("mode", "did you mean 'permissions'?"),
        ("uid", "did you mean 'owner'?"),
        ("namespace", "it belongs in 'metadata': look at the indentation"),
        ("keep", "it belongs in 'spec.snapshots': look at the indentation"),
        ("zzz", "delete it; the fields here are name, path, size, accessModes, storageClass, owner, permissions,"),
        ("x" * 300, "delete it; the fields here are"),
    ],
)
def test_an_unknown_field_is_told_what_it_may_be(written: str, hint: str) -> None:
    """A near name, the name that HostK8s uses, the place where it belongs, or what there is."""
    (problem,) = problems_of(with_field(f"{written}: 1"))

    assert (problem.code, problem.line, problem.column) == ("ContractFieldUnknown", 13, 7)
    assert problem.hint.startswith(hint)
    assert len(problem.message) < 120


def test_a_bad_folder_name_is_told_even_if_the_contract_has_no_name() -> None:
    """Both are wrong, and both are told."""
    problems = problems_of(SAMPLE.replace("  name: sample\n", ""), stack="Bad_Folder")

    assert [problem.code for problem in problems] == ["StackNameInvalid", "ContractFieldMissing"]


def test_every_pair_of_directories_that_collide_is_told() -> None:
    """Whatever stands between them in the file, and with names that sort between a path and what lies in it."""
    paths = ["/mnt/pv/a/x", "/mnt/pv/a-b", "/mnt/pv/a", "/mnt/pv/a/x/y", "/mnt/pv/a.c", "/mnt/pv/a", "/mnt/pv/ab"]
    entry = "    - {{name: d{0}, path: {1}, size: 1, accessModes: [ReadWriteOnce], storageClass: s}}\n"
    text = SAMPLE[: SAMPLE.index("    - name")] + "".join(entry.format(*pair) for pair in enumerate(paths))

    found = {(problem.code, problem.line) for problem in problems_of(text)}

    assert found == {("PathNested", 8), ("PathNested", 11), ("PathDuplicate", 13)}


def test_wrong_names_and_paths_are_not_duplicates_of_one_another() -> None:
    """Each is told for what it is."""
    second = SAMPLE[SAMPLE.index("    - name") :]
    text = (SAMPLE + second).replace("name: api-data", "name: A_B").replace("/mnt/pv/api-data", "/x")

    assert [problem.code for problem in problems_of(text)] == ["DirectoryNameInvalid", "PathOutsideVolume"] * 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("spec:\n", "# a comment\nspec:\n\n"),
        ("1Gi", "1024Mi"),
        ("[ReadWriteOnce]", "\n        - ReadWriteOnce"),
        ("name: api-data", 'name: "api-data"'),
        ("size: 1Gi", "permissions: 0755\n      owner: 1000:1000\n      size: 1Gi"),
    ],
)
def test_the_digest_is_of_the_meaning(old: str, new: str) -> None:
    """Comments, formatting, defaults and ways to write a value do not change it."""
    assert parse(SAMPLE.replace(old, new)).digest == parse(SAMPLE).digest


def test_the_digest_changes_with_each_value() -> None:
    """Else an edit would go unseen."""
    changed = [
        SAMPLE,
        SAMPLE.replace("namespace: sample", "namespace: other"),
        SAMPLE.replace("name: api-data", "name: other"),
        SAMPLE.replace("/mnt/pv/api-data", "/mnt/pv/other"),
        SAMPLE.replace("1Gi", "1G"),
        SAMPLE.replace("[ReadWriteOnce]", "[ReadWriteMany]"),
        SAMPLE.replace("sample-storage", "other"),
        with_field("owner: 1:1"),
        with_field("permissions: 700"),
        SAMPLE + "  snapshots: {}\n",
        SAMPLE + "  snapshots: {schedule: every 1h}\n",
        SAMPLE + "  snapshots: {schedule: 0 0 * * *}\n",
        SAMPLE + "  snapshots: {timezone: UTC}\n",
        SAMPLE + "  snapshots: {keep: {last: 1}}\n",
        SAMPLE + "  snapshots: {keep: {last: 1, tags: [v1]}}\n",
        SAMPLE + "  snapshots: {quiesce: freeze}\n",
    ]

    digests = {parse(text).digest for text in changed}

    assert len(changed) == len(digests)
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in digests)


def test_the_order_of_directories_does_not_change_the_digest() -> None:
    """Nor does that of the access modes."""
    head, entry = SAMPLE[: SAMPLE.index("    - name")], SAMPLE[SAMPLE.index("    - name") :]
    other = entry.replace("api-data", "other").replace("[ReadWriteOnce]", "[ReadWriteOnce, ReadWriteMany]")
    swapped = other.replace("[ReadWriteOnce, ReadWriteMany]", "[ReadWriteMany, ReadWriteOnce]")

    assert parse(head + entry + other).digest == parse(head + swapped + entry).digest


def test_an_ordinary_contract_takes_less_than_a_few_milliseconds() -> None:
    """In CPU time: about 0.2 ms. Thousands of contracts are read at the start."""
    content = SAMPLE.encode()
    taken = []
    for _ in range(100):
        started = time.thread_time()
        parse_contract(content, file="f.yaml", stack="sample")
        taken.append(time.thread_time() - started)

    assert statistics.median(taken) < 0.005


FRAGMENTS = st.sampled_from(
    [
        "",
        "\n",
        " ",
        "\t",
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "&a ",
        "*a",
        "!!x ",
        "<<: ",
        "---\n",
        "%",
        "#",
        "|",
        ">",
        "\x00",
        "\ufeff",
        "\u2028",
        "\r",
        "~",
        "..",
        "/",
        "0",
        "9" * 80,
        "é",
        "💾",
        "? ",
        "@",
        "`",
        "spec",
        "size",
        "keep",
    ]
)


@st.composite
def mutated_contracts(draw: st.DrawFn) -> bytes:
    """Draw a valid contract to which a few things happened: cuts, insertions, doubled parts, wild bytes."""
    content = (SAMPLE + "  snapshots: {schedule: 0 0 * * *, keep: {last: 3, within: 2d}}\n").encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        put = draw(FRAGMENTS.map(str.encode) | st.binary(max_size=4) | st.just(content[start:end] * 2))
        content = content[:start] + put + content[end:]
    return content


def contract_or_problems(content: bytes) -> Contract | tuple[Problem, ...]:
    """Return what a file gives: one or the other."""
    try:
        return parse_contract(content, file="f.yaml", stack="sample")
    except ContractError as error:
        return error.problems


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode) | mutated_contracts())
@settings(max_examples=600, deadline=None)
def test_nothing_but_a_contract_or_its_problems_comes_out(content: bytes) -> None:
    """Whatever goes in: each problem has a place and a hint and prints, and each contract keeps its promises."""
    found = contract_or_problems(content)

    if isinstance(found, Contract):
        assert found.stack == "sample"
        assert found.directories
        for directory in found.directories:
            assert directory.path == posixpath.normpath(directory.path)
            assert directory.path.startswith("/mnt/pv/")
            assert directory.size_bytes >= 1
            assert directory.access_modes
    else:
        assert found
        places = [(problem.line or 0, problem.column or 0) for problem in found]
        assert sorted(places) == places
        assert all(line >= 1 and column >= 1 for line, column in places)
        assert all(problem.hint and str(problem).isprintable() for problem in found)

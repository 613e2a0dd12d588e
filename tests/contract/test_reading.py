"""Bytes to a tree: what is refused, how fast, and where the problem is said to stand."""

from __future__ import annotations

import time

import pytest

from hostk8s_agent.contract.decoding import MAX_FILE_BYTES
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.contract.reading import MAX_DEPTH, Mapping, Scalar, Sequence, read_document
from hostk8s_agent.contract.reporting import Position, Report
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.errors import ContractError, Problem

MERGE_BOMB = b"a0: &a0 {k: v}\n" + b"".join(
    b"a%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n" % (i, i, i - 1, i - 1, i - 1) for i in range(1, 18)
)
ALIAS_BOMB = b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 30))


def problems_of(content: bytes) -> list[tuple[str, int | None, int | None]]:
    """Return code, line and column of each problem of a file of the stack `sample`."""
    return [(problem.code, problem.line, problem.column) for problem in raised_by(content)]


def raised_by(content: bytes) -> tuple[Problem, ...]:
    """Return the problems of a file of the stack `sample`."""
    with pytest.raises(ContractError) as raised:
        parse_contract(content, file="f.yaml", stack="sample")
    return raised.value.problems


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", ("FileEmpty", 1, 1), id="empty"),
        pytest.param(b" \n\n", ("FileEmpty", 1, 1), id="blank"),
        pytest.param(b"---\n", ("FileEmpty", 1, 1), id="a document without a value"),
        pytest.param(b"~\n", ("FileEmpty", 1, 1), id="null"),
        pytest.param(b"\xef\xbb\xbf", ("FileEmpty", 1, 1), id="a byte order mark alone"),
        pytest.param(b"a: 1\nb: \x00\n", ("FileNotText", 2, 4), id="NUL"),
        pytest.param("# a\u2028b: 1\n".encode(), ("FileNotText", 1, 4), id="a line separator in a comment"),
        pytest.param(b"a: 1\n\xef\xbb\xbf\xef\xbb\xbfb: 2\n", ("FileNotText", 2, 1), id="a mark in the middle"),
        pytest.param(b"\xef\xbb\xbfa: \xff\n", ("FileNotUtf8", 1, 4), id="the column is counted after the mark"),
        pytest.param("a: é\r\nb: ü".encode() + b"\xfc", ("FileNotUtf8", 2, 5), id="characters, not bytes"),
        pytest.param("a: 1".encode("utf-16"), ("FileNotUtf8", 1, 1), id="UTF-16"),
        pytest.param(bytes(range(128, 256)), ("FileNotUtf8", 1, 1), id="binary"),
        pytest.param(b"#" * (MAX_FILE_BYTES + 1), ("FileTooLarge", 1, 1), id="too large"),
        pytest.param(b"- a\n" * 5001, ("YamlTooManyValues", 5000, 3), id="too many values"),
        pytest.param(b"a:\n\t- b\n", ("YamlSyntax", 2, 1), id="a tab"),
        pytest.param(b"a: b: c\n", ("YamlSyntax", 1, 5), id="a colon in a value"),
        pytest.param(b"a: @b\n", ("YamlSyntax", 1, 4), id="a reserved character"),
        pytest.param(b"a:\n  b: 1\n c: 2\n", ("YamlSyntax", 3, 2), id="indentation"),
        pytest.param(b"spec: [1, 2", ("YamlSyntax", 2, 1), id="half a file"),
    ],
)
def test_what_cannot_be_read_is_one_problem_at_its_place(content: bytes, expected: tuple[str, int, int]) -> None:
    """A file that gives no tree gives one problem, with a line and a column."""
    assert [expected] == problems_of(content)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        pytest.param(b"a:\n\t- b\n", "indent with spaces, not with a tab", id="tab"),
        pytest.param(b"a: @b\n", "put the value that starts with '@' in quotes", id="reserved"),
        pytest.param(b"a: b: c\n", "put a value that holds ': ' in quotes", id="colon"),
        pytest.param(b"a: 'b\n", "close the quote or bracket", id="open quote"),
        pytest.param(b"a:\n  b: 1\n c: 2\n", "look at the indentation", id="indentation"),
    ],
)
def test_a_syntax_error_comes_with_a_hint_of_its_own(content: bytes, hint: str) -> None:
    """What libyaml says is for programmers; the hint says what to do."""
    (problem,) = raised_by(content)

    assert problem.hint.startswith(hint)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(MERGE_BOMB, id="merge keys"),
        pytest.param(ALIAS_BOMB, id="aliases"),
        pytest.param(b"[" * 100_000, id="open brackets"),
        pytest.param(b"{a: " * 60_000, id="open braces"),
        pytest.param(b"- " * 100_000, id="nested lists"),
        pytest.param(b"? " * 100_000, id="nested keys"),
        pytest.param(b"- a\n" * 60_000, id="many values"),
        pytest.param(b"".join(b"k%d: 1\n" % i for i in range(25_000)), id="many unknown fields"),
        pytest.param(b"spec:\n  directories:\n" + b"  -\n" * 50_000, id="many empty directories"),
        pytest.param(b"%TAG !a! b\n" * 20_000, id="directives"),
        pytest.param(b"'a':" * 60_000, id="keys in one line"),
        pytest.param(b"\0" * 100_000_000, id="100 MB of NUL"),
        pytest.param(b'"' + b"a" * 250_000 + b'": 1\n', id="a key of 250,000 characters"),
        pytest.param(b"spec: {snapshots: {schedule: '" + b"1," * 100_000 + b" * * * *'}}", id="a long schedule"),
    ],
)
def test_a_bomb_is_refused_at_once(bomb: bytes) -> None:
    """In CPU time, so that a busy machine does not decide: a few milliseconds, up to 30 for many values."""
    started = time.thread_time()
    problems = raised_by(bomb)
    seconds = time.thread_time() - started

    assert 0 < len(problems) <= 51
    assert all(len(str(problem)) < 1000 for problem in problems)
    assert seconds < 0.5


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Windows editors write it; the first key starts in column 1 all the same."""
    report = Report("f.yaml")

    root = read_document(b"\xef\xbb\xbfa: 1\n", report)

    assert root == Mapping(
        ((Scalar("a", Position(1, 1), is_plain=True), Scalar("1", Position(1, 4), is_plain=True)),), Position(1, 1)
    )
    assert report.count == 0


def test_scalars_are_read_as_they_are_written() -> None:
    """No text becomes a number, a date or a truth value."""
    report = Report("f.yaml")

    root = read_document(b"[0755, 26:26, yes, 1e3, 2024-01-01, '~', ~]\n", report)

    assert isinstance(root, Sequence)
    scalars = [item for item in root.items if isinstance(item, Scalar)]
    assert [scalar.text for scalar in scalars] == ["0755", "26:26", "yes", "1e3", "2024-01-01", "~", "~"]
    assert [scalar.is_null for scalar in scalars] == [False] * 6 + [True]


def test_fifty_levels_are_read_and_fifty_one_are_not() -> None:
    """The limit is where the message says it is."""
    report = Report("f.yaml")

    read_document(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, report)

    assert report.count == 0
    assert problems_of(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)) == [("YamlTooDeep", 1, MAX_DEPTH + 1)]


def test_a_file_of_exactly_the_largest_size_is_read() -> None:
    """The limit is the most that a contract may have, not one less."""
    comment = b"#" * (MAX_FILE_BYTES - 1) + b"\n"

    assert problems_of(comment) == [("FileEmpty", 1, 1)]
    assert problems_of(comment + b"\n") == [("FileTooLarge", 1, 1)]


def test_everything_wrong_with_the_yaml_is_told_at_once() -> None:
    """Anchors, aliases, tags, merge keys and duplicates do not hide one another."""
    content = b"a: &x 1\nb: *x\nc: !!str d\n<<: {e: 1}\na: 2\n? *x\n: 3\n? {f: g}\n: 4\n---\nh: 5\n"

    codes = {code for code, _, _ in problems_of(content)}

    assert {
        Code.YAML_ANCHOR,
        Code.YAML_ALIAS,
        Code.YAML_TAG,
        Code.YAML_MERGE_KEY,
        Code.DUPLICATE_KEY,
        Code.YAML_KEY_NOT_TEXT,
        Code.YAML_NOT_ONE_DOCUMENT,
    } <= codes


def test_a_quoted_merge_key_is_a_field_like_any_other() -> None:
    """Only the plain `<<` merges."""
    assert Code.YAML_MERGE_KEY not in {code for code, _, _ in problems_of(b"'<<': 1\n")}


def test_what_was_refused_once_is_not_a_wrong_type_too() -> None:
    """An alias where a mapping belongs is one problem."""
    places = [place for place in problems_of(b"metadata: *x\n") if place[1:] == (1, 11)]

    assert places == [("YamlAlias", 1, 11)]


def test_a_folder_name_cannot_reach_the_terminal() -> None:
    """The file's name is escaped where it does not print."""
    with pytest.raises(ContractError) as raised:
        parse_contract(b"", file="\x1b[2J\udcff/f.yaml", stack="sample")

    assert "\\x1b[2J\\udcff/f.yaml:1:1:" in str(raised.value)

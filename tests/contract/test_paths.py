"""No accepted path leaves the volume."""

from __future__ import annotations

import posixpath
import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostk8s_agent.contract.paths import MAX_PATH_CHARACTERS, PATH_PATTERN, is_at_or_in, is_inside, overlap, parse_path
from hostk8s_agent.contract.rules import Code, RuleError

COMPONENT = st.sampled_from(
    ["", ".", "..", "...", "a", "b-c", "A_1", "-x", "~", "x y", "é", "$(id)", "..a", "a..", "\\"]
)
LIKELY_PATH = st.builds(
    lambda start, components: start + "/".join(components),
    st.sampled_from(["/mnt/pv/", "/mnt/pv", "/mnt/", "/", "", "mnt/pv/", "/mnt/pv/../"]),
    st.lists(COMPONENT, max_size=5),
)


def code_of(text: str) -> Code | None:
    """Return the rule that a path breaks, None if it is accepted."""
    try:
        parse_path(text)
    except RuleError as rule:
        return rule.code
    return None


@given(LIKELY_PATH | st.text() | st.text().map("/mnt/pv/".__add__))
@example("/mnt/pv/a\n")
@example("/mnt/pv/a\x00b")
def test_an_accepted_path_stays_in_the_volume(text: str) -> None:
    """It is its own normal form below /mnt/pv, one word to a shell, and fits the schema's pattern."""
    if code_of(text) is not None:
        return

    path = parse_path(text)

    assert path == text == posixpath.normpath(text)
    assert path.startswith("/mnt/pv/")
    assert [path] == shlex.split(path)
    assert path == shlex.quote(path)
    assert re.fullmatch(PATH_PATTERN, path)


@given(LIKELY_PATH)
def test_the_pattern_of_the_schema_is_the_rule_of_the_parser(text: str) -> None:
    """The pattern and the parser are two ways to say one thing."""
    refused_for = code_of(text)

    is_accepted = refused_for in (None, Code.PATH_RESERVED, Code.PATH_TOO_LONG)
    assert is_accepted is bool(re.fullmatch(PATH_PATTERN, text))


@pytest.mark.parametrize(
    "path",
    [
        "/mnt/pv/a",
        "/mnt/pv/postgres/16/main",
        "/mnt/pv/.hidden",
        "/mnt/pv/a..b",
        "/mnt/pv/a+b@c:d=e_f-g.h",
        "/mnt/pv/" + "a" * 255,
        "/mnt/pv/" + "a/" * 2043 + "a",
    ],
)
def test_what_sane_people_write_is_accepted(path: str) -> None:
    """Unchanged."""
    assert path == parse_path(path)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/mnt/pv", Code.PATH_OUTSIDE_VOLUME),
        ("/mnt/pv/", Code.PATH_OUTSIDE_VOLUME),
        ("/mnt/pvc/data", Code.PATH_OUTSIDE_VOLUME),
        ("mnt/pv/data", Code.PATH_OUTSIDE_VOLUME),
        ("", Code.PATH_OUTSIDE_VOLUME),
        ("/mnt/pv/..", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/a/../../etc", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/./a", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/a//b", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/a/", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/a/...", Code.PATH_NOT_CLEAN),
        ("/mnt/pv/a b", Code.PATH_CHARACTER_NOT_ALLOWED),
        ("/mnt/pv/$(reboot)", Code.PATH_CHARACTER_NOT_ALLOWED),
        ("/mnt/pv/a\\b", Code.PATH_CHARACTER_NOT_ALLOWED),
        ("/mnt/pv/a\x00", Code.PATH_CHARACTER_NOT_ALLOWED),
        ("/mnt/pv/größe", Code.PATH_CHARACTER_NOT_ALLOWED),
        ("/mnt/pv/.hostk8s/a", Code.PATH_RESERVED),
        ("/mnt/pv/" + "a" * 256, Code.PATH_TOO_LONG),
        ("/mnt/pv/" + "a/" * 2044 + "a", Code.PATH_TOO_LONG),
    ],
)
def test_what_could_go_wrong_is_refused_with_a_hint(path: str, code: Code) -> None:
    """Each for the rule that it breaks."""
    with pytest.raises(RuleError) as raised:
        parse_path(path)

    assert code is raised.value.code
    assert raised.value.hint


def test_the_hint_for_an_unclean_path_is_the_clean_one() -> None:
    """Only where cleaning it does not change where it leads."""
    with pytest.raises(RuleError) as raised:
        parse_path("/mnt/pv/./a//b/")

    assert "'/mnt/pv/a/b'" in raised.value.hint


def test_the_longest_path_is_what_linux_takes() -> None:
    """PATH_MAX counts the final NUL."""
    assert MAX_PATH_CHARACTERS == 4095


def test_a_path_is_not_inside_itself_or_a_namesake() -> None:
    """Only a slash makes the difference."""
    assert is_inside("/mnt/pv/a/b", "/mnt/pv/a")
    assert not is_inside("/mnt/pv/a", "/mnt/pv/a")
    assert not is_inside("/mnt/pv/ab", "/mnt/pv/a")


@pytest.mark.parametrize(
    ("one", "other", "is_in", "does_overlap"),
    [
        ("/mnt/pv/a", "/mnt/pv/a", True, True),
        ("/mnt/pv/a/", "/mnt/pv//a", True, True),
        ("/mnt/pv/a/./b", "/mnt/pv/a", True, True),
        ("/mnt/pv/a", "/mnt/pv/a/b", False, True),
        ("/mnt/pv/ab", "/mnt/pv/a", False, False),
        ("/mnt/pv/a/.b", "/mnt/pv/a/b", False, False),
        ("/", "/mnt/pv", False, True),
    ],
)
def test_paths_as_others_write_them_are_compared_by_their_names(
    one: str, other: str, *, is_in: bool, does_overlap: bool
) -> None:
    """What Kubernetes takes for a path need not be as clean as a contract's."""
    assert is_at_or_in(one, other) is is_in
    assert overlap(one, other) is overlap(other, one) is does_overlap

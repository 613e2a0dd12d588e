"""Owners, permissions, access modes; and how a problem quotes what it speaks of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.values import MAX_ID, Owner, parse_access_mode, parse_owner, parse_permissions
from hostk8s_agent.contract.wording import count_of, find_nearest, join_words, quote


@pytest.mark.parametrize(
    ("text", "expected"),
    [("26:26", Owner(26, 26)), ("0:0", Owner(0, 0)), ("026:0", Owner(26, 0)), (f"{MAX_ID}:1", Owner(MAX_ID, 1))],
)
def test_an_owner_is_two_numbers(text: str, expected: Owner) -> None:
    """Decimal ones, as chown reads them."""
    assert expected == parse_owner(text)
    assert str(Owner(26, 27)) == "26:27"


@pytest.mark.parametrize(
    "text", ["", "26", "1586", "26:", ":26", "-1:0", "1:2:3", "a:b", "4294967295:0", "\u0663:\u0663", "1:1\n"]
)
def test_anything_else_is_no_owner(text: str) -> None:
    """4294967295 would mean "leave it as it is" to the kernel."""
    with pytest.raises(RuleError) as raised:
        parse_owner(text)

    assert raised.value.code is Code.OWNER_INVALID


@pytest.mark.parametrize(
    ("text", "expected"), [("755", 0o755), ("0755", 0o755), ("0700", 0o700), ("2775", 0o2775), ("000", 0)]
)
def test_permissions_are_octal_digits(text: str, expected: int) -> None:
    """Three or four of them."""
    assert expected == parse_permissions(text)


@pytest.mark.parametrize("text", ["", "75", "07555", "758", "u=rwx", "0o755", "-755", "\u0667\u0665\u0665", "755\n"])
def test_anything_else_is_no_permissions(text: str) -> None:
    """Not even what Python would take for octal."""
    with pytest.raises(RuleError) as raised:
        parse_permissions(text)

    assert raised.value.code is Code.PERMISSIONS_INVALID


def test_the_octal_of_yaml_1_2_is_told_its_plain_form() -> None:
    """People who know YAML 1.2 write it."""
    with pytest.raises(RuleError) as raised:
        parse_permissions("0o755")

    assert raised.value.hint == "write 755"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("RWO", "did you mean ReadWriteOnce?"),
        ("rwx", "did you mean ReadWriteMany?"),
        ("readwriteonce", "did you mean ReadWriteOnce?"),
        ("whatever", "write ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod"),
    ],
)
def test_a_wrong_access_mode_is_told_the_right_one(text: str, hint: str) -> None:
    """Short forms and slips are recognised, and not accepted: HostK8s' script would pass them on."""
    with pytest.raises(RuleError) as raised:
        parse_access_mode(text)

    assert hint == raised.value.hint


@given(st.text(max_size=500))
def test_a_quoted_text_is_short_and_prints(text: str) -> None:
    """No escape sequence, no line break, no text that runs backwards."""
    quoted = quote(text)

    assert quoted.isprintable()
    assert len(quoted) <= 63


def test_words_are_listed_as_people_do() -> None:
    """With plurals and all."""
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b", "c"], last="and") == "a, b and c"
    assert (count_of(1, "byte"), count_of(4096, "byte")) == ("1 byte", "4,096 bytes")


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    """Unless nothing is near, or the text is far too long to be a slip."""
    assert find_nearest("AccesModes", ["accessModes", "name"]) == "accessModes"
    assert find_nearest("xyz", ["accessModes", "name"]) is None
    assert find_nearest("name" * 100, ["name"]) is None

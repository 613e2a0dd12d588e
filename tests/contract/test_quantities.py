"""Kubernetes quantities, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostk8s_agent.contract.quantities import MAX_QUANTITY, is_same_quantity, parse_quantity, parse_size
from hostk8s_agent.contract.rules import Code, RuleError

MULTIPLIERS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
    "e3": Fraction(10**3),
    "E-2": Fraction(1, 100),
    "e+12": Fraction(10**12),
}


@given(
    sign=st.sampled_from(["", "+", "-"]),
    whole=st.integers(0, 10**20),
    decimals=st.none() | st.text("0123456789", max_size=12),
    suffix=st.sampled_from(sorted(MULTIPLIERS)),
)
def test_a_quantity_has_its_exact_value(sign: str, whole: int, decimals: str | None, suffix: str) -> None:
    """Number times multiplier, without a rounding anywhere."""
    text = f"{sign}{whole}" + ("" if decimals is None else f".{decimals}")
    expected = Fraction(whole) + (Fraction(int(decimals), 10 ** len(decimals)) if decimals else 0)

    assert expected * MULTIPLIERS[suffix] * (-1 if sign == "-" else 1) == parse_quantity(text + suffix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gi",
        "1 Gi",
        "1gi",
        "1GB",
        "1e",
        "1e1000000000",
        "1e-100",
        "0x10",
        "1_000",
        "1,5Gi",
        ".",
        "--1",
        "\u0661",
        "1Gi\n",
        "9" * 65,
    ],
)
def test_what_kubernetes_does_not_read_is_no_quantity(text: str) -> None:
    """Each is refused, and none fills the memory."""
    with pytest.raises(RuleError) as raised:
        parse_quantity(text)

    assert raised.value.code is Code.QUANTITY_INVALID


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10 gb", "did you mean 10G?"),
        ("1.5GiB", "did you mean 1.5Gi?"),
        ("5K", "did you mean 5k?"),
        ("1 xyz", "write a number and a unit"),
        ("1 b", "write a number and a unit"),
    ],
)
def test_a_near_miss_is_told_what_it_may_have_been(text: str, hint: str) -> None:
    """People write GB, and mean something."""
    with pytest.raises(RuleError) as raised:
        parse_quantity(text)

    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("1024Mi", "1Gi", True),
        ("1G", "1Gi", False),
        ("1.5Gi", "1536Mi", True),
        ("1e3", "1k", True),
        ("0.1Gi", "107374182400m", True),
        ("0.1n", "1n", True),
        ("5Gi", "5Gi", True),
    ],
)
def test_equal_amounts_are_the_same_however_written(one: str, other: str, *, expected: bool) -> None:
    """Else 1024Mi and 1Gi would drift for ever. Kubernetes rounds up what is finer than a billionth."""
    assert expected is is_same_quantity(one, other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1Gi", 2**30), ("10", 10), ("0.1Gi", 107374183), ("1e3", 1000), (f"{MAX_QUANTITY}", MAX_QUANTITY), ("+1", 1)],
)
def test_a_size_is_bytes_rounded_up(text: str, expected: int) -> None:
    """As Kubernetes does it."""
    assert expected == parse_size(text)


@pytest.mark.parametrize("text", ["0", "-1Gi", "500m", "999999u", f"{MAX_QUANTITY + 1}", "8Ei"])
def test_a_size_that_no_volume_can_have_is_refused(text: str) -> None:
    """Nothing, less than nothing, less than a byte, and more than can be counted."""
    with pytest.raises(RuleError) as raised:
        parse_size(text)

    assert raised.value.code is Code.SIZE_OUT_OF_RANGE

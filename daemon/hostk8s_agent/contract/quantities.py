"""Kubernetes quantities, exactly: `1Gi`, `1024Mi`, `1.5G`, `1e9`, `107374182400m`.

The grammar is that of apimachinery, `pkg/api/resource/quantity.go`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import find_nearest, quote

# The largest magnitude that Kubernetes keeps; it silently caps whatever is above.
MAX_QUANTITY: Final = 2**63 - 1

_DECIMAL_SUFFIXES: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY_SUFFIXES: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MULTIPLIERS: Final[dict[str, Fraction]] = {
    **{suffix: Fraction(1000) ** (power - 3) for power, suffix in enumerate(_DECIMAL_SUFFIXES)},
    **{suffix: Fraction(1024) ** power for power, suffix in enumerate(_BINARY_SUFFIXES, start=1)},
}
_NUMBER: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
# Two digits of exponent reach far past what Kubernetes keeps; ten would fill the memory.
_EXPONENT: Final = "[+-]?[0-9]{1,2}"
_SUFFIX: Final = "[numkMGTPE]|[KMGTPE]i"
QUANTITY_PATTERN: Final = f"{_NUMBER}(?:[eE]{_EXPONENT}|{_SUFFIX})?"
_PARTS: Final = re.compile(f"(?P<number>{_NUMBER})(?:[eE](?P<exponent>{_EXPONENT})|(?P<suffix>{_SUFFIX}))?")
_MAX_CHARACTERS: Final = 64
_NANO: Final = 10**9


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Fraction:
    """Given a quantity, return its exact value: `parse_quantity("1.5Gi") == 1610612736`.

    Raise `RuleError` (a `ValueError`) for whatever Kubernetes does not read as a quantity, and for one of
    more than 64 characters or an exponent of more than two digits.
    """
    parts = _PARTS.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if parts is None:
        raise RuleError(Code.QUANTITY_INVALID, f"{quote(text)} is not a Kubernetes quantity", hint=_hint_for(text))
    number = Fraction(parts["number"])
    if parts["exponent"] is not None:
        return number * Fraction(10) ** int(parts["exponent"])
    return number * _MULTIPLIERS[parts["suffix"] or ""]


def is_same_quantity(one: str, other: str) -> bool:
    """Say whether two quantities are one amount to Kubernetes: `1024Mi` and `1Gi` are.

    Kubernetes rounds up what is finer than a billionth, so that is done before comparing. Raise `RuleError`
    if either is not a quantity.
    """
    return one == other or _in_nanos(one) == _in_nanos(other)


def parse_size(text: str) -> int:
    """Given a directory's size as written, return it in bytes, rounded up as Kubernetes does.

    Raise `RuleError` if it is no quantity, less than one byte, or more than Kubernetes can count.
    """
    amount = parse_quantity(text)
    if amount <= 0:
        raise RuleError(
            Code.SIZE_OUT_OF_RANGE, f"the size {quote(text)} is not greater than 0", hint="write a size such as 1Gi"
        )
    if amount < 1:
        raise RuleError(
            Code.SIZE_OUT_OF_RANGE,
            f"the size {quote(text)} is less than one byte: 'm' means thousandths",
            hint=f"did you mean {text.rstrip('num')}M or {text.rstrip('num')}Mi?",
        )
    if amount > MAX_QUANTITY:
        raise RuleError(
            Code.SIZE_OUT_OF_RANGE,
            f"the size {quote(text)} is more than Kubernetes can count (2^63 - 1 bytes)",
            hint="write a smaller size, for instance 1Ti",
        )
    return math.ceil(amount)


def _in_nanos(text: str) -> int:
    return math.ceil(parse_quantity(text) * _NANO)


def _hint_for(text: str) -> str:
    """Return what to write instead: the near miss of a unit (`1gb`, `10 Gi`) if it is one, else the form."""
    form = "write a number and a unit: Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (powers of 1000)"
    near = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]{1,9})", text)
    if near is None:
        return form
    unit = near[2].removesuffix("B").removesuffix("b")
    suffix = "k" if unit == "K" else find_nearest(unit, ("Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T"))
    return f"{form}; did you mean {near[1]}{suffix}?" if suffix else form

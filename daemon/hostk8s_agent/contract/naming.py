"""Names: what a stack, a directory, a namespace and a storage class may be called, and what they become.

The rules are Kubernetes' own (apimachinery, `pkg/util/validation`): an object's name is a DNS-1123 subdomain
of at most 253 characters, a label's value has at most 63.
"""

from __future__ import annotations

import re
from typing import Final

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import count_of, quote

LABEL_STACK: Final = "hostk8s.stack"
LABEL_DIRECTORY: Final = "hostk8s.storage.name"

MAX_LABEL_CHARACTERS: Final = 63
MAX_NAME_CHARACTERS: Final = 253

DNS_LABEL_PATTERN: Final = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN_PATTERN: Final = rf"{DNS_LABEL_PATTERN}(?:\.{DNS_LABEL_PATTERN})*"
STACK_PATTERN: Final = f"{DNS_SUBDOMAIN_PATTERN}(?:/{DNS_SUBDOMAIN_PATTERN})*"

_DNS_LABEL: Final = re.compile(DNS_LABEL_PATTERN)
_DNS_SUBDOMAIN: Final = re.compile(DNS_SUBDOMAIN_PATTERN)
_LETTERS: Final = "use lowercase letters, digits and '-', with a letter or digit at both ends"


def fold_stack_name(stack: str) -> str:
    """Given a stack's name, return it as labels and object names hold it: `foundation-airflow`."""
    return stack.replace("/", "-")


def persistent_volume_name(stack: str, directory: str) -> str:
    """Given a stack and one of its directories, return its PersistentVolume's name: `hostk8s-a-b-data-pv`.

    Two pairs can give one name: `conflicts.ClaimIndex` finds them. With valid names the result has at most
    138 characters, so the 253 of Kubernetes are never reached.
    """
    return f"hostk8s-{fold_stack_name(stack)}-{directory}-pv"


def require_stack_name(stack: str) -> None:
    """Raise `RuleError` unless a stack's name can become part of a PersistentVolume's name and a label."""
    folded = fold_stack_name(stack)
    if not stack:
        raise RuleError(
            Code.STACK_NAME_INVALID,
            "the contract lies in no stack's folder",
            hint="move it into software/stacks/<stack>/",
        )
    if len(folded) > MAX_LABEL_CHARACTERS:
        raise RuleError(
            Code.STACK_NAME_INVALID,
            f"the stack's name {quote(stack)} has {count_of(len(folded), 'character')}; a Kubernetes label"
            f" holds {MAX_LABEL_CHARACTERS}",
            hint="give the stack's folder a shorter name",
        )
    for part in stack.split("/"):
        if not _DNS_SUBDOMAIN.fullmatch(part):
            raise RuleError(
                Code.STACK_NAME_INVALID,
                f"the stack's name {quote(stack)} cannot become part of a Kubernetes name",
                hint=f"rename the folder {quote(part)}: {_LETTERS}{_suggest(part, _DNS_SUBDOMAIN)}",
            )


def parse_directory_name(text: str) -> str:
    """Given a directory's name as written, return it, or raise `RuleError`.

    It becomes part of an object's name and the value of a label, so both rules hold.
    """
    return _require_name(
        text, Code.DIRECTORY_NAME_INVALID, noun="a directory's name", pattern=_DNS_SUBDOMAIN, limit=MAX_LABEL_CHARACTERS
    )


def parse_namespace(text: str) -> str:
    """Given a namespace's name as written (a DNS-1123 label), return it, or raise `RuleError`."""
    return _require_name(
        text, Code.NAMESPACE_INVALID, noun="a namespace", pattern=_DNS_LABEL, limit=MAX_LABEL_CHARACTERS
    )


def parse_storage_class(text: str) -> str:
    """Given a StorageClass's name as written (a DNS-1123 subdomain), return it, or raise `RuleError`."""
    return _require_name(
        text, Code.STORAGE_CLASS_INVALID, noun="a storage class", pattern=_DNS_SUBDOMAIN, limit=MAX_NAME_CHARACTERS
    )


def _require_name(text: str, code: Code, *, noun: str, pattern: re.Pattern[str], limit: int) -> str:
    if len(text) > limit:
        raise RuleError(
            code,
            f"{quote(text)} has {count_of(len(text), 'character')}; {noun} has at most {limit}",
            hint="give it a shorter name",
        )
    if not pattern.fullmatch(text):
        raise RuleError(code, f"{quote(text)} cannot be {noun}", hint=f"{_LETTERS}{_suggest(text, pattern)}")
    return text


def _suggest(text: str, pattern: re.Pattern[str]) -> str:
    """Return `, for instance 'my-data'` when that is near to what was written and fits, else nothing."""
    near = re.sub("[-.]*[.][-.]*", ".", re.sub("[^a-z0-9.]+", "-", text.lower())).strip("-.")
    is_usable = len(near) <= MAX_LABEL_CHARACTERS and pattern.fullmatch(near)
    return f", for instance {quote(near)}" if is_usable else ""

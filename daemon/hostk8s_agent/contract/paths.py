"""Paths: what may be claimed in the volume. No accepted path leaves it, and none can surprise a shell.

The agent itself never hands a path to a shell, but HostK8s' older script does (`sh -c "mkdir -p …"` as root),
and it may run beside the agent on the same contract. So the rule is a list of what is allowed.
"""

from __future__ import annotations

import re
from typing import Final

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import count_of, quote

VOLUME_ROOT: Final = "/mnt/pv"

# Linux: NAME_MAX is 255 bytes, PATH_MAX 4096 with the final NUL. All allowed characters are one byte long.
MAX_COMPONENT_CHARACTERS: Final = 255
MAX_PATH_CHARACTERS: Final = 4095

# The agent keeps its own files beside the directories under names that start so.
RESERVED_PREFIX: Final = ".hostk8s"

_ALLOWED: Final = "A-Za-z0-9_+@:=-"
PATH_PATTERN: Final = rf"{VOLUME_ROOT}(?:/\.*[{_ALLOWED}][.{_ALLOWED}]*)+"

_NOT_ALLOWED: Final = re.compile(f"[^/.{_ALLOWED}]")


def parse_path(text: str) -> str:
    """Given a directory's path as written, return it unchanged, or raise `RuleError` for what is wrong first.

    An accepted path starts with `/mnt/pv/`, is its own `posixpath.normpath`, and has only characters that
    mean nothing to a shell.
    """
    if text.rstrip("/") == VOLUME_ROOT:
        raise RuleError(
            Code.PATH_OUTSIDE_VOLUME,
            f"{quote(text)} is the volume itself, not a directory in it",
            hint="name a directory below it, for instance /mnt/pv/my-data",
        )
    if not text.startswith(f"{VOLUME_ROOT}/"):
        raise RuleError(
            Code.PATH_OUTSIDE_VOLUME,
            f"the path {quote(text)} does not lie in the volume",
            hint=f"start it with {VOLUME_ROOT}/, where the volume is mounted",
        )
    if odd := _NOT_ALLOWED.search(text):
        raise RuleError(
            Code.PATH_CHARACTER_NOT_ALLOWED,
            f"the path {quote(text)} has the character {quote(odd[0])}",
            hint="use letters (a-z, A-Z), digits and . _ - + @ : = between the slashes",
        )
    components = text.removeprefix(f"{VOLUME_ROOT}/").split("/")
    _require_clean(text, components)
    _require_short(text, components)
    return text


def is_inside(path: str, other: str) -> bool:
    """Say whether a clean path lies below another one (a path does not lie below itself)."""
    return path.startswith(f"{other}/")


def is_at_or_in(path: str, other: str) -> bool:
    """Say whether an absolute path is another one, or lies in it. Neither has to be clean, but for `..`."""
    return as_prefix(path).startswith(as_prefix(other))


def overlap(one: str, other: str) -> bool:
    """Say whether two absolute paths are the same, or one lies in the other. As `is_at_or_in` for either."""
    return is_at_or_in(one, other) or is_at_or_in(other, one)


def as_prefix(path: str) -> str:
    """Return an absolute path as all that lies in it begins: with one slash between its parts, and one at its end."""
    if not path.endswith("/") and "//" not in path and "/." not in path:
        return f"{path}/"  # as nearly all are: this is asked of each PersistentVolume
    return "/".join(["", *(part for part in path.split("/") if part not in ("", ".")), ""])


def _require_clean(text: str, components: list[str]) -> None:
    for component in components:
        # Three dots and more are names to Linux, and a slip of the pen to anyone else.
        if not component.strip("."):
            odd = quote(component) if component else "nothing between two slashes, or after the last"
            named = [name for name in components if name.strip(".")]
            is_safe = named and ".." not in components
            clean = quote("/".join([VOLUME_ROOT, *named])) if is_safe else "the path without '.', '..' and '//'"
            raise RuleError(Code.PATH_NOT_CLEAN, f"the path {quote(text)} has {odd}", hint=f"write {clean}")
        if component.startswith(RESERVED_PREFIX):
            raise RuleError(
                Code.PATH_RESERVED,
                f"the path {quote(text)} uses {quote(component)}, a name that the agent keeps for itself",
                hint=f"use a name that does not start with {RESERVED_PREFIX}",
            )


def _require_short(text: str, components: list[str]) -> None:
    longest = max(len(component) for component in components)
    if longest > MAX_COMPONENT_CHARACTERS:
        raise RuleError(
            Code.PATH_TOO_LONG,
            f"the path {quote(text)} has a name of {count_of(longest, 'character')};"
            f" Linux allows {MAX_COMPONENT_CHARACTERS}",
            hint="use a shorter name",
        )
    if len(text) > MAX_PATH_CHARACTERS:
        raise RuleError(
            Code.PATH_TOO_LONG,
            f"the path {quote(text)} has {count_of(len(text), 'character')}; Linux allows {MAX_PATH_CHARACTERS:,}",
            hint="nest less, or use shorter names",
        )

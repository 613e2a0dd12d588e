"""A pod's own hooks, in Velero's words: annotations `pre.hook.backup.velero.io/command` and its kin.

They mean here what they mean to Velero (velero.io/docs, Backup Hooks): `command` is a JSON list or one word, run
without a shell; `container` is the pod's first one where none is named; `timeout` is 30 s; `on-error` is Fail or
Continue. `hook.backup.velero.io/...` is the older name of the first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Moment = Literal["pre", "post"]

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
# Nothing that takes longer is waited for: a stack that is held at rest by its hooks for hours is down.
MAX_TIMEOUT_SECONDS: Final = 3600.0

_PREFIXES: Final[Mapping[Moment, tuple[str, ...]]] = {
    "pre": ("pre.hook.backup.velero.io/", "hook.backup.velero.io/"),
    "post": ("post.hook.backup.velero.io/",),
}
# A duration as Go writes it (time.ParseDuration), without what nobody waits for.
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Hook:
    """One command of a pod: `container` is empty where the pod names none, `command` is never empty and never shown."""

    container: str
    command: tuple[str, ...]
    timeout_seconds: float
    may_fail: bool


def find_hook(annotations: Mapping[str, str], moment: Moment) -> Hook | None:
    """Return the hook of a pod that runs before or after, None when it has none."""
    for prefix in _PREFIXES[moment]:
        written = annotations.get(f"{prefix}command", "").strip()
        if written:
            return Hook(
                container=annotations.get(f"{prefix}container", "").strip(),
                command=_parse_command(written),
                timeout_seconds=_parse_timeout(annotations.get(f"{prefix}timeout", "")),
                may_fail=annotations.get(f"{prefix}on-error", "").strip().lower() == "continue",
            )
    return None


def _parse_command(written: str) -> tuple[str, ...]:
    if written.startswith("["):
        try:
            parts = json.loads(written)
        except ValueError:
            return (written,)
        if isinstance(parts, list) and parts and all(isinstance(one, str) for one in parts):
            return tuple(parts)
    return (written,)


def _parse_timeout(written: str) -> float:
    if not _DURATION.fullmatch(written.strip()):
        return DEFAULT_TIMEOUT_SECONDS
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(written))
    return min(seconds, MAX_TIMEOUT_SECONDS) or DEFAULT_TIMEOUT_SECONDS

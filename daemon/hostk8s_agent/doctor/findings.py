"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found. `command` mends it: a command, or what to do; empty where nothing is to be mended."""

    check: str
    verdict: Verdict
    message: str
    command: str = ""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", message)


def warn(check: str, message: str, command: str) -> Finding:
    """It works, and could be better or will not last."""
    return Finding(check, "warning", message, command)


def fail(check: str, message: str, command: str) -> Finding:
    """Something does not work."""
    return Finding(check, "failure", message, command)

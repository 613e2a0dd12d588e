"""The mapping `spec.snapshots`: what it says to a `SnapshotPolicy`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.fields import (
    COUNT_PATTERN,
    KEEP,
    MAX_TIMEZONE_CHARACTERS,
    SNAPSHOTS,
    TAGS_PATTERN,
    TIMEZONE_PATTERN,
)
from hostk8s_agent.contract.matching import Entries, match_fields, parse_text
from hostk8s_agent.contract.model import KeepPolicy, Quiesce, SnapshotPolicy
from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.schedules import parse_duration, parse_schedule_or_off
from hostk8s_agent.contract.wording import find_nearest, join_words, quote

if TYPE_CHECKING:
    from collections.abc import Collection

_COUNT: Final = re.compile(COUNT_PATTERN)
_TAGS: Final = re.compile(TAGS_PATTERN)
_TIMEZONE: Final = re.compile(TIMEZONE_PATTERN)


def read_snapshots(spec: Entries, timezones: Collection[str] | None) -> SnapshotPolicy | None:
    """Given the fields of `spec`, return the policy for snapshots, and report what is wrong.

    Return None if the contract says nothing of snapshots. `timezones` are the names that exist here, or None
    where nobody knows.
    """
    entry = spec.find("snapshots")
    if entry is None:
        return None
    policy = match_fields(entry.node, SNAPSHOTS, spec.report, name="snapshots", place=entry.key_position)
    return SnapshotPolicy(
        schedule=policy.read_text("schedule", parse_schedule_or_off, None),
        timezone=policy.read_text("timezone", partial(_parse_timezone, timezones), None),
        keep=_read_keep(policy),
        quiesce=policy.read_text("quiesce", _parse_quiesce, None),
    )


def _read_keep(policy: Entries) -> KeepPolicy | None:
    entry = policy.find("keep")
    if entry is None:
        return None
    report = policy.report
    problems_before = report.count
    counts = match_fields(entry.node, KEEP, report, name="keep", place=entry.key_position)
    keep = KeepPolicy(
        last=counts.read_text("last", _parse_count, 0),
        hourly=counts.read_text("hourly", _parse_count, 0),
        daily=counts.read_text("daily", _parse_count, 0),
        weekly=counts.read_text("weekly", _parse_count, 0),
        monthly=counts.read_text("monthly", _parse_count, 0),
        yearly=counts.read_text("yearly", _parse_count, 0),
        within_seconds=counts.read_text("within", _parse_within, 0),
        tags=tuple(
            parse_text(item, "tags", _parse_tags, "", report)
            for item in counts.read_items("tags", example="write a list, for instance [release]") or ()
        ),
    )
    if keep == KeepPolicy() and report.count == problems_before:
        report.add(
            Code.KEEPS_NOTHING,
            "'keep' keeps no snapshot, so each would expire as soon as it is taken",
            hint="write how many to keep, for instance {last: 3, daily: 7}, or leave 'keep' out",
            at=entry.key_position,
        )
    return keep


def _parse_timezone(known: Collection[str] | None, text: str) -> str:
    if known is None:
        is_valid = len(text) <= MAX_TIMEZONE_CHARACTERS and _TIMEZONE.fullmatch(text) is not None
    else:
        is_valid = text in known
    if is_valid:
        return text
    nearest = find_nearest(text, known or ())
    raise RuleError(
        Code.TIMEZONE_INVALID,
        f"{quote(text)} is not a timezone",
        hint=f"did you mean {nearest}?" if nearest else "write an IANA name, for instance Europe/Berlin or UTC",
    )


def _parse_quiesce(text: str) -> Quiesce:
    try:
        return Quiesce(text)
    except ValueError:
        nearest = find_nearest(text, Quiesce)
        raise RuleError(
            Code.QUIESCE_UNKNOWN,
            f"{quote(text)} is not a way to bring a stack to rest",
            hint=f"did you mean {nearest}?" if nearest else f"write {join_words(Quiesce)}",
        ) from None


def _parse_count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise RuleError(
            Code.KEEP_INVALID,
            f"{quote(text)} is not a number of snapshots",
            hint="write a whole number from 0 to 999999",
        )
    return int(text)


def _parse_within(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise RuleError(
            Code.KEEP_INVALID, str(error), hint="write a number and m, h, d or w, for instance 14d"
        ) from error


def _parse_tags(text: str) -> str:
    if not _TAGS.fullmatch(text):
        raise RuleError(
            Code.KEEP_INVALID,
            f"{quote(text)} is not a tag",
            hint="write letters, digits, -, _ and ., for instance release, or several such with commas and no spaces",
        )
    return text

"""What is in force for one stack: its contract's `spec.snapshots`, and the settings for what that leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tzlocal import get_localzone

from hostk8s_agent.contract.model import KeepPolicy, Quiesce
from hostk8s_agent.contract.rules import RuleError
from hostk8s_agent.contract.schedules import NoSchedule, parse_duration, parse_schedule_or_off
from hostk8s_agent.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.contract.model import Contract, SnapshotPolicy
    from hostk8s_agent.contract.schedules import Schedule
    from hostk8s_agent.settings import Settings

_NUMBERS: Final = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """How one stack is snapshotted. `schedule` is None when only a person takes its snapshots."""

    schedule: Schedule | None
    zone: ZoneInfo
    keep: KeepPolicy
    quiesce: Quiesce


def load_default_policy(settings: Settings) -> PolicyInForce:
    """Return what is in force for a contract that says nothing. Raises `SettingsError` for a value that is none."""
    try:
        schedule = parse_schedule_or_off(settings.snapshot_schedule.strip())
    except RuleError as error:
        raise SettingsError(f"snapshot_schedule: {error.message}", hint=error.hint) from error
    return PolicyInForce(
        None if isinstance(schedule, NoSchedule) else schedule,
        _find_zone(settings.snapshot_timezone),
        _parse_keep(settings.snapshot_keep),
        Quiesce(settings.snapshot_quiesce),
    )


def find_policy(policy: SnapshotPolicy | None, default: PolicyInForce) -> PolicyInForce:
    """Return what is in force for a stack: what its contract says, the default for the rest."""
    if policy is None:
        return default
    return PolicyInForce(
        None if isinstance(policy.schedule, NoSchedule) else policy.schedule or default.schedule,
        _require_zone(policy.timezone, default.zone),
        policy.keep or default.keep,
        policy.quiesce or default.quiesce,
    )


def find_stack_policy(contract: Contract | None, default: PolicyInForce) -> PolicyInForce | None:
    """Return what is in force for a stack with this contract, None for one without."""
    return None if contract is None else find_policy(contract.snapshots, default)


def _require_zone(name: str | None, default: ZoneInfo) -> ZoneInfo:
    try:
        return ZoneInfo(name) if name else default
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A name of the right form that this machine does not know: late by hours is better than never.
        return default


def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name) if name else ZoneInfo(str(get_localzone()))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        if not name:
            return ZoneInfo("UTC")
        raise SettingsError(
            f"snapshot_timezone: {name} is not a timezone", hint="write an IANA name, for instance Europe/Berlin"
        ) from error


def _parse_keep(written: Mapping[str, int | str | list[str]]) -> KeepPolicy:
    """Return the policy that the setting `snapshot_keep` names, in the words of a contract's `keep`."""
    known = (*_NUMBERS, "within", "tags")
    numbers: dict[str, int] = {}
    tags: tuple[str, ...] = ()
    for name, value in written.items():
        if name == "tags" and isinstance(value, list):
            tags = tuple(value)
        elif name == "within" and isinstance(value, str):
            numbers["within_seconds"] = _parse_within(value)
        elif name in _NUMBERS and isinstance(value, int) and value >= 0:
            numbers[name] = value
        else:
            raise SettingsError(
                f"snapshot_keep: {name} = {value} is nothing that can be kept",
                hint=f"write numbers, a duration for within and a list for tags; known are {', '.join(known)}",
            )
    if not tags and not any(numbers.values()):
        raise SettingsError("snapshot_keep keeps nothing", hint="write how many to keep, for instance {last = 3}")
    return KeepPolicy(**numbers, tags=tags)


def _parse_within(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(
            f"snapshot_keep: {error}", hint="write a number and m, h, d or w, for instance 14d"
        ) from error

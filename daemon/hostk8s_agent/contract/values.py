"""The small values of a directory: who owns it, what others may do with it, how it may be mounted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import find_nearest, join_words, quote

ACCESS_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
READ_WRITE_ONCE_POD: Final = "ReadWriteOncePod"

# kubectl prints these, so people write them.
_SHORT_ACCESS_MODES: Final = MappingProxyType(
    {"RWO": "ReadWriteOnce", "ROX": "ReadOnlyMany", "RWX": "ReadWriteMany", "RWOP": READ_WRITE_ONCE_POD}
)

# uid_t has 32 bits, and 4294967295 is (uid_t) -1: "leave as it is" to chown(2).
MAX_ID: Final = 2**32 - 2

OWNER_PATTERN: Final = "[0-9]{1,10}:[0-9]{1,10}"
PERMISSIONS_PATTERN: Final = "[0-7]{3,4}"

_OWNER: Final = re.compile(OWNER_PATTERN)
_PERMISSIONS: Final = re.compile(PERMISSIONS_PATTERN)


@dataclass(frozen=True, slots=True)
class Owner:
    """The numbers of the user and the group that a directory belongs to."""

    uid: int
    gid: int

    def __str__(self) -> str:
        """Render as the contract writes it: `26:26`."""
        return f"{self.uid}:{self.gid}"


DEFAULT_OWNER: Final = Owner(1000, 1000)
DEFAULT_PERMISSIONS: Final = 0o755


def parse_owner(text: str) -> Owner:
    """Given `uid:gid` as written, return the owner, or raise `RuleError`."""
    if _OWNER.fullmatch(text):
        uid, gid = (int(number) for number in text.split(":"))
        if max(uid, gid) <= MAX_ID:
            return Owner(uid, gid)
    hint = f'write two numbers from 0 to {MAX_ID}, for instance "1000:1000"'
    if re.search("[A-Za-z]", text):
        hint += "; a user's name means another number in each image, so look it up with 'id'"
    raise RuleError(Code.OWNER_INVALID, f"the owner {quote(text)} is not uid:gid", hint=hint)


def parse_permissions(text: str) -> int:
    """Given three or four octal digits as written, return the mode: `parse_permissions("0755") == 0o755`."""
    if _PERMISSIONS.fullmatch(text):
        return int(text, 8)
    octal = re.fullmatch("0o([0-7]{3,4})", text)
    raise RuleError(
        Code.PERMISSIONS_INVALID,
        f"the permissions {quote(text)} are not three or four octal digits",
        hint=f"write {octal[1]}" if octal else "write digits from 0 to 7 as chmod takes them, for instance 755 or 0700",
    )


def parse_access_mode(text: str) -> str:
    """Given one access mode as written, return it, or raise `RuleError`."""
    if text in ACCESS_MODES:
        return text
    nearest = _SHORT_ACCESS_MODES.get(text.upper()) or find_nearest(text, ACCESS_MODES)
    raise RuleError(
        Code.ACCESS_MODE_UNKNOWN,
        f"{quote(text)} is not an access mode",
        hint=f"did you mean {nearest}?" if nearest else f"write {join_words(ACCESS_MODES)}",
    )

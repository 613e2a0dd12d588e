"""What was in fact applied for each stack: the only thing that pruning ever goes by.

Only the standard library is imported here: `hostk8s-agent status` must start fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

InventoryKind = Literal["PersistentVolume", "StorageClass", "Directory"]


class InventoryKey(NamedTuple):
    """What was applied, and for which stack; `name` is the object's name, or the directory's path (`/mnt/pv/...`)."""

    stack: str
    kind: InventoryKind
    name: str


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One thing that was seen in place for a stack, after we applied it or found it ours.

    `uid` is the object's, empty for a directory and where an earlier version did not record it. `recorded_at` is when
    it was first seen, `unwanted_since` when the stack's contract was first found not to ask for it any more, None
    while it does; both in seconds since the epoch.
    """

    key: InventoryKey
    uid: str = ""
    recorded_at: float = 0.0
    unwanted_since: float | None = None


def find_past_inventory(known: Mapping[str, Mapping[str, Any]]) -> tuple[InventoryEntry, ...]:
    """Given each stack's last known status as JSON, return the inventory as far as it can be told from that."""
    found: dict[InventoryKey, None] = {}
    for stack, status in known.items():
        for part in status.get("directories", ()):
            if part.get("state") == "Ready":
                found[InventoryKey(stack, "Directory", part["path"])] = None
        for part in status.get("volumes", ()):
            # A phase shows that it was seen; a blocked one may be another's.
            if part.get("phase") and part.get("state") != "Blocked":
                found[InventoryKey(stack, "PersistentVolume", part["name"])] = None
                found[InventoryKey(stack, "StorageClass", part["storageClass"])] = None
    return tuple(map(InventoryEntry, found))

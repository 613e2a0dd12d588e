"""What is told on the cluster's objects, deduplicated and bounded: values and rules, without a client or a clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import ObjectKey

REQUESTS_AT_ONCE = 4
SECONDS_A_REQUEST = 20.0
"""After a burst of four, three requests a minute: a cluster with a thousand volumes is not to notice us."""

KNOWN_LIMIT = 1_000
WAITING_LIMIT = 100
# A same thing that happens after a longer pause is a new event (client-go's recorder forgets after ten minutes; etcd
# forgets events after an hour).
SAME_SECONDS = 3_000.0
_MESSAGE_LIMIT = 1_000


class Told(NamedTuple):
    """What is one event however often it happens: client-go's recorder compares just these."""

    key: ObjectKey
    severity: str
    reason: str
    message: str


@dataclass(slots=True)
class Occurrences:
    """One event: how often it happened, from when to when (RFC 3339), and its name once it was written.

    `sent` is how many of the occurrences the server knows of.
    """

    told: Told
    first_at: str
    last_at: str
    count: int = 1
    sent: int = 0
    name: str = ""
    uid: str = ""
    written_at: float = 0.0


@dataclass(slots=True)
class EventQueue:
    """What waits to be written, the oldest first. Not thread-safe; times are the caller's monotonic seconds."""

    _known: OrderedDict[Told, Occurrences] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[Told, None] = field(default_factory=OrderedDict)
    _tokens: float = float(REQUESTS_AT_ONCE)
    _filled_at: float = 0.0

    def add(self, told: Told, at: str) -> None:
        """Take one occurrence. Beyond 100 that wait, the oldest are dropped: they are in our own history."""
        known = self._known.get(told)
        if known is None:
            self._known[told] = Occurrences(told, at, at)
        else:
            known.count += 1
            known.last_at = at
        self._known.move_to_end(told)
        self._waiting.setdefault(told)
        while len(self._waiting) > WAITING_LIMIT:
            dropped, _ = self._waiting.popitem(last=False)
            self._known.pop(dropped)
        while len(self._known) > KNOWN_LIMIT:
            oldest = next(one for one in self._known if one not in self._waiting)
            del self._known[oldest]

    def seconds_until_next(self, now: float) -> float | None:
        """Return in how many seconds the next request may be made, None when nothing waits."""
        if not self._waiting:
            return None
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) * SECONDS_A_REQUEST)

    def take(self, now: float) -> Occurrences:
        """Take the next event out, to be written by one request. There must be one, and it must be its time."""
        self._fill(now)
        self._tokens -= 1.0
        told, _ = self._waiting.popitem(last=False)
        known = self._known[told]
        if known.name and now - known.written_at > SAME_SECONDS:
            known.name, known.uid = "", ""
            known.first_at, known.count, known.sent = known.last_at, known.count - known.sent, 0
        return known

    def forget_all(self) -> None:
        """Another cluster knows of none of them."""
        self._known.clear()
        self._waiting.clear()

    def _fill(self, now: float) -> None:
        gained = (now - self._filled_at) / SECONDS_A_REQUEST
        self._tokens = min(float(REQUESTS_AT_ONCE), self._tokens + max(0.0, gained))
        self._filled_at = now


def render_event(one: Occurrences, uid: str, name: str, component: str) -> dict[str, Any]:
    """Return the core/v1 Event for an object of that UID. Cluster-scoped objects have theirs in `default`."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": one.told.key.kind, "name": one.told.key.name, "uid": uid},
        "reason": one.told.reason,
        "message": one.told.message[:_MESSAGE_LIMIT],
        "type": one.told.severity,
        "source": {"component": component},
        "firstTimestamp": _seconds(one.first_at),
        "lastTimestamp": _seconds(one.last_at),
        "count": one.count,
    }


def render_count(one: Occurrences) -> dict[str, Any]:
    """Return the merge patch that raises an event's count, as client-go's recorder does."""
    return {"count": one.count, "lastTimestamp": _seconds(one.last_at)}


def _seconds(at: str) -> str:
    """Return a time without its milliseconds: these fields of the API have whole seconds (meta/v1, Time)."""
    return f"{at.partition('.')[0]}Z"

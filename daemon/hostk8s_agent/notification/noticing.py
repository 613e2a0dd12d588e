"""Which of what is wrong is told now: what has lasted, once, and not too often. No clock, no thread, no channel."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from hostk8s_agent.logs import hide_secrets
from hostk8s_agent.notification.conditions import Condition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hostk8s_agent.notification.conditions import Look
    from hostk8s_agent.settings import Settings

SETTLE_SECONDS: Final = 60.0
"""What is gone for less than this is not over: a stack that waits for Docker for a moment, something that flaps."""

# A look that comes late, after a machine's sleep above all, says nothing about the time in between.
LONGEST_STEP_SECONDS: Final = 60.0
_HOUR_SECONDS: Final = 3600.0
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told. `kinds` and `stacks` are sorted; `stacks` is empty for what concerns the agent.

    `conditions` are what it is about; none for a test.
    """

    title: str
    text: str
    kinds: tuple[str, ...]
    stacks: tuple[str, ...]
    is_failure: bool = True
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say: `about` kinds; a problem must last `after_seconds`; `repeat_seconds` 0 means once."""

    about: Collection[str]
    after_seconds: float
    repeat_seconds: float
    max_per_hour: int


def load_terms(settings: Settings) -> Terms:
    """Return the terms that the settings say."""
    return Terms(
        frozenset(settings.notify_about),
        settings.notify_after_seconds,
        settings.notify_repeat_seconds,
        settings.notify_max_per_hour,
    )


@dataclass(slots=True)
class _Known:
    condition: Condition
    seen_at: float
    age_seconds: float = 0.0
    told_at: float | None = None


class Noticer:
    """Remembers what is wrong and what was told of it. Not thread-safe.

    `told` is what `render_told` returned before a restart, empty at the first start: nothing is told anew by that.
    """

    def __init__(self, terms: Terms, workspace: str, told: str = "") -> None:
        self._terms = terms
        self._workspace = workspace
        self._known: dict[str, _Known] = {}
        self._over: list[Condition] = []
        self._sent_at: deque[float] = deque()
        self._looked_at: float | None = None
        for condition, told_at in _parse_told(told):
            self._known[condition.key] = _Known(condition, 0.0, told_at=told_at)

    def notice(self, look: Look, monotonic: float, now: float) -> tuple[Notice, ...]:
        """Return what is to be told, at most one of what is wrong and one of what is over.

        `monotonic` are seconds that stand still in a machine's sleep, `now` is Unix time.
        """
        self._take_in(look, monotonic)
        while self._sent_at and not now - _HOUR_SECONDS < self._sent_at[0] <= now:
            self._sent_at.popleft()
        notices = []
        if (due := [one for one in self._known.values() if self._is_due(one, now)]) and self._may_send():
            for one in due:
                one.told_at = now
            self._sent_at.append(now)
            notices.append(self.render([one.condition for one in due]))
        if self._over and self._may_send():
            self._sent_at.append(now)
            notices.append(self.render(self._over, is_over=True))
            self._over = []
        return tuple(notices)

    def render_told(self) -> str:
        """Return as JSON what was told and is not over, for the next start."""
        told = [[asdict(one.condition), one.told_at] for one in self._known.values() if one.told_at is not None]
        return json.dumps(told)

    def has_told(self, key: str) -> bool:
        """Whether that was told, and is not over."""
        return key in self._known and self._known[key].told_at is not None

    def render(self, conditions: Iterable[Condition], *, is_over: bool = False) -> Notice:
        """Return the notice that tells these conditions, at least one."""
        ordered = sorted(conditions, key=lambda one: (bool(one.stack), one.key))
        first, number = ordered[0], len(ordered)
        words = first.message if number == 1 else f"{number} problems"
        title = f"HostK8s {self._workspace}: {'over: ' if is_over else ''}{words}"
        lines = [one.message if is_over or not one.hint else f"{one.message} ({one.hint})" for one in ordered[:_SHOWN]]
        if number > _SHOWN:
            lines.append(f"and {number - _SHOWN} more: hostk8s-agent status")
        return Notice(
            title=_shorten(str(hide_secrets(title))),
            text=str(hide_secrets("\n".join(lines))),
            kinds=("recovery",) if is_over else tuple(sorted({one.kind for one in ordered})),
            stacks=tuple(sorted({one.stack for one in ordered if one.stack})),
            is_failure=not is_over,
            conditions=tuple(ordered),
        )

    def _take_in(self, look: Look, monotonic: float) -> None:
        step = 0.0 if self._looked_at is None else min(monotonic - self._looked_at, LONGEST_STEP_SECONDS)
        if self._looked_at is None:
            for one in self._known.values():
                one.seen_at = monotonic
        self._looked_at = monotonic
        present = {one.key: one for one in look.conditions}
        for key, condition in present.items():
            known = self._known.get(key)
            if known is None:
                self._known[key] = _Known(condition, monotonic)
            else:
                known.condition, known.seen_at = condition, monotonic
                known.age_seconds += step
        for key, known in list(self._known.items()):
            if key in present:
                continue
            if key.startswith(look.unseen):
                known.seen_at = monotonic
            elif monotonic - known.seen_at >= SETTLE_SECONDS:
                del self._known[key]
                if known.told_at is not None and "recovery" in self._terms.about:
                    self._over.append(known.condition)

    def _is_due(self, known: _Known, now: float) -> bool:
        if known.condition.kind not in self._terms.about:
            return False
        if known.condition.must_last and known.age_seconds < self._terms.after_seconds:
            return False
        if known.told_at is None:
            return True
        # A clock that was set back puts nothing off.
        return bool(self._terms.repeat_seconds) and not 0 <= now - known.told_at < self._terms.repeat_seconds

    def _may_send(self) -> bool:
        return len(self._sent_at) < self._terms.max_per_hour


def _shorten(title: str, length: int = 120) -> str:
    line = " ".join(title.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _parse_told(text: str) -> Iterable[tuple[Condition, float]]:
    try:
        return [(Condition(**condition), float(told_at)) for condition, told_at in json.loads(text or "[]")]
    except (ValueError, TypeError):
        # Written by another version: it is told once more.
        return []

"""What a run could not deliver before it ended, and what becomes of it in the next. No clock, no thread, no channel."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from hostk8s_agent.notification.conditions import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hostk8s_agent.notification.conditions import Look
    from hostk8s_agent.notification.noticing import Notice, Noticer


@dataclass(slots=True)
class Kept:
    """What one channel still has to be told, by key: that something is wrong, and that something is over.

    Of each thing once, so that it is bounded by what is wrong. The words are made anew: they are to be true then.
    """

    wrong: dict[str, Condition] = field(default_factory=dict)
    over: dict[str, Condition] = field(default_factory=dict)

    def add(self, notice: Notice) -> None:
        """Keep what a notice tells."""
        (self.wrong if notice.is_failure else self.over).update({one.key: one for one in notice.conditions})

    def take_due(self, look: Look, noticer: Noticer, told_now: Iterable[Notice]) -> tuple[Notice, ...]:
        """Remove and return what is to be told now that the noticer has taken this look in.

        What is wrong: once it is seen again. What is not seen waits as long as the noticer waits before it takes it for
        over; then it goes, and that it is over is the noticer's to tell. What was over is told unless it is back.
        """
        present = {one.key: one for one in look.conditions}
        said = {one.key for notice in told_now for one in notice.conditions}
        due = [present[key] for key in self.wrong if key in present and key not in said and noticer.has_told(key)]
        self.wrong = {key: one for key, one in self.wrong.items() if key not in present and noticer.has_told(key)}
        seen_over = {key for key in self.over if not key.startswith(look.unseen)}
        over = [one for key, one in self.over.items() if key in seen_over and key not in present and key not in said]
        self.over = {key: one for key, one in self.over.items() if key not in seen_over}
        return (
            *((noticer.render(due),) if due else ()),
            *((noticer.render(over, is_over=True),) if over else ()),
        )


def render_kept(kept: Mapping[str, Kept]) -> str:
    """Return what each channel (by its name) still has to be told as JSON, for the next start; empty when nothing."""
    told = {name: asdict(one) for name, one in kept.items() if one.wrong or one.over}
    return json.dumps(told) if told else ""


def parse_kept(text: str) -> dict[str, Kept]:
    """Return what `render_kept` wrote; nothing where another version wrote it."""
    try:
        return {
            name: Kept(**{part: {key: Condition(**one) for key, one in of.items()} for part, of in parts.items()})
            for name, parts in json.loads(text or "{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}

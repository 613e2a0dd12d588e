"""What could not be delivered before the agent ended: told when it is still wrong, and in words that are true then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hostk8s_agent.notification.conditions import Condition, Look
from hostk8s_agent.notification.keeping import Kept, parse_kept, render_kept
from hostk8s_agent.notification.noticing import SETTLE_SECONDS, Notice, Noticer, Terms

TERMS = Terms(("problem", "recovery"), 0, 86400, 6)
BLOCKED = Condition("stack:a", "problem", "a is Blocked: why", "do this", "a")
FAILED = Condition("stack:b", "problem", "b is Failed: why", "", "b")


class Restarted:
    """A noticer that was told to remember by an earlier run, which has told both and delivered neither."""

    def __init__(self, *, is_over: bool = False) -> None:
        earlier = Noticer(TERMS, "w")
        (notice,) = earlier.notice(Look((BLOCKED, FAILED)), 0, 0)
        kept = Kept()
        kept.add(earlier.render((BLOCKED, FAILED), is_over=True) if is_over else notice)
        self.kept = parse_kept(render_kept({"webhook": kept}))["webhook"]
        self.noticer = Noticer(TERMS, "w", "" if is_over else earlier.render_told())

    def look(self, *conditions: Condition, at: float = 1000, unseen: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
        """What the channel is told after a look: the text, and whether it is of a failure."""
        look = Look(conditions, unseen)
        notices = self.noticer.notice(look, at, at)
        told: tuple[Notice, ...] = (*self.kept.take_due(look, self.noticer, notices), *notices)
        return [(one.text, one.is_failure) for one in told]


def test_what_is_still_wrong_is_told_once_as_it_is_now() -> None:
    """Each when it is seen again, in the words of now."""
    run = Restarted()
    assert run.look(replace(BLOCKED, message="a is Degraded: else")) == [("a is Degraded: else (do this)", True)]
    assert run.look(BLOCKED, FAILED, at=1010) == [("b is Failed: why", True)]
    assert run.look(BLOCKED, FAILED, at=1020) == []


def test_what_is_over_by_then_is_told_as_over() -> None:
    """And nobody is told that it is wrong."""
    run = Restarted()
    assert run.look(BLOCKED) == [("a is Blocked: why (do this)", True)]
    assert run.look(BLOCKED, at=1000 + SETTLE_SECONDS) == [("b is Failed: why", False)]
    assert run.kept == Kept()
    assert run.look(BLOCKED, FAILED, at=1010 + SETTLE_SECONDS) == [("b is Failed: why", True)], "it is wrong anew"


def test_while_nothing_can_be_seen_all_waits() -> None:
    """Neither that it is wrong can be said, nor that it is over."""
    for is_over in (False, True):
        run = Restarted(is_over=is_over)
        assert run.look(unseen=("",)) == []
        assert run.look(unseen=("stack:",), at=5000) == []
        assert run.kept != Kept()


def test_that_something_was_over_is_told_unless_it_is_back() -> None:
    """It is told as wrong then."""
    run = Restarted(is_over=True)
    assert run.look(FAILED) == [("a is Blocked: why", False), ("b is Failed: why", True)]
    assert run.look(FAILED, at=1010) == []


def test_what_is_told_anew_anyway_is_not_told_twice() -> None:
    """A day has gone by: the repeat comes in the same look."""
    run = Restarted()
    assert len(run.look(BLOCKED, FAILED, at=90_000)) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"webhook": {"other": {}}}', '{"webhook": {"wrong": {"a": {}}}}'])
def test_what_another_version_wrote_is_not_read(text: str) -> None:
    """It is told when it is due again."""
    assert parse_kept(text) == {}

"""What `status` says of what somebody did lately: what was put back, and what a contract left behind."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hostk8s_agent.cli.output import Screen

PUT_BACK_SECONDS = 600.0
"""How long the status says of what was put back that it was."""

LEFT_BEHIND_SECONDS = 7 * 86_400.0
"""How long it says of a stack that is gone what it left behind; `orphans` goes on."""

_SHOWN = 5


def render_past(document: Mapping[str, Any], now: float, screen: Screen) -> Iterator[str]:
    """Give the lines, none when nothing was put back and nothing left behind lately; `now` is Unix time."""
    put_back = [
        (one["at"], f"{stack['name']}: {_explain_put_back(stack['name'], one)}")
        for stack in document["stacks"]
        for one in stack.get("drift", ())
        if _is_within(one["at"], now, PUT_BACK_SECONDS)
    ]
    yield from _render_section("Put back", [words for _, words in sorted(put_back, reverse=True)], "events", screen)
    left: dict[tuple[str, str], list[str]] = {}
    for one in document.get("leftBehind", ()):
        if _is_within(one["since"], now, LEFT_BEHIND_SECONDS):
            left.setdefault((one["stack"], one["file"]), []).append(one["path"])
    yield from _render_section("Left behind", map(_explain_left, left.items()), "orphans", screen)


def _explain_put_back(stack: str, drift: Mapping[str, Any]) -> str:
    """Say in a sentence what somebody changed of the stack's, and what is to be done."""
    if drift["field"] == "existence":
        if drift["object"].startswith("/"):
            return (
                f"{drift['object']} was removed, and was made again at {drift['at']}, empty; what a snapshot has of it "
                f"comes back with hostk8s-agent snapshot restore {stack}"
            )
        return (
            f"{drift['object']} was removed, and was made again at {drift['at']}; its data stays, nothing is to be done"
        )
    who = f" by {drift['manager']}" if drift["manager"] else ""
    found = "absent" if drift["observed"] is None else drift["observed"]
    return (
        f"{drift['field']} of {drift['object']} was made {found}{who}, and was put back to {drift['desired']} at "
        f"{drift['at']}; nothing is to be done"
    )


def _explain_left(left: tuple[tuple[str, str], list[str]]) -> str:
    (stack, file), paths = left
    return (
        f"{stack}: its contract is gone, and nothing was changed in {', '.join(sorted(paths))}; bring {file} back, and "
        "it is used again, or see what it holds: hostk8s-agent orphans"
    )


def _render_section(title: str, sentences: Iterable[str], verb: str, screen: Screen) -> Iterator[str]:
    told = list(sentences)
    if not told:
        return
    yield from ("", screen.paint(title, "bold"))
    for words in told[:_SHOWN]:
        yield from wrap(words, "  ", screen)
    if len(told) > _SHOWN:
        yield f"  and {len(told) - _SHOWN} more: hostk8s-agent {verb}"


def _is_within(at: str, now: float, seconds: float) -> bool:
    try:
        then = datetime.fromisoformat(at).timestamp()
    except ValueError:
        return False
    return now - then <= seconds

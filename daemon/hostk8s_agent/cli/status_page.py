"""A status document as people read it: one screen of everything, or all of one stack."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, cut, drop_columns, render_age, render_table, wrap
from hostk8s_agent.cli.output import escape_controls
from hostk8s_agent.cli.status_past import render_past
from hostk8s_agent.cli.status_snapshots import render_protection, render_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hostk8s_agent.cli.output import Color, Screen

Document = dict[str, Any]

# Worst first: the order in which stacks are shown. The same as status.model.STACK_STATES, whose import costs 9 ms.
STATE_ORDER = ("Blocked", "Invalid", "Pending", "Removing", "Ready")
_COLORS: dict[str, Color] = {
    "Blocked": "red",
    "Invalid": "red",
    "Pending": "yellow",
    "Removing": "dim",
    "Ready": "green",
}
FIELD_WIDTH = 12
NOT_MEASURED = (
    "What the directories hold is not measured: only a helper container leads into the volume, and each look would run "
    "a container."
)
# What a narrow terminal does without, the first one first. The name and the state stay; the problems stand below.
DROPPED_FIRST = ("CLAIMS", "CHANGED", "VOLUMES", "DIRECTORIES", "PROTECTED", "MESSAGE")
# The same of one stack; -o wide has all of it.
_DIRECTORY_COLUMNS_DROPPED = ("PERMISSIONS", "OWNER", "PATH", "MESSAGE")
_VOLUME_COLUMNS_DROPPED = ("CAPACITY", "STORAGECLASS", "PHASE", "CLAIM", "MESSAGE")
_SYMBOLS = {"Blocked": "✗", "Invalid": "✗", "Pending": "…", "Removing": "-", "Ready": "✓"}
_GOOD_STATES = frozenset({"Running", "Connected", "Absent"})


def render_status_page(document: Document, screen: Screen, *, is_wide: bool = False) -> list[str]:
    """Return the lines of the whole status: what is connected, a row for each stack, then the problems."""
    lines = list(_render_head(document, screen))
    stacks = sorted(document["stacks"], key=_rank)
    lines.append("")
    rows = _render_stacks(stacks, screen, _find_protection(document), is_wide=is_wide)
    lines += rows or ["No stack has a contract: software/stacks/<stack>/hostk8s.storage.yaml"]
    problems = [("", problem) for problem in document["problems"]]
    problems += [(stack["name"], problem) for stack in stacks for problem in stack["problems"]]
    lines += _render_problems(problems, screen)
    lines += render_past(document, time.time(), screen)
    return lines


def render_stack_page(document: Document, screen: Screen) -> list[str]:
    """Return the lines of the one stack in the document: its directories, its volumes and its problems."""
    (stack,) = document["stacks"]
    state = screen.paint(_mark(stack["state"], screen), _COLORS.get(stack["state"]))
    lines = [
        _field("Stack", stack["name"], screen),
        _field("State", "", screen) + state,
        *wrap(stack["message"], " " * FIELD_WIDTH, screen),
        _field("Contract", stack["file"], screen),
        _field("Reconciled", stack["lastReconciledAt"] or "not yet", screen),
        _field("Changed", stack.get("lastChangedAt") or "not yet", screen),
    ]
    directories = [
        [Cell(one["name"]), Cell(one["path"]), Cell(one["owner"]), Cell(one["permissions"]), *_state_cells(one, screen)]
        for one in stack["directories"]
    ]
    volumes = [
        [
            Cell(one["name"]),
            Cell(one["phase"] or "-"),
            Cell(one["storageClass"]),
            Cell(one["capacity"]),
            Cell(one["claim"] or "-"),
            *_state_cells(one, screen),
        ]
        for one in stack["volumes"]
    ]
    for headers, rows, dropped in (
        (("DIRECTORY", "PATH", "OWNER", "PERMISSIONS", "STATE", "MESSAGE"), directories, _DIRECTORY_COLUMNS_DROPPED),
        (
            ("VOLUME", "PHASE", "STORAGECLASS", "CAPACITY", "CLAIM", "STATE", "MESSAGE"),
            volumes,
            _VOLUME_COLUMNS_DROPPED,
        ),
    ):
        if rows:
            lines += ["", *render_table(*drop_columns(headers, rows, screen, dropped), screen)]
    lines += render_protection(document, stack["name"], screen)
    if document["docker"]["access"] == "helper-container":
        lines += ["", *wrap(NOT_MEASURED, "", screen)]
    lines += render_sizes(document, stack, screen, time.time())
    lines += _render_drift(stack.get("drift", ()), screen)
    lines += _render_problems([("", problem) for problem in (*stack["problems"], *document["problems"])], screen)
    return lines


def _render_drift(drift: Sequence[Document], screen: Screen) -> Iterator[str]:
    """Give a row for each change that somebody made and that was put back, the newest first."""
    rows = [
        [
            Cell(one["at"]),
            Cell(one["field"]),
            Cell("-" if one["observed"] is None else one["observed"]),
            Cell(one["desired"]),
            Cell(one["manager"] or "-"),
            Cell(one["object"]),
        ]
        for one in reversed(drift)
    ]
    if rows:
        yield ""
        yield from render_table(("PUT BACK", "FIELD", "FOUND", "AGAIN", "CHANGED BY", "OBJECT"), rows, screen)


def _render_head(document: Document, screen: Screen) -> Iterator[str]:
    agent, docker, cluster, watch = (document[part] for part in ("agent", "docker", "cluster", "watch"))
    process = [f"process {agent['pid']}", f"since {agent['startedAt']}"] if agent["pid"] else []
    rows = (
        ("Agent", agent["state"], [f"version {agent['version']}", *process, agent["workspace"]]),
        (
            "Docker",
            docker["state"],
            [docker["endpoint"], docker["volume"], docker["access"], docker.get("message", "")],
        ),
        ("Cluster", cluster["state"], [cluster["context"], cluster["server"], cluster.get("message", "")]),
    )
    for name, state, details in rows:
        color: Color = "green" if state in _GOOD_STATES else "yellow"
        yield _field(name, ", ".join(filter(None, [state, *details])), screen, color, painted=len(state))
    if mount := cluster.get("mount"):
        yield _field("Mount", mount, screen)
    scanned = f"last scan {watch['lastScanAt']}" if watch["lastScanAt"] else "no scan yet"
    yield _field("Watch", ", ".join(filter(None, [watch["backend"], *watch["roots"], scanned])), screen)
    snapshots = document.get("snapshots", {})
    if snapshots.get("repository"):
        directories = snapshots["directories"]
        protected = sum(1 for one in directories if one["isProtected"])
        size = f"{snapshots['bytes'] / 1e6:.1f} MB"
        words = [f"{protected} of {len(directories)} directories protected", snapshots["repository"], size]
        yield _field("Snapshots", ", ".join(words), screen)
    if channels := document.get("notifications"):
        yield _field("Tells", ", ".join(map(_describe_channel, channels)), screen)


def _describe_channel(channel: Document) -> str:
    words = f"{channel['channel']} ({channel['target']})"
    if channel["state"] == "Untried":
        return words
    return f"{words} {channel['state'].lower()} {channel['lastAt']}"


def _find_protection(document: Document) -> dict[str, str]:
    """Return since when each stack is protected: its oldest verification; `no` where a directory has none."""
    found: dict[str, str] = {}
    for one in document.get("snapshots", {}).get("directories", ()):
        since = one["lastVerifiedAt"] if one["isProtected"] else "no"
        before = found.get(one["stack"], since)
        found[one["stack"]] = "no" if "no" in {before, since} else min(before, since)
    return found


def _render_stacks(
    stacks: Sequence[Document], screen: Screen, protection: Mapping[str, str], *, is_wide: bool
) -> list[str]:
    """Return a row for each stack; times are ages, but in the wide table, which is of any width."""
    now = time.time()

    def show(at: str) -> str:
        return at if is_wide or not at[:1].isdigit() else render_age(at, now)

    headers = ["STACK", "STATE", "DIRECTORIES", "VOLUMES", "CLAIMS", "CHANGED", "PROTECTED", "MESSAGE"]
    rows = [_render_stack(stack, screen, protection.get(stack["name"], "-"), show) for stack in stacks]
    if not is_wide:
        return render_table(*drop_columns(headers, rows, screen, DROPPED_FIRST), screen)
    headers[-1:-1] = ["RECONCILED", "CONTRACT"]
    for stack, row in zip(stacks, rows, strict=True):
        row[-1:-1] = [Cell(stack["lastReconciledAt"] or "not yet"), Cell(stack["file"])]
    return render_table(headers, rows, screen)


def _render_stack(stack: Document, screen: Screen, protected: str, show: Callable[[str], str]) -> list[Cell]:
    claimed = sum(bool(volume["claim"]) for volume in stack["volumes"])
    return [
        Cell(stack["name"]),
        Cell(_mark(stack["state"], screen), _COLORS.get(stack["state"])),
        Cell(_count_ready(stack["directories"])),
        Cell(_count_ready(stack["volumes"])),
        Cell(f"{claimed}/{len(stack['volumes'])}"),
        Cell(show(stack.get("lastChangedAt") or "-")),
        Cell(show(protected), "yellow" if protected == "no" else None),
        Cell(stack["message"]),
    ]


def _render_problems(problems: Iterable[tuple[str, Mapping[str, Any]]], screen: Screen) -> Iterator[str]:
    """Give the lines of problems, each with its stack, empty where that need not be said."""
    is_first = True
    told: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    stacks: defaultdict[tuple[Any, ...], set[str]] = defaultdict(set)
    for stack, one in problems:
        told[tuple(one.items())] = one
        stacks[tuple(one.items())].add(stack)
    for key, problem in told.items():
        if is_first:
            yield from ("", screen.paint("Problems", "bold"))
            is_first = False
        place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem.get(part) is not None)
        # What is wrong with Docker or the cluster is each stack's problem too, and of none in particular.
        if not place and len(stacks[key]) == 1:
            (place,) = stacks[key]
        code = escape_controls(problem["code"])
        yield f"  {screen.paint(code, 'red')}{f'  {escape_controls(place)}' if place else ''}"
        yield from wrap(problem["message"], "    ", screen)
        if problem["hint"]:
            yield from wrap(f"hint: {problem['hint']}", "    ", screen)


def _field(name: str, text: str, screen: Screen, color: Color | None = None, painted: int | None = None) -> str:
    """Return `Name  text`, the first `painted` characters of the text (None: all) in the colour."""
    width = None if screen.width is None else screen.width - FIELD_WIDTH
    shown = cut(escape_controls(text), width)
    end = len(shown) if painted is None else painted
    return (
        f"{screen.paint(name, 'bold')}{' ' * (FIELD_WIDTH - len(name))}{screen.paint(shown[:end], color)}{shown[end:]}"
    )


def _state_cells(part: Document, screen: Screen) -> tuple[Cell, Cell]:
    return Cell(_mark(part["state"], screen), _COLORS.get(part["state"])), Cell(part.get("message", ""))


def _mark(state: str, screen: Screen) -> str:
    return f"{_SYMBOLS[state]} {state}" if screen.has_symbols and state in _SYMBOLS else state


def _count_ready(parts: Sequence[Document]) -> str:
    return f"{sum(part['state'] == 'Ready' for part in parts)}/{len(parts)}"


def _rank(stack: Document) -> tuple[int, str]:
    state = stack["state"]
    return STATE_ORDER.index(state) if state in STATE_ORDER else -1, stack["name"]

"""What `status STACK` says of the snapshots of a stack's directories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, drop_columns, render_age, render_bytes, render_table, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hostk8s_agent.cli.output import Screen

_HEADERS = ("DIRECTORY", "PROTECTED", "SNAPSHOTS", "LAST GOOD", "LAST VERIFIED", "NEXT DUE", "AT RISK")
# What a narrow terminal does without, the first one first.
_DROPPED = ("LAST VERIFIED", "SNAPSHOTS", "LAST GOOD", "NEXT DUE", "AT RISK")


def render_protection(document: Mapping[str, Any], stack: str, screen: Screen) -> list[str]:
    """Return the lines: a row for each directory, then why what is due is not taken; none without snapshots."""
    found = [one for one in document.get("snapshots", {}).get("directories", ()) if one["stack"] == stack]
    rows = [
        [
            Cell(one["directory"]),
            Cell("yes", "green") if one["isProtected"] else Cell("no", "yellow"),
            Cell(str(one["snapshots"])),
            Cell(one["lastGoodAt"] or "-"),
            Cell(one["lastVerifiedAt"] or "-"),
            Cell(one["nextDueAt"] or "no schedule"),
            Cell("not known" if (risk := one.get("bytesAtRisk")) is None else render_bytes(risk)),
        ]
        for one in found
    ]
    if not rows:
        return []
    delays = sorted({one["delay"] for one in found if one["delay"]})
    return [
        "",
        *render_table(*drop_columns(_HEADERS, rows, screen, _DROPPED), screen),
        *(f"  due and not taken: {words}" for words in delays),
    ]


def render_sizes(document: Mapping[str, Any], stack: Mapping[str, Any], screen: Screen, now: float) -> Iterator[str]:
    """Give a line for each of the stack's directories whose size is known by a snapshot alone; `now` is Unix time."""
    declared = {one["name"]: one.get("declaredBytes") for one in stack["directories"]}
    for one in document.get("snapshots", {}).get("directories", ()):
        if one["stack"] == stack["name"] and one.get("sizeFrom") == "snapshot":
            of = f" of {render_bytes(size)} declared" if (size := declared.get(one["directory"])) else ""
            known = f"{render_bytes(one['sizeBytes'])}{of} at the snapshot {render_age(one['sizeAt'], now)} ago"
            yield from wrap(f"{one['directory']}: {known}; what it holds now is not known", "  ", screen)

"""What `status STACK` says of the snapshots of a stack's directories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostk8s_agent.cli.columns import Cell, render_bytes, render_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostk8s_agent.cli.output import Screen

_HEADERS = ("DIRECTORY", "PROTECTED", "SNAPSHOTS", "LAST GOOD", "LAST VERIFIED", "NEXT DUE", "AT RISK")


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
    return ["", *render_table(_HEADERS, rows, screen), *(f"  due and not taken: {words}" for words in delays)]

"""`status` without typer, whose import takes as long as all the rest of it.

Only the plain spellings are read here; anything else (help, abbreviations, mistakes) is left to typer, which is the
truth of what the command line is. A test holds the two together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from hostk8s_agent.cli.output import StatusFormat
from hostk8s_agent.cli.status import StatusOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMATS = frozenset(get_args(StatusFormat))


def parse_quick_status(arguments: Sequence[str]) -> StatusOptions | None:
    """Return what `status ...` asks for, None where typer has to say.

    For instance `["status", "foundation/airflow", "-o", "json"]`.
    """
    if not arguments or arguments[0] != "status":
        return None
    stack: str | None = None
    output: StatusFormat = "table"
    workspace: Path | None = None
    is_watching = False
    words = iter(arguments[1:])
    for word in words:
        name, _, attached = word.partition("=")
        if word in {"--watch", "-w"}:
            is_watching = True
        elif word in {"-o", "--output"} or name == "--output":
            value = attached if name != word else next(words, "")
            if value not in _FORMATS:
                return None
            output = cast("StatusFormat", value)
        elif name == "--workspace":
            value = attached if name != word else next(words, "")
            if not value or value.startswith("-"):
                return None
            workspace = Path(value)
        elif word and not word.startswith("-") and stack is None:
            stack = word
        else:
            return None
    return StatusOptions(stack, output, workspace, is_watching)

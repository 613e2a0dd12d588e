"""Data on stdout, messages on stderr; and what a terminal may be shown.

Only the standard library is imported here: `hostk8s-agent status` must start fast.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal, TextIO

OutputFormat = Literal["table", "json", "yaml"]
StatusFormat = Literal["table", "wide", "json", "yaml", "name"]
Color = Literal["red", "green", "yellow", "dim", "bold"]

_SGR: dict[Color, str] = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
# C0 and C1 controls, and what turns the direction of text: names and messages come from files that anyone may write.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Screen:
    """What the output goes to. `width` is in columns, None where lines may be of any length."""

    is_terminal: bool = False
    has_color: bool = False
    has_symbols: bool = False
    width: int | None = None

    def paint(self, text: str, color: Color | None) -> str:
        """Return the text in a colour, or as it is where there are none."""
        return f"\x1b[{_SGR[color]}m{text}\x1b[0m" if color and self.has_color and text else text


def find_screen(stream: TextIO | None = None) -> Screen:
    """Return what `stream` (stdout unless given) goes to. Colour and symbols are for terminals alone.

    `NO_COLOR` (no-color.org) and `TERM=dumb` turn colour off.
    """
    target = sys.stdout if stream is None else stream
    if not target.isatty():
        return Screen()
    import shutil  # noqa: PLC0415 - status must start fast, in a script above all

    is_dumb = os.environ.get("TERM") == "dumb"
    return Screen(
        is_terminal=True,
        has_color=not os.environ.get("NO_COLOR") and not is_dumb,
        has_symbols=not is_dumb and (target.encoding or "").lower().replace("-", "") == "utf8",
        width=shutil.get_terminal_size().columns,
    )


def escape_controls(text: str) -> str:
    r"""Return the text with everything that could move the cursor or hide text made visible (`\x1b`)."""
    return _CONTROLS.sub(lambda match: "\\n" if match[0] == "\n" else f"\\x{ord(match[0]):02x}", text)


def say(message: str) -> None:
    """Tell the person something, on stderr."""
    # Nobody can be told that stderr is closed.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def write(text: str) -> None:
    """Write data to stdout, with a line end."""
    # A file's name may have no encoding: shown escaped is better than not at all.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout.write(f"{text}\n")


def write_document(document: Any, output: OutputFormat) -> None:  # noqa: ANN401 - any JSON
    """Write JSON or YAML to stdout; `table` is not for this."""
    if output == "yaml":
        import yaml  # noqa: PLC0415 - status must start fast

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        write(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True).rstrip("\n"))
    else:
        write(json.dumps(document, indent=2))

"""Bytes to text: what of a file is refused before anything looks at its YAML."""

from __future__ import annotations

import re
from typing import Final

from hostk8s_agent.contract.reporting import START, Position, Report
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.contract.wording import count_of

MAX_FILE_BYTES: Final = 256 * 1024

_BYTE_ORDER_MARK: Final = "\ufeff"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
# What YAML allows in a stream (YAML 1.1, 5.1), without NEL, LS and PS: YAML 1.1 breaks lines at these three
# and no editor does, so that a comment could end where nobody sees it end.
_NOT_TEXT: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def decode(content: bytes, report: Report) -> str:
    """Return the text of a file, without its byte order mark, or raise `UnreadableError`."""
    if len(content) > MAX_FILE_BYTES:
        raise report.stop(
            Code.FILE_TOO_LARGE,
            f"the file has more than {count_of(MAX_FILE_BYTES, 'byte')}, the most that a contract may have",
            hint="is it really a contract? Keep anything else in another file",
            at=START,
        )
    try:
        text = content.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
        encoding = "is in UTF-16" if content.startswith(_UTF16_MARKS) else "has another encoding, or is no text"
        raise report.stop(
            Code.FILE_NOT_UTF8,
            f"the byte 0x{content[error.start]:02x} is not UTF-8: the file {encoding}",
            hint="save the file as UTF-8",
            at=position_in(before, len(before)),
        ) from error
    if odd := _NOT_TEXT.search(text):
        raise report.stop(
            Code.FILE_NOT_TEXT,
            f"the character U+{ord(odd[0]):04X} may not stand in a contract",
            hint="delete it (it may be invisible: retype the line), or save the file as text",
            at=position_in(text, odd.start()),
        )
    return text


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, cut where libyaml counts a new line."""
    return re.split("\r\n|\r|\n", text)


def position_in(text: str, index: int) -> Position:
    """Return the position of the character at an index, counting lines as libyaml does."""
    lines = split_lines(text[:index])
    return Position(len(lines), len(lines[-1]) + 1)

"""Bytes to a tree of texts with positions, and nothing that costs more than a glance to refuse.

The tree is built straight from the events of libyaml's pull parser, and each event is judged before the
next one is asked for. So a bomb (deep nesting, aliases, merge keys) is refused where it starts: PyYAML's own
composer needs 35 s for 700 bytes of merge keys and overflows the C stack at 50,000 brackets. No text ever
becomes a number, a date or a truth value here, because YAML 1.1 would read `0755` as 493 and `26:26` as 1586.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from hostk8s_agent.contract.decoding import decode, position_in, split_lines
from hostk8s_agent.contract.reporting import START, Position, Report
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.contract.wording import count_of, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 50
# About 290 directories. Without it, 256 KiB of "- a" take 150 ms.
MAX_VALUES: Final = 5_000

# libyaml compares each %TAG with all earlier ones: 256 KiB of them would take seconds.
_DIRECTIVE: Final = re.compile("^%", re.MULTILINE)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """One text as it stands in the file, without its quotes."""

    text: str
    position: Position
    is_plain: bool

    @property
    def is_null(self) -> bool:
        """Whether this says "no value": nothing, `~` or `null`, not in quotes."""
        return self.is_plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list, in the order of the file."""

    items: tuple[Node, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class Mapping:
    """The pairs of a mapping, in the order of the file. No two keys are the same."""

    pairs: tuple[tuple[Scalar, Node], ...]
    position: Position


@dataclass(frozen=True, slots=True)
class Refused:
    """Where something stood that was already reported (an alias, a value with a tag)."""

    position: Position


Node: TypeAlias = Scalar | Sequence | Mapping | Refused


def read_document(content: bytes, report: Report) -> Node:
    """Given a whole file, return the root of its one document.

    Raise `UnreadableError` if no tree can be made of it. Whatever is wrong goes to `report`, also where the
    rest can still be read: so a caller gets a tree and must look at the report all the same.
    """
    text = decode(content, report)
    if directive := _DIRECTIVE.search(text):
        raise report.stop(
            Code.YAML_DIRECTIVE,
            "the line starts with '%', which makes it a YAML directive",
            hint="delete the line: a contract needs no directives",
            at=position_in(text, directive.start()),
        )
    try:
        return _TreeReader(yaml.parse(text, Loader=yaml.CSafeLoader), report).read_root()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = Position(mark.line + 1, mark.column + 1) if mark else START
        raise report.stop(
            Code.YAML_SYNTAX,
            f"this is not valid YAML: {error.problem}",
            hint=_explain(error.problem or "", text, at),
            at=at,
        ) from error


class _TreeReader:
    """Builds the tree of one document from events, and judges each event before it asks for the next."""

    def __init__(self, events: Iterator[Event], report: Report) -> None:
        self._events = events
        self._report = report
        self._count = 0

    def read_root(self) -> Node:
        next(self._events)  # the stream's start
        if not isinstance(next(self._events), DocumentStartEvent):
            raise self._empty()
        root = self._read(next(self._events), depth=1)
        if isinstance(root, Scalar) and root.is_null:
            raise self._empty()
        next(self._events)  # the document's end
        following = next(self._events)
        if isinstance(following, DocumentStartEvent):
            self._report.add(
                Code.YAML_NOT_ONE_DOCUMENT,
                "a second YAML document starts here",
                hint="keep one contract in one file: delete the '---' and what follows",
                at=_position_of(following),
            )
        return root

    def _empty(self) -> Exception:
        return self._report.stop(
            Code.FILE_EMPTY,
            "the file says nothing",
            hint="write a contract (contracts/examples/ has some to start from), or delete the file",
            at=START,
        )

    def _read(self, event: Event, depth: int) -> Node:
        position = _position_of(event)
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._report.stop(
                Code.YAML_TOO_MANY_VALUES,
                f"the file holds more than {count_of(MAX_VALUES, 'value')}",
                hint="is it really a contract? Keep anything else in another file",
                at=position,
            )
        is_refused = isinstance(event, NodeEvent) and self._refuse(event, position)
        if isinstance(event, ScalarEvent):
            node: Node = Scalar(event.value, position, not event.style)
        elif isinstance(event, CollectionStartEvent):
            if depth > MAX_DEPTH:
                raise self._report.stop(
                    Code.YAML_TOO_DEEP,
                    f"lists and mappings are nested more than {MAX_DEPTH} deep",
                    hint="a contract needs six levels: look for brackets that are never closed",
                    at=position,
                )
            is_mapping = isinstance(event, MappingStartEvent)
            node = self._read_mapping(position, depth) if is_mapping else self._read_sequence(position, depth)
        else:
            return Refused(position)
        return Refused(position) if is_refused else node

    def _read_sequence(self, position: Position, depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._read(event, depth + 1))
        return Sequence(tuple(items), position)

    def _read_mapping(self, position: Position, depth: int) -> Mapping:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._read(event, depth + 1)
            value = self._read(next(self._events), depth + 1)
            if self._is_fresh(key, pairs):
                pairs[key.text] = key, value
        return Mapping(tuple(pairs.values()), position)

    def _is_fresh(self, key: Node, pairs: dict[str, tuple[Scalar, Node]]) -> TypeGuard[Scalar]:
        """Say whether a key is text that no earlier key of the mapping is; if it is not, report it."""
        if isinstance(key, Refused):
            return False
        if not isinstance(key, Scalar):
            self._report.add(
                Code.YAML_KEY_NOT_TEXT,
                "a list or a mapping stands where a field's name belongs",
                hint="write 'name: value', and quote a value that starts with '[', '{' or '?'",
                at=key.position,
            )
            return False
        if key.is_plain and key.text == "<<":
            self._report.add(
                Code.YAML_MERGE_KEY,
                "a merge key ('<<') may not stand in a contract",
                hint="write the fields out where they are needed",
                at=key.position,
            )
            return False
        if key.text in pairs:
            first = pairs[key.text][0].position
            self._report.add(
                Code.DUPLICATE_KEY,
                f"{quote(key.text)} stands already in line {first.line} of this mapping",
                hint="keep one of the two",
                at=key.position,
            )
            return False
        return True

    def _refuse(self, event: NodeEvent, position: Position) -> bool:
        """Report what makes a value more than it looks; say whether there was any of it."""
        if isinstance(event, AliasEvent):
            self._report.add(
                Code.YAML_ALIAS,
                f"an alias ({quote(f'*{event.anchor}')}) may not stand in a contract",
                hint="write the value out; if the text itself starts with '*', put it in quotes",
                at=position,
            )
            return True
        if event.anchor is not None:
            self._report.add(
                Code.YAML_ANCHOR,
                f"an anchor ({quote(f'&{event.anchor}')}) may not stand in a contract",
                hint="delete it; if the text itself starts with '&', put it in quotes",
                at=position,
            )
        if (tag := getattr(event, "tag", None)) is not None:
            self._report.add(
                Code.YAML_TAG,
                f"a tag ({quote(tag.replace('tag:yaml.org,2002:', '!!'))}) may not stand in a contract",
                hint="delete it: values are read as they are written; to force text, use quotes",
                at=position,
            )
            return True
        return False


def _position_of(event: Event) -> Position:
    mark = event.start_mark
    return START if mark is None else Position(mark.line + 1, mark.column + 1)


def _explain(problem: str, text: str, at: Position) -> str:
    """Return what a person can do about an error of libyaml, from its words and the character at its place."""
    lines = split_lines(text)
    character = lines[at.line - 1][at.column - 1 : at.column] if at.line <= len(lines) else ""
    if character == "\t":
        return "indent with spaces, not with a tab"
    if "cannot start any token" in problem:
        return f"put the value that starts with {quote(character)} in quotes"
    if "mapping values are not allowed" in problem:
        return "put a value that holds ': ' in quotes, and start each field on its own line"
    if "end of stream" in problem:
        return "close the quote or bracket that stands open, here or above; the file may be cut short"
    return "look at the indentation, quotes and brackets here and in the line above"

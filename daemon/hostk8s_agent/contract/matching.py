"""Nodes of the tree against the fields of a mapping: what is there, what is missing, what nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from hostk8s_agent.contract.fields import SHAPES, Field, Shape
from hostk8s_agent.contract.reading import Mapping, Node, Refused, Scalar, Sequence
from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import find_nearest, join_words, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.contract.reporting import Position, Report

Value = TypeVar("Value")

_NOUNS: Final = {Scalar: "text", Sequence: "a list", Mapping: "a mapping"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A field that is there and has a value: where its name stands, and the value."""

    name: str
    key_position: Position
    node: Node


@dataclass(frozen=True, slots=True)
class Entries:
    """The known fields of one mapping that have a value.

    The `read_` methods report what is wrong with a value and return a stand-in for it. A contract with
    stand-ins is never seen: the report that names them makes the parser raise.
    """

    by_name: dict[str, Entry]
    report: Report

    def find(self, name: str) -> Entry | None:
        """Return the field of that name, or None if it is absent or empty."""
        return self.by_name.get(name)

    def read_text(self, name: str, parse: Callable[[str], Value], stand_in: Value) -> Value:
        """Return the parsed text of a field, or the stand-in where it is absent or wrong."""
        entry = self.by_name.get(name)
        return stand_in if entry is None else parse_text(entry.node, name, parse, stand_in, self.report)

    def read_items(self, name: str, *, example: str) -> tuple[Node, ...] | None:
        """Return the items of a list, maybe none; return None if the field is absent or no list."""
        entry = self.by_name.get(name)
        if entry is None:
            return None
        if isinstance(entry.node, Sequence):
            return entry.node.items
        report_type(entry.node, name, wanted=Sequence, hint=example, report=self.report)
        return None


def parse_text(node: Node, name: str, parse: Callable[[str], Value], stand_in: Value, report: Report) -> Value:
    """Return the parsed text of a node, or report what is wrong and return the stand-in."""
    if not isinstance(node, Scalar):
        report_type(node, name, wanted=Scalar, hint="write the value on the same line", report=report)
        return stand_in
    try:
        return parse(node.text)
    except RuleError as rule:
        report.add_broken(rule, at=node.position)
        return stand_in


def match_fields(node: Node, shape: Shape, report: Report, *, name: str, place: Position | None = None) -> Entries:
    """Given what should be a mapping of a shape, return the known fields in it that have a value.

    Report unknown fields where they stand, and required ones that are missing at `place`, or where the
    mapping starts. `name` is what the mapping is called when it turns out to be something else.
    """
    by_name: dict[str, Entry] = {}
    if not isinstance(node, Mapping):
        first = shape.required[0] if shape.required else shape.fields[0].name
        report_type(node, name, wanted=Mapping, hint=f"write fields such as '{first}: …' in it", report=report)
        return Entries(by_name, report)
    written = set()
    for key, value in node.pairs:
        written.add(key.text)
        field = shape.by_name.get(key.text)
        if field is None:
            report.add(
                Code.FIELD_UNKNOWN,
                f"there is no field {quote(key.text)} {_in(shape)}",
                hint=_suggest_field(key.text, shape),
                at=key.position,
            )
        elif not (isinstance(value, Scalar) and value.is_null):
            by_name[key.text] = Entry(key.text, key.position, value)
        elif field.is_required:
            report.add(
                Code.FIELD_MISSING,
                f"the field {quote(key.text)} has no value",
                hint=_suggest_value(field),
                at=key.position,
            )
    for missing in shape.required:
        if missing not in written:
            report.add(
                Code.FIELD_MISSING,
                f"the field {quote(missing)} is missing {_in(shape)}",
                hint=_suggest_value(shape.by_name[missing]),
                at=place or node.position,
            )
    return Entries(by_name, report)


def report_type(node: Node, name: str, *, wanted: type[Node], hint: str, report: Report) -> None:
    """Report that a node is not of the wanted kind, unless it was reported already for what it is."""
    if not isinstance(node, Refused):
        report.add(
            Code.FIELD_TYPE,
            f"{quote(name)} must be {_NOUNS[wanted]}, and is {_NOUNS[type(node)]}",
            hint=hint,
            at=node.position,
        )


def _in(shape: Shape) -> str:
    return f"in {quote(shape.path)}" if shape.path else "at the top of a contract"


def _suggest_value(field: Field) -> str:
    if field.shape is not None or not field.examples:
        return f"add it: {field.description[0].lower()}{field.description[1:].rstrip('.')}"
    example = field.examples[0]
    return f"add it, for instance '{field.name}: {f'[{example[0]}]' if isinstance(example, list) else example}'"


def _suggest_field(written: str, shape: Shape) -> str:
    """Return what to do about a name that a mapping does not know."""
    for field in shape.fields:
        if written.casefold() in {other.casefold() for other in field.other_names}:
            return f"did you mean {quote(field.name)}?"
    elsewhere = [each for each in SHAPES if written in each.by_name]
    if elsewhere:
        return f"it belongs {join_words(_in(each) for each in elsewhere)}: look at the indentation"
    if nearest := find_nearest(written, shape.by_name):
        return f"did you mean {quote(nearest)}?"
    return f"delete it; the fields here are {join_words(shape.by_name, last='and')}"

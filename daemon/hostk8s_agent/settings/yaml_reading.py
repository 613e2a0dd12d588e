"""The YAML of a file of settings: names, and values as they stand there.

What a person would not write is refused before anything is built of it: the C loader ends the process at 50,000
nested brackets, and a file of some hundred bytes can name gigabytes by its aliases.
"""

from __future__ import annotations

import contextlib
from typing import Any

import yaml

# `snapshot_keep` has a mapping in which there is a list: three.
MAX_DEPTH = 10
_NULL_TAG, _INTEGER_TAG = "tag:yaml.org,2002:null", "tag:yaml.org,2002:int"


class NoSettingsError(ValueError):
    """What a text is in place of names and values; `place` is `line:column`, both from 1, or empty."""

    def __init__(self, message: str, mark: Any = None) -> None:  # noqa: ANN401 - PyYAML's Mark, or libyaml's
        super().__init__(message)
        self.message = message
        self.place = "" if mark is None else f"{mark.line + 1}:{mark.column + 1}"


def read_yaml(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Return the values by name, and where each stands, as line and column. Raises `NoSettingsError`.

    A scalar without quotes is given as its text, as a variable gives it: YAML 1.1 would make `false` of `off`, 90 of
    `1:30`, and 1 of `true` where a number is asked for. Nothing, `null` and `~` are None.
    """
    try:
        _refuse_traps(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        if root is None:
            return {}, {}
        if not isinstance(root, yaml.MappingNode):
            raise NoSettingsError("not names and values", root.start_mark)
        _refuse_twice(root)
        values, places = {}, {}
        for key, value in root.value:
            values[key.value] = _build(value)
            places[key.value] = (value.start_mark.line + 1, value.start_mark.column + 1)
    except yaml.reader.ReaderError as error:
        raise NoSettingsError(f"the character U+{error.character:04X} may not stand in YAML") from error
    except yaml.YAMLError as error:
        raise NoSettingsError(
            getattr(error, "problem", None) or "no YAML", getattr(error, "problem_mark", None)
        ) from error
    return values, places


def _refuse_traps(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise NoSettingsError(f"more than {MAX_DEPTH} brackets in one another", event.start_mark)
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
            raise NoSettingsError("anchors, aliases and tags have no place in settings", event.start_mark)


def _refuse_twice(node: yaml.Node) -> None:
    """Refuse a name that stands in a mapping twice: the last one would win, and nobody would be told."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_twice(one)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise NoSettingsError("a name is one word", key.start_mark)
        if key.value in lines:
            raise NoSettingsError(f"{key.value} stands there twice, first in line {lines[key.value]}", key.start_mark)
        lines[key.value] = key.start_mark.line + 1
        _refuse_twice(value)


def _build(node: yaml.Node) -> Any:  # noqa: ANN401 - what YAML can say
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL_TAG else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_build(one) for one in node.value]
    return {key.value: _build_inner(value) for key, value in node.value}


def _build_inner(node: yaml.Node) -> Any:  # noqa: ANN401 - the same
    """Give a number in a mapping as one: no type of a setting says for it that there is to be one."""
    if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER_TAG:
        with contextlib.suppress(ValueError):
            return int(node.value)
    return _build(node)

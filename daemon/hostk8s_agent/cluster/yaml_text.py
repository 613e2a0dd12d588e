"""YAML by the C parser, which is fast and dies of deep nesting: so that is looked for first."""

from __future__ import annotations

from typing import Any

import yaml

# Nothing that Kubernetes reads nests as deep; the C parser's composer overflows its stack at some ten thousand.
_DEPTH_LIMIT = 50

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENING = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSING = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


def parse_yaml(text: bytes, *, allow_aliases: bool = True) -> list[Any]:
    """Return the documents of a text, of the safe types alone; none when it is empty or holds only comments.

    Raises `yaml.YAMLError` (whose text quotes the file's) when it is not YAML, nests too deep, or uses aliases that
    are not allowed.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, _OPENING):
            depth += 1
            if depth > _DEPTH_LIMIT:
                raise yaml.YAMLError("nested too deep")
        elif isinstance(event, _CLOSING):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent) and not allow_aliases:
            raise yaml.YAMLError("an alias")
    return list(yaml.load_all(text, Loader=_Loader))

"""The JSON Schema of a contract, for editors that complete and check it while it is written.

It is made from `fields`, and knows what one value may look like. What needs the whole file or other files
(the stack's name, equal names, nested paths, conflicts) only the agent knows.
"""

from __future__ import annotations

from typing import Final

from hostk8s_agent.contract.fields import CONTRACT, Field, Shape

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def render_schema() -> dict[str, object]:
    """Return the schema as plain data (draft 2020-12); contracts/storage-contract.schema.json holds it."""
    return {
        "$schema": _DIALECT,
        "$id": "storage-contract.schema.json",
        "title": "HostK8s storage contract",
        "description": "The storage that one stack needs: software/stacks/<stack>/hostk8s.storage.yaml",
        **_render_shape(CONTRACT),
    }


def _render_shape(shape: Shape) -> dict[str, object]:
    rendered: dict[str, object] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: _render_field(field) for field in shape.fields},
    }
    if shape.required:
        rendered["required"] = list(shape.required)
    return rendered


def _render_field(field: Field) -> dict[str, object]:
    rendered: dict[str, object] = {"description": field.description}
    if field.default is not None:
        rendered["description"] = f"{field.description} Default: {field.default}."
    if field.shape is not None:
        inner = _render_shape(field.shape)
        rendered |= {"items": inner} if field.schema["type"] == "array" else inner
    rendered |= field.schema
    if field.examples:
        rendered["examples"] = list(field.examples)
    return rendered

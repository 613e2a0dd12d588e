"""Taking over the fields of an object that `kubectl apply` made, as client-go's csaupgrade does.

Server-side apply removes a field that is no longer asked for only while its own entry in
`metadata.managedFields` is the last to hold it. What `kubectl apply` wrote stays held by its Update entry, so that
entry becomes ours first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LAST_APPLIED_POINTER = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"  # RFC 6901


def render_adoption(raw: Mapping[str, Any], adopted_manager: str, field_manager: str) -> list[dict[str, Any]]:
    """Return the JSON patch (RFC 6902) that makes the fields of `adopted_manager` those of `field_manager`.

    `raw` is the object as the API server has it, with `managedFields`. The patch is empty when there is nothing
    to take over. It sets the resource version that `raw` has, so that the server answers 409 and changes nothing
    when the object is another one by then.
    """
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    entries = metadata.get("managedFields")
    entries = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
    adopted = [one for one in entries if _is_main_entry(one) and one.get("manager") == adopted_manager]
    operations: list[dict[str, Any]] = []
    if adopted:
        rest = [one for one in entries if one not in adopted]
        ours = [
            one
            for one in rest
            if _is_main_entry(one) and one.get("manager") == field_manager and one.get("operation") == "Apply"
        ]
        rest = [one for one in rest if one not in ours]
        merged = _merge_entries([*ours, *adopted], field_manager)
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": [merged, *rest]})
    annotations = metadata.get("annotations")
    if isinstance(annotations, Mapping) and _LAST_APPLIED in annotations:
        operations.append({"op": "remove", "path": _LAST_APPLIED_POINTER})
    if operations:
        operations.append(
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion")}
        )
    return operations


def _is_main_entry(entry: Mapping[str, Any]) -> bool:
    return not entry.get("subresource")


def _merge_entries(entries: list[Mapping[str, Any]], field_manager: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for entry in entries:
        _merge_fields(fields, entry.get("fieldsV1"))
    annotations = fields.get("f:metadata", {}).get("f:annotations", {})
    annotations.pop(f"f:{_LAST_APPLIED}", None)
    merged = {
        "manager": field_manager,
        "operation": "Apply",
        "apiVersion": entries[-1].get("apiVersion"),
        "time": entries[-1].get("time"),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {name: value for name, value in merged.items() if value is not None}


def _merge_fields(into: dict[str, Any], other: object) -> None:
    for name, value in other.items() if isinstance(other, Mapping) else ():
        if isinstance(into.get(name), dict):
            _merge_fields(into[name], value)
        else:
            into[name] = copy.deepcopy(value)

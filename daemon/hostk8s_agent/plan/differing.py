"""Which fields differ between what is desired and what is observed, and who holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hostk8s_agent.contract.quantities import is_same_quantity
from hostk8s_agent.plan.actions import Drift
from hostk8s_agent.plan.objects import ANNOTATION_DIGEST, ANNOTATION_WORKSPACE

if TYPE_CHECKING:
    from hostk8s_agent.plan.desired import DesiredDirectory, DesiredObject
    from hostk8s_agent.plan.observed import FieldManager, ObservedDirectory, ObservedObject

FieldPath = tuple[str, ...]

CAPACITY: FieldPath = ("spec", "capacity", "storage")
ACCESS_MODES: FieldPath = ("spec", "accessModes")

# The digest says which contract last changed the object. A contract whose other directory changed, or whose
# comment did, is no reason to write this object. The workspace of a StorageClass says who made it first: two
# workspaces that share one must not write it in turns without end.
_NEVER_DRIFT: frozenset[tuple[str, FieldPath]] = frozenset(
    {
        ("PersistentVolume", ("metadata", "annotations", ANNOTATION_DIGEST)),
        ("StorageClass", ("metadata", "annotations", ANNOTATION_WORKSPACE)),
    }
)

# The server answers 422 to a change of these (tried on Kubernetes 1.20 and 1.36).
_IMMUTABLE: frozenset[FieldPath] = frozenset(
    {
        ("spec", "hostPath", "path"),
        ("spec", "hostPath", "type"),
        ("provisioner",),
        ("reclaimPolicy",),
        ("volumeBindingMode",),
    }
)


def diff_directory(desired: DesiredDirectory, observed: ObservedDirectory, *, may_set_owner: bool) -> tuple[Drift, ...]:
    """Return what differs in owner and mode of a directory that exists, owner first; empty when nothing does.

    With `may_set_owner` False (an ordinary user without Docker) the owner is not ours to have an opinion on.
    """
    drift: list[Drift] = []
    if may_set_owner and (observed.uid, observed.gid) != (desired.uid, desired.gid):
        drift.append(Drift("owner", f"{desired.uid}:{desired.gid}", f"{observed.uid}:{observed.gid}"))
    if observed.mode != desired.mode:
        drift.append(Drift("permissions", f"{desired.mode:o}", f"{observed.mode or 0:o}"))
    return tuple(drift)


def diff_object(desired: DesiredObject, observed: ObservedObject) -> tuple[Drift, ...]:
    """Return the fields of `desired` that differ in `observed`, sorted by field; fields of others do not count."""
    drift = [
        Drift(
            field=".".join(path),
            desired=_render_value(wanted),
            observed=None if found is None else _render_value(found),
            manager=_find_holder(observed.managers, path),
        )
        for path, wanted, found in _pairs(desired.manifest, observed.manifest, ())
        if (desired.key.kind, path) not in _NEVER_DRIFT and not _is_same(path, wanted, found)
    ]
    return tuple(sorted(drift, key=lambda one: one.field))


def render_fields(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return every field of a manifest with its value, named and rendered as in `Drift`."""
    return {".".join(path): _render_value(value) for path, value, _ in _pairs(manifest, {}, ())}


def immutable_fields(drift: Sequence[Drift]) -> tuple[Drift, ...]:
    """Return those differences that the API server will not let anyone change in place."""
    immutable = {".".join(path) for path in _IMMUTABLE}
    return tuple(one for one in drift if one.field in immutable)


def _pairs(
    desired: Mapping[str, Any], observed: Mapping[str, Any], path: FieldPath
) -> Iterator[tuple[FieldPath, Any, Any]]:
    for key, wanted in desired.items():
        found = observed.get(key)
        if isinstance(wanted, Mapping):
            # A parent of another type (null, a list) counts as one in which every field is absent.
            yield from _pairs(wanted, found if isinstance(found, Mapping) else {}, (*path, key))
        else:
            yield (*path, key), wanted, found


def _is_same(path: FieldPath, wanted: Any, found: Any) -> bool:  # noqa: ANN401 - JSON values
    if path == CAPACITY:
        return isinstance(found, str) and is_same_quantity(wanted, found)
    if path == ACCESS_MODES:
        return isinstance(found, list) and set(wanted) == set(found)
    return bool(wanted == found)


def _render_value(value: Any) -> str:  # noqa: ANN401 - JSON values
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find_holder(managers: Sequence[FieldManager], path: FieldPath) -> str:
    """Return the names of the managers whose `fieldsV1` has the field, joined; empty when none does."""
    return ", ".join(manager.name for manager in managers if _has_field(manager.fields, path))


def _has_field(fields: Mapping[str, object], path: FieldPath) -> bool:
    level: object = fields
    for part in path:
        if not isinstance(level, Mapping) or f"f:{part}" not in level:
            return False
        level = level[f"f:{part}"]
    return True

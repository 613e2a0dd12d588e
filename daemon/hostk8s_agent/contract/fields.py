"""What a person may write in a contract: every field, once, with its words and its form.

The parser takes the known and the required names from here, `schema` takes the rest, and a test holds
docs/contract.md to it. What a value must look like in detail is the business of the modules that parse it;
their patterns are used here, not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hostk8s_agent.contract.model import Quiesce
from hostk8s_agent.contract.naming import (
    DNS_LABEL_PATTERN,
    DNS_SUBDOMAIN_PATTERN,
    MAX_LABEL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    STACK_PATTERN,
)
from hostk8s_agent.contract.paths import MAX_PATH_CHARACTERS, PATH_PATTERN
from hostk8s_agent.contract.quantities import QUANTITY_PATTERN
from hostk8s_agent.contract.schedules import CRON_PATTERN, DURATION_PATTERN, INTERVAL_PATTERN, OFF_PATTERN
from hostk8s_agent.contract.values import (
    ACCESS_MODES,
    DEFAULT_OWNER,
    DEFAULT_PERMISSIONS,
    OWNER_PATTERN,
    PERMISSIONS_PATTERN,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION: Final = "hostk8s.io/v1"
KIND: Final = "StorageContract"

COUNT_PATTERN: Final = "[0-9]{1,6}"
TAG_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
TAGS_PATTERN: Final = f"{TAG_PATTERN}(?:,{TAG_PATTERN}){{0,7}}"
TIMEZONE_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*"
MAX_TIMEZONE_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Field:
    """One field that a person may write.

    `description` is a sentence or two for that person. `schema` is the JSON Schema of the value without the
    description; it takes a value as YAML readers type it, so a number where people write one without quotes.
    `shape` is the mapping that the value is, or the mapping that each of its items is. `default` is the
    value of a field left out, None if there is none. `other_names` are what people write instead.
    """

    name: str
    description: str
    schema: Mapping[str, object]
    examples: tuple[object, ...] = ()
    is_required: bool = False
    default: str | None = None
    shape: Shape | None = None
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """One mapping of the contract: where it stands, and its fields in the order people write them."""

    path: str
    fields: tuple[Field, ...]
    by_name: Mapping[str, Field] = field(init=False, repr=False)
    required: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", MappingProxyType({each.name: each for each in self.fields}))
        object.__setattr__(self, "required", tuple(each.name for each in self.fields if each.is_required))


def _text(pattern: str, *types: str, **rules: object) -> Mapping[str, object]:
    """Return the schema of a text; `types` are what YAML readers take such a text for without quotes."""
    return MappingProxyType({"type": ["string", *types] if types else "string", "pattern": f"^(?:{pattern})$", **rules})


_NOTE: Final = MappingProxyType({"type": ["string", "number", "boolean", "null"]})
_NOTES: Final = MappingProxyType({"type": ["object", "null"], "additionalProperties": dict(_NOTE)})
_COUNT: Final = _text(COUNT_PATTERN, "integer", "null", minimum=0, maximum=999999)

KEEP: Final = Shape(
    "spec.snapshots.keep",
    (
        Field("last", "How many of the newest snapshots to keep.", _COUNT, (3,), default="0"),
        Field("hourly", "For how many hours to keep the newest snapshot of the hour.", _COUNT, (24,), default="0"),
        Field("daily", "For how many days to keep the newest snapshot of the day.", _COUNT, (7,), default="0"),
        Field("weekly", "For how many weeks to keep the newest snapshot of the week.", _COUNT, (4,), default="0"),
        Field("monthly", "For how many months to keep the newest snapshot of the month.", _COUNT, (6,), default="0"),
        Field("yearly", "For how many years to keep the newest snapshot of the year.", _COUNT, (1,), default="0"),
        Field(
            "within",
            "Keep every snapshot younger than this: a number and m (minutes), h, d or w (weeks).",
            _text(DURATION_PATTERN, "null"),
            ("14d", "2w"),
        ),
        Field(
            "tags",
            "Keep every snapshot that has one of these tags; tags joined by commas, such as before-restore,nightly, ask"
            " for all of them.",
            MappingProxyType({"type": ["array", "null"], "items": dict(_text(TAGS_PATTERN, "number"))}),
            (["release"],),
        ),
    ),
)

SNAPSHOTS: Final = Shape(
    "spec.snapshots",
    (
        Field(
            "schedule",
            'When to take a snapshot: "every" and a duration (30m, 6h, 1d, 2w), the five fields of cron, or "off".',
            # Editors that read YAML 1.1 take off for a boolean.
            _text(f"{INTERVAL_PATTERN}|{CRON_PATTERN}|{OFF_PATTERN}", "null", "boolean"),
            ("0 */6 * * *", "every 30m", "off"),
            default="the agent's settings",
            other_names=("cron", "interval", "when"),
        ),
        Field(
            "timezone",
            "The IANA name of the timezone in which a cron schedule is read.",
            _text(TIMEZONE_PATTERN, "null", maxLength=MAX_TIMEZONE_CHARACTERS),
            ("Europe/Berlin", "UTC"),
            default="the agent's settings",
            other_names=("tz", "timeZone"),
        ),
        Field(
            "keep",
            "Which snapshots to keep; all others expire. A snapshot that any of the fields keeps is kept.",
            MappingProxyType({"type": ["object", "null"], "minProperties": 1}),
            ({"last": 3, "daily": 7, "weekly": 4},),
            default="the agent's settings",
            shape=KEEP,
            other_names=("retention",),
        ),
        Field(
            "quiesce",
            "How to bring the stack to rest meanwhile: not at all (none), pause the containers that use its"
            " directories (freeze), or run its hooks (hooks).",
            MappingProxyType({"enum": [*(each.value for each in Quiesce), None]}),
            ("freeze",),
            default="the agent's settings",
        ),
    ),
)

DIRECTORY: Final = Shape(
    "spec.directories[]",
    (
        Field(
            "name",
            "The directory's name, unique in the contract: it becomes part of the PersistentVolume's name and"
            " the label hostk8s.storage.name. Lowercase letters, digits, - and .",
            _text(DNS_SUBDOMAIN_PATTERN, "number", maxLength=MAX_LABEL_CHARACTERS, minimum=0),
            ("api-data",),
            is_required=True,
        ),
        Field(
            "path",
            "Where the data lies, below /mnt/pv/. No other directory may have the same path, or one inside it.",
            _text(PATH_PATTERN, maxLength=MAX_PATH_CHARACTERS),
            ("/mnt/pv/api-data",),
            is_required=True,
            other_names=("hostPath", "mountPath"),
        ),
        Field(
            "size",
            "The capacity of the PersistentVolume, a Kubernetes quantity. It is a label, not a limit: nothing"
            " stops a directory from growing past it.",
            _text(QUANTITY_PATTERN, "number", exclusiveMinimum=0),
            ("1Gi", "500Mi"),
            is_required=True,
            other_names=("capacity", "storage", "quota"),
        ),
        Field(
            "accessModes",
            "How the PersistentVolume may be mounted; a claim's modes must be among them.",
            MappingProxyType(
                {"type": "array", "items": {"enum": list(ACCESS_MODES)}, "minItems": 1, "uniqueItems": True}
            ),
            (["ReadWriteOnce"],),
            is_required=True,
            other_names=("modes",),
        ),
        Field(
            "storageClass",
            "The StorageClass that claims name to get this directory. Several directories and stacks may"
            " share one; the agent makes it.",
            _text(DNS_SUBDOMAIN_PATTERN, "number", maxLength=MAX_NAME_CHARACTERS, minimum=0),
            ("sample-storage",),
            is_required=True,
            other_names=("class",),
        ),
        Field(
            "owner",
            "The numbers of the user and group that own the directory, uid:gid.",
            # YAML 1.1 readers take an unquoted 26:26 for the number 1586.
            _text(OWNER_PATTERN, "integer", "null", minimum=0),
            ("1000:1000", "26:26"),
            default=str(DEFAULT_OWNER),
            other_names=("user", "uid", "chown", "group", "gid"),
        ),
        Field(
            "permissions",
            "The mode of the directory, three or four octal digits as chmod takes them.",
            _text(PERMISSIONS_PATTERN, "integer", "null", minimum=0),
            ("0700", 755),
            default=f"{DEFAULT_PERMISSIONS:o}",
            other_names=("mode", "chmod"),
        ),
        Field(
            "component",
            "A note for people: which part of the stack uses it. The agent does not use it.",
            _NOTE,
            ("database",),
        ),
        Field(
            "description", "A note for people: what it holds. The agent does not use it.", _NOTE, ("Uploaded files",)
        ),
    ),
)

METADATA: Final = Shape(
    "metadata",
    (
        Field(
            "name",
            "The stack's name: the path of its folder below software/stacks/, slashes included.",
            _text(STACK_PATTERN, "number", maxLength=MAX_LABEL_CHARACTERS, minimum=0),
            ("sample", "foundation/airflow"),
            is_required=True,
        ),
        Field(
            "namespace",
            "The namespace in which the stack's claims live.",
            _text(DNS_LABEL_PATTERN, "number", "null", maxLength=MAX_LABEL_CHARACTERS, minimum=0),
            ("sample",),
        ),
        Field("labels", "Notes for people and other tools. The agent does not use them.", _NOTES, ({"team": "web"},)),
        Field(
            "annotations",
            "Notes for people and other tools. The agent does not use them.",
            _NOTES,
            ({"docs": "https://example.com/sample"},),
        ),
    ),
)

SPEC: Final = Shape(
    "spec",
    (
        Field(
            "directories",
            "The directories that the stack needs, at least one. Each becomes a directory in the volume and a"
            " PersistentVolume in the cluster.",
            MappingProxyType({"type": "array", "minItems": 1}),
            is_required=True,
            shape=DIRECTORY,
            other_names=("volumes", "dirs", "storage"),
        ),
        Field(
            "snapshots",
            "When and how the agent takes snapshots of the stack's directories. Left out, the agent's settings decide.",
            MappingProxyType({"type": ["object", "null"]}),
            shape=SNAPSHOTS,
            default="the agent's settings",
            other_names=("backup", "backups"),
        ),
    ),
)

CONTRACT: Final = Shape(
    "",
    (
        Field(
            "apiVersion",
            "The version of the contract's format.",
            MappingProxyType({"const": API_VERSION}),
            (API_VERSION,),
            is_required=True,
        ),
        Field("kind", "What the file is.", MappingProxyType({"const": KIND}), (KIND,), is_required=True),
        Field(
            "metadata",
            "Which stack it belongs to.",
            MappingProxyType({"type": "object"}),
            is_required=True,
            shape=METADATA,
        ),
        Field("spec", "What the stack asks for.", MappingProxyType({"type": "object"}), is_required=True, shape=SPEC),
    ),
)

SHAPES: Final = (CONTRACT, METADATA, SPEC, DIRECTORY, SNAPSHOTS, KEEP)

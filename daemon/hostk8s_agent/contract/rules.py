"""Every rule that a contract can break: its stable code, and what the code means.

`MEANINGS` is the table in docs/contract.md; a test holds the two together.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Code(StrEnum):
    """The stable name of a rule. People and scripts match on it, so a released one never changes."""

    FILE_TOO_LARGE = "FileTooLarge"
    FILE_NOT_UTF8 = "FileNotUtf8"
    FILE_NOT_TEXT = "FileNotText"
    FILE_EMPTY = "FileEmpty"
    YAML_SYNTAX = "YamlSyntax"
    YAML_DIRECTIVE = "YamlDirective"
    YAML_NOT_ONE_DOCUMENT = "YamlNotOneDocument"
    YAML_TOO_DEEP = "YamlTooDeep"
    YAML_TOO_MANY_VALUES = "YamlTooManyValues"
    YAML_ANCHOR = "YamlAnchor"
    YAML_ALIAS = "YamlAlias"
    YAML_TAG = "YamlTag"
    YAML_MERGE_KEY = "YamlMergeKey"
    YAML_KEY_NOT_TEXT = "YamlKeyNotText"
    DUPLICATE_KEY = "DuplicateKey"
    FIELD_UNKNOWN = "ContractFieldUnknown"
    FIELD_MISSING = "ContractFieldMissing"
    FIELD_TYPE = "ContractFieldType"
    API_VERSION_UNKNOWN = "ApiVersionUnknown"
    KIND_UNKNOWN = "KindUnknown"
    NAME_MISMATCH = "NameMismatch"
    STACK_NAME_INVALID = "StackNameInvalid"
    NAMESPACE_INVALID = "NamespaceInvalid"
    DIRECTORIES_EMPTY = "DirectoriesEmpty"
    DIRECTORY_NAME_INVALID = "DirectoryNameInvalid"
    DIRECTORY_NAME_DUPLICATE = "DirectoryNameDuplicate"
    PATH_OUTSIDE_VOLUME = "PathOutsideVolume"
    PATH_CHARACTER_NOT_ALLOWED = "PathCharacterNotAllowed"
    PATH_NOT_CLEAN = "PathNotClean"
    PATH_RESERVED = "PathReserved"
    PATH_TOO_LONG = "PathTooLong"
    PATH_DUPLICATE = "PathDuplicate"
    PATH_NESTED = "PathNested"
    QUANTITY_INVALID = "QuantityInvalid"
    SIZE_OUT_OF_RANGE = "SizeOutOfRange"
    ACCESS_MODES_EMPTY = "AccessModesEmpty"
    ACCESS_MODE_UNKNOWN = "AccessModeUnknown"
    ACCESS_MODE_DUPLICATE = "AccessModeDuplicate"
    ACCESS_MODE_NOT_ALONE = "AccessModeNotAlone"
    STORAGE_CLASS_INVALID = "StorageClassInvalid"
    OWNER_INVALID = "OwnerInvalid"
    PERMISSIONS_INVALID = "PermissionsInvalid"
    SCHEDULE_INVALID = "ScheduleInvalid"
    SCHEDULE_NEVER_FIRES = "ScheduleNeverFires"
    TIMEZONE_INVALID = "TimezoneInvalid"
    KEEP_INVALID = "KeepInvalid"
    KEEPS_NOTHING = "KeepsNothing"
    QUIESCE_UNKNOWN = "QuiesceUnknown"
    TOO_MANY_PROBLEMS = "TooManyProblems"
    PATH_CONFLICT = "PathConflict"
    PERSISTENT_VOLUME_NAME_CONFLICT = "PersistentVolumeNameConflict"


MEANINGS: Final[Mapping[Code, str]] = MappingProxyType(
    {
        Code.FILE_TOO_LARGE: "The file is larger than 256 KiB.",
        Code.FILE_NOT_UTF8: "The file is not encoded as UTF-8.",
        Code.FILE_NOT_TEXT: "The file holds a control character, or an invisible line separator.",
        Code.FILE_EMPTY: "The file holds nothing, or nothing but comments.",
        Code.YAML_SYNTAX: "The file is not valid YAML.",
        Code.YAML_DIRECTIVE: "A line starts with `%`: a contract has no YAML directives.",
        Code.YAML_NOT_ONE_DOCUMENT: "The file holds a second YAML document.",
        Code.YAML_TOO_DEEP: "Lists and mappings are nested more than 50 deep.",
        Code.YAML_TOO_MANY_VALUES: "The file holds more than 5,000 values.",
        Code.YAML_ANCHOR: "A value has a YAML anchor (`&name`).",
        Code.YAML_ALIAS: "A value is a YAML alias (`*name`).",
        Code.YAML_TAG: "A value has a YAML tag (`!!str`).",
        Code.YAML_MERGE_KEY: "A mapping has a merge key (`<<`).",
        Code.YAML_KEY_NOT_TEXT: "A key is a list or a mapping.",
        Code.DUPLICATE_KEY: "A mapping has the same key twice.",
        Code.FIELD_UNKNOWN: "A field has a name that the contract does not know in this place.",
        Code.FIELD_MISSING: "A required field is absent, or has no value.",
        Code.FIELD_TYPE: "A field holds text, a list or a mapping where it needs another of these.",
        Code.API_VERSION_UNKNOWN: "`apiVersion` is not `hostk8s.io/v1`.",
        Code.KIND_UNKNOWN: "`kind` is not `StorageContract`.",
        Code.NAME_MISMATCH: "`metadata.name` is not the name of the stack whose folder holds the file.",
        Code.STACK_NAME_INVALID: "The folder's name cannot become part of a Kubernetes name and label.",
        Code.NAMESPACE_INVALID: "`metadata.namespace` is not the name that a namespace can have.",
        Code.DIRECTORIES_EMPTY: "`spec.directories` has no directory.",
        Code.DIRECTORY_NAME_INVALID: "A directory's name is not a DNS-1123 subdomain of at most 63 characters.",
        Code.DIRECTORY_NAME_DUPLICATE: "Two directories of the contract have the same name.",
        Code.PATH_OUTSIDE_VOLUME: "A path does not lie below `/mnt/pv/`.",
        Code.PATH_CHARACTER_NOT_ALLOWED: "A path has a character other than `A-Z a-z 0-9 . _ - + @ : =` and `/`.",
        Code.PATH_NOT_CLEAN: "A path has `.`, `..`, only dots or nothing between two slashes, or ends in a slash.",
        Code.PATH_RESERVED: "A path uses a name that starts with `.hostk8s`, which the agent keeps for itself.",
        Code.PATH_TOO_LONG: "A path is longer than 4,095 characters, or one of its names longer than 255.",
        Code.PATH_DUPLICATE: "Two directories of the contract have the same path.",
        Code.PATH_NESTED: "A directory of the contract lies inside another one.",
        Code.QUANTITY_INVALID: "A size is not a Kubernetes quantity.",
        Code.SIZE_OUT_OF_RANGE: "A size is less than one byte, or more than Kubernetes can count.",
        Code.ACCESS_MODES_EMPTY: "`accessModes` has no access mode.",
        Code.ACCESS_MODE_UNKNOWN: "An access mode is not one that Kubernetes knows.",
        Code.ACCESS_MODE_DUPLICATE: "The same access mode stands twice in one list.",
        Code.ACCESS_MODE_NOT_ALONE: "`ReadWriteOncePod` stands beside another access mode.",
        Code.STORAGE_CLASS_INVALID: "A storage class's name is not a DNS-1123 subdomain.",
        Code.OWNER_INVALID: "An owner is not `uid:gid`, both numbers from 0 to 4294967294.",
        Code.PERMISSIONS_INVALID: "Permissions are not three or four octal digits.",
        Code.SCHEDULE_INVALID: "A schedule is neither five cron fields nor `every` and a duration.",
        Code.SCHEDULE_NEVER_FIRES: "A schedule names only days that no month has.",
        Code.TIMEZONE_INVALID: "A timezone is not an IANA name.",
        Code.KEEP_INVALID: "A number to keep is no whole number, `within` is no duration, or one of `tags` is no tag.",
        Code.KEEPS_NOTHING: "`keep` would keep no snapshot at all.",
        Code.QUIESCE_UNKNOWN: "`quiesce` is not `none`, `freeze` or `hooks`.",
        Code.TOO_MANY_PROBLEMS: "The file has more than 50 problems; only the first ones found are told.",
        Code.PATH_CONFLICT: "Two stacks claim the same path, or one path inside the other.",
        Code.PERSISTENT_VOLUME_NAME_CONFLICT: "Two stacks claim directories whose PersistentVolumes get one name.",
    }
)


class RuleError(ValueError):
    """One text breaks one rule. Whoever knows where the text stands turns this into a `Problem`."""

    def __init__(self, code: Code, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

"""`contract fix`: quotes what YAML would misread, and touches nothing else of the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import escape_controls, say, write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.contract.reading import read_document
from hostk8s_agent.contract.reporting import Report, UnreadableError
from hostk8s_agent.errors import AgentError, ContractError
from hostk8s_agent.watch.reading import read_contract_file
from hostk8s_agent.watch.scan import scan_contract_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# The fields that are text. The counts of `keep` are numbers, and stay as they are.
TEXT_FIELDS = frozenset(
    {
        *("apiVersion", "kind", "name", "namespace", "path", "size", "accessModes", "storageClass", "owner"),
        *("permissions", "component", "description", "schedule", "timezone", "quiesce", "within", "tags"),
    }
)
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"


class FixFailedError(AgentError):
    """A file cannot be read, or not be written."""

    code = "ContractFixFailed"


@dataclass(frozen=True, slots=True)
class Misread:
    """One value that is quoted: `start` and `end` are characters of the text, `line` counts from 1."""

    line: int
    field: str
    value: str
    start: int
    end: int


def fix_contracts(paths: Sequence[Path], directory: Path | None, *, is_check: bool) -> ExitCode:
    """Fix the files (none: all contracts of the workspace), and tell each value on stdout."""
    if not paths:
        scan = scan_contract_files(choose_workspace(directory).stacks_root)
        paths = [file.path for file in scan.files.values()]
    number = 0
    for path in paths:
        text = _read(path)
        found = sorted(find_misread(text), key=lambda one: one.start)
        number += len(found)
        for one in found:
            write(escape_controls(f'{path}:{one.line}: {one.field}: {one.value} -> "{one.value}"'))
        if found and not is_check:
            _write(path, quote(text, found))
    say(f"{number} value{'' if number == 1 else 's'} {'to quote' if is_check else 'quoted'}")
    return ExitCode.NOT_READY if number and is_check else ExitCode.OK


def find_misread(text: str) -> Iterator[Misread]:
    """Give each plain value of a text field that YAML 1.1 takes for something else than text."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        yield from _look(root, "")


def quote(text: str, found: Sequence[Misread]) -> str:
    """Return the text with these values in double quotes, and nothing else changed."""
    for one in sorted(found, key=lambda misread: misread.start, reverse=True):
        text = f'{text[: one.start]}"{text[one.start : one.end]}"{text[one.end :]}'
    return text


def _look(node: yaml.Node, field: str) -> Iterator[Misread]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _look(value, str(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _look(value, field)
    elif isinstance(node, yaml.ScalarNode) and field in TEXT_FIELDS and _is_misread(node):
        yield Misread(node.start_mark.line + 1, field, str(node.value), node.start_mark.index, node.end_mark.index)


def _is_misread(node: yaml.ScalarNode) -> bool:
    """Whether a value that stands without quotes is something else than text, and is there at all."""
    return node.style is None and node.tag not in {_TEXT, _NULL}


def _read(path: Path) -> str:
    """Return the text of a file that is safe to read: the contract's own reader has looked at it first."""
    report = Report(str(path))
    try:
        content = read_contract_file(path, str(path))
        read_document(content, report)
        if report.count:
            # A second document, an alias: what is meant is for a person to say, and whoever follows aliases never ends.
            raise report.error()
        if content.startswith(b"\xef\xbb\xbf"):
            raise FixFailedError(f"{path} begins with a byte order mark", hint="save it as UTF-8 without one")
        return content.decode("utf-8")
    except ContractError as error:
        raise FixFailedError(str(error.problems[0]), hint="see hostk8s-agent validate") from error
    except UnreadableError as error:
        raise FixFailedError(str(report.error().problems[0]), hint="see hostk8s-agent validate") from error


def _write(path: Path, text: str) -> None:
    """Replace the file at once; owner and mode stay."""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.fixed")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            # A crash leaves the old file or the new one, never an empty one.
            os.fsync(file.fileno())
        status = target.stat()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            # By sudo: the file stays whose it is.
            os.chown(beside, status.st_uid, status.st_gid)
        beside.chmod(status.st_mode & 0o7777)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise FixFailedError(f"{path} cannot be written ({error.strerror})", hint="check its folder") from error

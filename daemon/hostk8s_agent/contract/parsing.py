"""Bytes to a contract, or to every problem of the file at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hostk8s_agent.contract.fields import API_VERSION, CONTRACT, KIND, METADATA, SPEC, Shape
from hostk8s_agent.contract.matching import Entries, match_fields, parse_text, report_type
from hostk8s_agent.contract.model import Contract, Directory, SnapshotPolicy, compute_digest
from hostk8s_agent.contract.naming import parse_namespace, require_stack_name
from hostk8s_agent.contract.parsing_directories import read_directories
from hostk8s_agent.contract.parsing_snapshots import read_snapshots
from hostk8s_agent.contract.reading import Mapping, Node, read_document
from hostk8s_agent.contract.reporting import START, Report, UnreadableError
from hostk8s_agent.contract.rules import Code, RuleError
from hostk8s_agent.contract.wording import quote

if TYPE_CHECKING:
    from collections.abc import Collection


def parse_contract(content: bytes, *, file: str, stack: str, timezones: Collection[str] | None = None) -> Contract:
    """Given the bytes of a contract's file, return the contract.

    `file` is what problems call the file, and `stack` the path of its folder below `software/stacks/`, with
    slashes. `timezones` are the IANA names that exist here (`zoneinfo.available_timezones()`; reading them is
    not this room's business); without them only a timezone's form is checked.

    Raise `ContractError` with all problems, in the order of the file; nothing else is ever raised.
    """
    report = Report(file)
    try:
        draft = _Reader(report, stack, timezones).read(read_document(content, report))
    except UnreadableError:
        raise report.error() from None
    if report.count:
        raise report.error()
    return Contract(
        stack=stack,
        namespace=draft.namespace,
        directories=draft.directories,
        snapshots=draft.snapshots,
        file=file,
        digest=compute_digest(stack, draft.namespace, draft.directories, draft.snapshots),
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a file says. It holds stand-ins where the report holds problems."""

    namespace: str | None
    directories: tuple[Directory, ...]
    snapshots: SnapshotPolicy | None


class _Reader:
    """Reads the tree of one file, and reports whatever is wrong with it."""

    def __init__(self, report: Report, stack: str, timezones: Collection[str] | None) -> None:
        self._report = report
        self._stack = stack
        self._timezones = timezones

    def read(self, root: Node) -> _Draft:
        contract = match_fields(root, CONTRACT, self._report, name="contract")
        contract.read_text("apiVersion", _require_api_version, None)
        contract.read_text("kind", _require_kind, None)
        metadata = self._open(contract, "metadata", METADATA)
        self._check_stack_name(metadata)
        namespace = metadata.read_text("namespace", parse_namespace, None)
        for name in ("labels", "annotations"):
            self._check_notes(metadata, name)
        spec = self._open(contract, "spec", SPEC)
        return _Draft(namespace, read_directories(spec), read_snapshots(spec, self._timezones))

    def _open(self, entries: Entries, name: str, shape: Shape) -> Entries:
        """Return the fields of the mapping under a name; none if it is absent, which is reported already."""
        entry = entries.find(name)
        if entry is None:
            return Entries({}, self._report)
        return match_fields(entry.node, shape, self._report, name=name, place=entry.key_position)

    def _check_stack_name(self, metadata: Entries) -> None:
        written = metadata.find("name")
        metadata.read_text("name", partial(_require_name_of, self._stack), None)
        try:
            require_stack_name(self._stack)
        except RuleError as rule:
            self._report.add_broken(rule, at=START if written is None else written.node.position)

    def _check_notes(self, metadata: Entries, name: str) -> None:
        entry = metadata.find(name)
        if entry is None:
            return
        if not isinstance(entry.node, Mapping):
            report_type(entry.node, name, wanted=Mapping, hint="write 'name: value' pairs in it", report=self._report)
            return
        for key, value in entry.node.pairs:
            parse_text(value, key.text, str, "", self._report)


def _require_api_version(text: str) -> None:
    if text != API_VERSION:
        raise RuleError(
            Code.API_VERSION_UNKNOWN,
            f"the version {quote(text)} is not one that this agent knows",
            hint=f"write 'apiVersion: {API_VERSION}'",
        )


def _require_kind(text: str) -> None:
    if text != KIND:
        raise RuleError(Code.KIND_UNKNOWN, f"{quote(text)} is not a contract", hint=f"write 'kind: {KIND}'")


def _require_name_of(stack: str, text: str) -> None:
    if text != stack:
        raise RuleError(
            Code.NAME_MISMATCH,
            f"the name is {quote(text)}, and the folder says that the stack is {quote(stack)}",
            hint=f"write name: {quote(stack)}, or move the file into the folder of the other name",
        )

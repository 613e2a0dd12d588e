"""The list `spec.directories`: each entry to a `Directory`, and what the entries may not share."""

from __future__ import annotations

from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from hostk8s_agent.contract.fields import DIRECTORY
from hostk8s_agent.contract.matching import Entries, match_fields, parse_text
from hostk8s_agent.contract.model import Directory
from hostk8s_agent.contract.naming import parse_directory_name, parse_storage_class
from hostk8s_agent.contract.paths import is_inside, parse_path
from hostk8s_agent.contract.quantities import parse_size
from hostk8s_agent.contract.reading import Node, Scalar
from hostk8s_agent.contract.rules import Code
from hostk8s_agent.contract.values import (
    DEFAULT_OWNER,
    DEFAULT_PERMISSIONS,
    READ_WRITE_ONCE_POD,
    parse_access_mode,
    parse_owner,
    parse_permissions,
)
from hostk8s_agent.contract.wording import quote

if TYPE_CHECKING:
    from hostk8s_agent.contract.reporting import Report


def read_directories(spec: Entries) -> tuple[Directory, ...]:
    """Given the fields of `spec`, return its directories in the order of the file, and report what is wrong."""
    report = spec.report
    items = spec.read_items("directories", example="start each directory with '- name: …'")
    if items is None:
        return ()
    if not items:
        report.add(
            Code.DIRECTORIES_EMPTY,
            "the contract asks for no directory",
            hint="add one to 'directories', or delete the file",
            at=spec.by_name["directories"].node.position,
        )
    directories = tuple(_read_directory(item, report) for item in items)
    _check_names(directories, report)
    _check_paths(directories, report)
    return directories


def _read_directory(item: Node, report: Report) -> Directory:
    entries = match_fields(item, DIRECTORY, report, name="directories[]")
    for note in ("component", "description"):
        entries.read_text(note, str, "")
    path = entries.find("path")
    return Directory(
        name=entries.read_text("name", parse_directory_name, ""),
        path=entries.read_text("path", parse_path, ""),
        size=_text_of(entries, "size"),
        size_bytes=entries.read_text("size", parse_size, 0),
        access_modes=_read_access_modes(entries),
        storage_class=entries.read_text("storageClass", parse_storage_class, ""),
        owner=entries.read_text("owner", parse_owner, DEFAULT_OWNER),
        permissions=entries.read_text("permissions", parse_permissions, DEFAULT_PERMISSIONS),
        position=item.position,
        path_position=item.position if path is None else path.node.position,
    )


def _read_access_modes(entries: Entries) -> tuple[str, ...]:
    report = entries.report
    items = entries.read_items("accessModes", example="write a list, for instance [ReadWriteOnce]")
    if items is None:
        return ()
    place = entries.by_name["accessModes"].node.position
    if not items:
        report.add(
            Code.ACCESS_MODES_EMPTY,
            "the list of access modes is empty",
            hint="write at least one, for instance [ReadWriteOnce]",
            at=place,
        )
    modes: list[str] = []
    for item in items:
        mode = parse_text(item, "accessModes[]", parse_access_mode, "", report)
        if mode and mode in modes:
            report.add(
                Code.ACCESS_MODE_DUPLICATE,
                f"{mode} stands already in this list",
                hint="keep one of the two",
                at=item.position,
            )
        modes.append(mode)
    if READ_WRITE_ONCE_POD in modes and set(modes) != {READ_WRITE_ONCE_POD}:
        report.add(
            Code.ACCESS_MODE_NOT_ALONE,
            f"{READ_WRITE_ONCE_POD} cannot stand beside another access mode",
            hint=f"write [{READ_WRITE_ONCE_POD}] alone, or leave it out",
            at=place,
        )
    return tuple(modes)


def _check_names(directories: tuple[Directory, ...], report: Report) -> None:
    first_by_name: dict[str, Directory] = {}
    for directory in directories:
        first = first_by_name.setdefault(directory.name, directory)
        if directory.name and first is not directory:
            report.add(
                Code.DIRECTORY_NAME_DUPLICATE,
                f"the directory of line {first.line} has the name {quote(directory.name)} already",
                hint="give each directory a name of its own",
                at=directory.position,
            )


def _check_paths(directories: tuple[Directory, ...], report: Report) -> None:
    # With a slash at the end, a directory sorts right before all that lies in it ("a/" < "a/b/" < "a-b/"
    # is not so without). Equal paths keep the order of the file.
    in_order = sorted(((f"{each.path}/", each) for each in directories if each.path), key=itemgetter(0))
    outer: Directory | None = None
    for (_, before), (_, directory) in pairwise(in_order):
        if outer is None or not is_inside(directory.path, outer.path):
            outer = before
        if directory.path == before.path:
            report.add(
                Code.PATH_DUPLICATE,
                f"the path {quote(directory.path)} stands already in line {before.path_line}",
                hint="give each directory a path of its own",
                at=directory.path_position,
            )
        elif is_inside(directory.path, outer.path):
            report.add(
                Code.PATH_NESTED,
                f"the path {quote(directory.path)} lies inside {quote(outer.path)} of line {outer.path_line}",
                hint="put the two beside each other",
                at=directory.path_position,
            )


def _text_of(entries: Entries, name: str) -> str:
    entry = entries.find(name)
    return entry.node.text if entry is not None and isinstance(entry.node, Scalar) else ""

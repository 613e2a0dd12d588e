"""`snapshot ls`, `cat`, `diff`: the repository itself is read, which needs no agent, no Docker and no lock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import escape_controls, find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.settings import load_settings
from hostk8s_agent.snapshot import selecting
from hostk8s_agent.snapshot.exporting import diff_snapshots, iterate_content, iterate_entries
from hostk8s_agent.snapshot.opening import open_repository
from hostk8s_agent.workspace import data_folder

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.snapshot.model import SnapshotManifest
    from hostk8s_agent.snapshot.repository import Repository
    from hostk8s_agent.workspace import Workspace


def find_repository(workspace: Workspace) -> Repository:
    """Return the workspace's repository."""
    settings = load_settings(workspace)
    return open_repository(settings.snapshot_repository or data_folder(workspace) / "snapshots", settings)


def find_snapshot(which: str, workspace: Workspace, stack: str | None = None) -> tuple[Repository, SnapshotManifest]:
    """Return the repository and the one snapshot that is meant."""
    repository = find_repository(workspace)
    return repository, selecting.find_snapshot(repository, which, stack, datetime.now(UTC))


def show_entries(which: str, path: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show what a snapshot holds at or below a path."""
    repository, snapshot = find_snapshot(which, choose_workspace(workspace))
    found = list(iterate_entries(repository, snapshot, path))
    if output != "table":
        entries = [
            {
                "path": shown,
                "type": one.kind,
                "mode": f"{one.mode:04o}",
                "owner": f"{one.uid}:{one.gid}",
                "size": one.size,
                "mtime": one.mtime,
                "sha256": one.sha256,
                "target": one.target,
            }
            for shown, one in found
        ]
        write_document({"snapshot": snapshot.id, "entries": entries}, output)
    elif not found:
        say(f"{snapshot.id} holds nothing at {path!r}; hostk8s-agent snapshot ls {snapshot.id} shows what it holds")
    else:
        rows = [
            [Cell(one.kind), Cell(f"{one.mode:04o}"), Cell(f"{one.uid}:{one.gid}"), Cell(str(one.size)), Cell(shown)]
            for shown, one in found
        ]
        write("\n".join(render_table(("TYPE", "MODE", "OWNER", "SIZE", "PATH"), rows, find_screen())))
    return ExitCode.OK if found else ExitCode.NOT_READY


def write_content(which: str, path: str, workspace: Path | None) -> ExitCode:
    """Write a file of a snapshot to stdout."""
    repository, snapshot = find_snapshot(which, choose_workspace(workspace))
    for chunk in iterate_content(repository, snapshot, path.strip("/")):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    return ExitCode.OK


def show_difference(first: str, second: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Show what differs between two snapshots."""
    chosen = choose_workspace(workspace)
    repository, before = find_snapshot(first, chosen)
    _, after = find_snapshot(second, chosen)
    found = list(diff_snapshots(repository, before, after))
    if output != "table":
        write_document(
            {"from": before.id, "to": after.id, "differences": [{"kind": kind, "path": path} for kind, path in found]},
            output,
        )
    else:
        for kind, path in found:
            write(f"{kind:<8} {escape_controls(path)}")
    return ExitCode.NOT_READY if found else ExitCode.OK

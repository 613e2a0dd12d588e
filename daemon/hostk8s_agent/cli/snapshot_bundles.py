"""`snapshot export` and `import`: a snapshot as one file, straight out of the repository and into it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hostk8s_agent.cli.columns import render_bytes
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import say, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot_looking import find_repository, find_snapshot
from hostk8s_agent.cli.snapshot_progress import showing
from hostk8s_agent.snapshot.bundling import read_bundle, write_bundle
from hostk8s_agent.snapshot.documents import describe_manifest
from hostk8s_agent.snapshot.durable import make_folder
from hostk8s_agent.snapshot.selecting import split_reference

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat

LOCK_SECONDS = 5.0


def export(reference: str, file: Path, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Write the snapshot that `STACK[@WHICH]` means to a file."""
    stack, which = split_reference(reference)
    repository, snapshot = find_snapshot(which, choose_workspace(workspace), stack)
    with showing("export", output) as meter:
        write_bundle(repository, snapshot, file, meter=meter)
    if output == "table":
        say(f"{snapshot.id} of {snapshot.stack} is in {file}, {render_bytes(file.stat().st_size)}")
    else:
        write_document({"snapshot": describe_manifest(snapshot), "file": str(file)}, output)
    return ExitCode.OK


def take_in(file: Path, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Take the snapshot in a file into the repository."""
    repository = find_repository(choose_workspace(workspace))
    make_folder(repository.folder)
    with showing("import", output) as meter:
        meter.begin("waiting")
        with repository.lock.held(f"take in {file}", wait_seconds=LOCK_SECONDS):
            repository.prepare()
            known = repository.list_ids()
            snapshot = read_bundle(repository, file, lambda: datetime.now(UTC), meter=meter)
    if output == "table":
        what = "is here already; nothing was added" if snapshot.id in known else "is here, and was read back"
        say(f"{snapshot.id} of {snapshot.stack} {what}")
        say(f"  restore it with: hostk8s-agent snapshot restore {snapshot.stack}@{snapshot.id}")
    else:
        write_document(describe_manifest(snapshot), output)
    return ExitCode.OK

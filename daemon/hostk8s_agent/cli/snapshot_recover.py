"""`snapshot recover`: manifests brought back from the restic repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.cli.snapshot import reach_snapshots, render_rows
from hostk8s_agent.cli.snapshot_progress import answer_showing

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat
    from hostk8s_agent.cli.snapshot import Document

MAX_SHOWN = 5


def recover(origin: str, output: OutputFormat, workspace: Path | None) -> ExitCode:
    """Bring back what this place (or `origin`) has sent, and show what came of it."""
    with reach_snapshots(choose_workspace(workspace)) as snapshots:
        document = answer_showing(snapshots, "recover", {"from": origin} if origin else {}, output)
    if output != "table":
        write_document(document, output)
    else:
        _show(document)
    return ExitCode.NOT_READY if document["unusable"] else ExitCode.OK


def _show(document: Document) -> None:
    recovered, loose = document["recovered"], document["looseArchives"]
    if recovered:
        write("\n".join(render_rows(recovered)))
    for one in document["unusable"]:
        say(f"{one['id']} is unusable: {one['problem']['message']}; {one['problem']['hint']}")
    counts = f"{len(recovered)} recovered, {len(document['present'])} were here already"
    say(f"{counts}, {len(document['unusable'])} unusable; sent from {document['from']}")
    for other in document["others"]:
        say(f"{other['manifests']} were sent from {other['from']}: take them over with --from, if that one is gone")
    if loose:
        more = ", ..." * (len(loose) > MAX_SHOWN)
        shown = ", ".join(one[:8] for one in loose[:MAX_SHOWN])
        say(f"{len(loose)} archives there belong to no manifest here ({shown}{more}): restic dump has their content")
    if recovered:
        say(
            "not verified yet: hostk8s-agent snapshot verify --all, or restore one by its id, which compares every byte"
        )

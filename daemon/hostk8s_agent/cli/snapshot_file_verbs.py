"""The verbs that read and write the repository's files themselves: `snapshot ls`, `cat`, `diff`, `export`, `import`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import (
    ExamplesFirst,
    OutputOption,
    SnapshotArgument,
    WorkspaceOption,
    complete_references,
    complete_snapshot_names,
    end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cli.exit_codes import ExitCode


_EXAMPLES: dict[str, str] = {
    "ls": """
    hostk8s-agent snapshot ls 20260131-080000                every entry
    hostk8s-agent snapshot ls 20260131-080000 data/pg_wal    those below a path
    """,
    "cat": """
    hostk8s-agent snapshot cat 20260131-080000 data/PG_VERSION
    """,
    "diff": """
    hostk8s-agent snapshot diff 20260131-080000 20260131-140000
    """,
    "export": """
    hostk8s-agent snapshot export sample sample.tar          the newest good one, for a colleague
    hostk8s-agent snapshot export sample@before-upgrade sample.tar
    """,
    "import": """
    hostk8s-agent snapshot import sample.tar                 then: hostk8s-agent snapshot restore sample
    """,
}


def register(group: typer.Typer) -> None:
    """Add the verbs to those of snapshots."""
    for name, verb in _VERBS.items():
        group.command(name, cls=ExamplesFirst, epilog=_EXAMPLES[name])(verb)


def _ls(
    snapshot: SnapshotArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="DIRECTORY/PATH.", show_default=False)] = "",
    *,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """List what a snapshot holds. Reads the repository itself, the agent is not asked."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_looking import show_entries  # noqa: PLC0415 - each verb pays for its own

        return show_entries(snapshot, path, output, workspace)

    end(verb)


def _cat(
    snapshot: SnapshotArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="DIRECTORY/PATH of a file.")],
    *,
    workspace: WorkspaceOption = None,
) -> None:
    """Write a file of a snapshot to stdout."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_looking import write_content  # noqa: PLC0415 - each verb pays for its own

        return write_content(snapshot, path, workspace)

    end(verb)


def _diff(
    first: Annotated[str, typer.Argument(metavar="A", help="The earlier one.", autocompletion=complete_snapshot_names)],
    second: Annotated[str, typer.Argument(metavar="B", help="The later one.", autocompletion=complete_snapshot_names)],
    *,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show what differs between two snapshots. Exit 0 when nothing does, 1 when something does."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_looking import show_difference  # noqa: PLC0415 - each verb pays for its own

        return show_difference(first, second, output, workspace)

    end(verb)


def _export(
    reference: Annotated[
        str, typer.Argument(metavar="STACK[@WHICH]", help="As for restore.", autocompletion=complete_references)
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    *,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Write a snapshot as one file."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_bundles import export  # noqa: PLC0415 - each verb pays for its own

        return export(reference, file, output, workspace)

    end(verb)


def _import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote.")],
    *,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Take a file's snapshot into the repository, once every byte was compared."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_bundles import take_in  # noqa: PLC0415 - each verb pays for its own

        return take_in(file, output, workspace)

    end(verb)


_VERBS: dict[str, Callable[..., None]] = {
    "ls": _ls,
    "cat": _cat,
    "diff": _diff,
    "export": _export,
    "import": _import,
}

"""The verb `dump`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "dump",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent dump                     writes hostk8s-agent-dump-<time>.tar.gz here
        hostk8s-agent dump --to /tmp/dump.tar.gz
        """,
    )(_dump)


def _dump(
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file to write. Unset: a new one here.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write what someone who helps you needs into one file, without secrets. Read it before you send it."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.dump import write_dump  # noqa: PLC0415 - imports every adapter

        return write_dump(to, workspace)

    end(verb)

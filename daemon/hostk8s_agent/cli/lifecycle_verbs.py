"""The verbs of what outlives a contract: what would be pruned, and giving a volume to a claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(
        "prune",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent prune                        what no contract asks for, and what holds it
        hostk8s-agent prune --confirm              let it go, though it is more than half of everything
        hostk8s-agent prune -o json                for a script
        """,
    )(_prune)
    app.command(
        "release",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent release hostk8s-sample-api-data-pv --for sample/api-data
        hostk8s-agent release hostk8s-sample-api-data-pv --for other/claim        give its data to another claim
        """,
    )(_release)


def _prune(
    *,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Let everything that is shown be pruned. Data is never deleted.")
    ] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show the objects that no contract asks for. Exit 0 when there is none or with --confirm, 1 when there is."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.prune import prune  # noqa: PLC0415 - each verb pays for its own

        return prune(output, workspace, is_confirmed=confirm)

    end(verb)


def _release(
    volume: Annotated[str, typer.Argument(metavar="PV", help="The PersistentVolume's name.", show_default=False)],
    *,
    claim: Annotated[
        str, typer.Option("--for", metavar="NAMESPACE/NAME", help="The claim that may bind to it.", show_default=False)
    ],
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Make a PersistentVolume that no claim holds bindable for one claim, and no other. Exit 3 when no agent runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.release import release  # noqa: PLC0415 - each verb pays for its own

        return release(volume, claim, output, workspace)

    end(verb)

"""The verb of the history, declared: what happened, of all stacks or of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""

    @app.command(
        "events",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent events                                   what happened, the newest last
        hostk8s-agent events --stack foundation/airflow        to one stack
        hostk8s-agent events --since 2h                        in the last two hours
        hostk8s-agent events --since 2025-01-31T08:00:00Z      since a moment
        hostk8s-agent events --follow -o json                  and what happens from now on, one object a line
        """,
    )
    def _events(
        *,
        stack: Annotated[str, typer.Option("--stack", metavar="STACK", help="Of this stack alone.")] = "",
        since: Annotated[
            str, typer.Option("--since", metavar="WHEN", help="30s, 10m, 2h, 7d, or a time as RFC 3339 has it.")
        ] = "",
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing them until Ctrl-C.")] = False,
        output: OutputOption = "table",
        workspace: WorkspaceOption = None,
    ) -> None:
        """Show what happened: the last 1,000 events. Without an agent, those that the last one left."""

        def verb() -> ExitCode:
            from hostk8s_agent.cli.events import EventsOptions, show_events  # noqa: PLC0415 - each verb pays for its own

            return show_events(EventsOptions(stack, since, output, workspace, follow))

        end(verb)

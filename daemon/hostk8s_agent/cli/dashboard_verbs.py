"""The verbs of the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(
        "dashboard",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent dashboard                    open the page in a browser
        hostk8s-agent dashboard --no-browser       print the link that opens it, once
        """,
    )(_dashboard)


def _dashboard(
    *,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link, and open nothing.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Open the agent's page, by a link that works once and for five minutes. Exit 3 when no agent runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.dashboard import open_dashboard  # noqa: PLC0415 - each verb pays for its own

        return open_dashboard(workspace, opens_browser=not no_browser)

    end(verb)

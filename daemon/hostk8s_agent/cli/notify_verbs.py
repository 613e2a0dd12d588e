"""The verbs below `notify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, ExamplesFirstGroup, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode

notify = typer.Typer(
    cls=ExamplesFirstGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="""
    hostk8s-agent notify test     can anybody be told?
    """,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(notify, name="notify", help="Who is told of what goes wrong while nobody looks.")


@notify.command(
    "test",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent notify test             tell by every channel that this is a test
    hostk8s-agent notify test -o json     the same for a script
    """,
)
def _test(*, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Send a test by every channel: by the agent, else from here. Exit 0 when all got through, 1 when not."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.notify import test_notifications  # noqa: PLC0415 - each verb pays for its own

        return test_notifications(output, workspace)

    end(verb)

"""The verb `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    import typer

    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "doctor",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent doctor                   is everything as the agent needs it?
        hostk8s-agent doctor -o json | jq '.[] | select(.verdict != "ok")'
        """,
    )(_doctor)


def _doctor(*, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Check everything that the agent needs, with what mends it. Exit 1 when something fails; it changes nothing."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.doctor import show_findings  # noqa: PLC0415 - imports every adapter

        return show_findings(output, workspace)

    end(verb)

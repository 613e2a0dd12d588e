"""The verbs of the volume: orphaned directories, the trash, a volume that was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(
        "orphans",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent orphans                      directories that no contract asks for any more, and the trash
        hostk8s-agent orphans -o json              the same for a script
        """,
    )(_orphans)
    app.command(
        "purge",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent purge /mnt/pv/old/data              move an orphaned directory into the trash
        hostk8s-agent purge --undo /mnt/pv/old/data       bring it back
        hostk8s-agent purge --empty-trash                 delete what is in the trash; asks first
        """,
    )(_purge)
    app.command(
        "take-over",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent take-over /mnt/pv/airflow/logs      from a workspace whose agent has been silent for 5 minutes
        """,
    )(_take_over)
    app.command(
        "volume",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent volume                       which volume, and which workspaces hold what in it
        hostk8s-agent volume --accept-loss         begin anew with an empty one after status said VolumeLost
        hostk8s-agent volume --release             let go of the volume, before the agent is uninstalled
        """,
    )(_volume)


def _orphans(*, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Show directories in the volume that a contract once had and none asks for. Exit 3 when no agent runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.orphans import show_orphans  # noqa: PLC0415 - each verb pays for its own

        return show_orphans(output, workspace)

    end(verb)


def _purge(  # noqa: PLR0913 - one parameter an option
    *,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="A directory, /mnt/pv/...", show_default=False)
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring PATH back out of the trash.")] = False,
    empty_trash: Annotated[bool, typer.Option("--empty-trash", help="Delete what is in the trash for good.")] = False,
    without_snapshot: Annotated[
        bool, typer.Option("--without-snapshot", help="Take no snapshot before, and purge if none can be taken.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the trash is emptied.")] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Move an orphaned directory into the trash of the volume, or bring it back. Only --empty-trash deletes."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.purge import PurgeOptions, purge  # noqa: PLC0415 - each verb pays for its own

        options = PurgeOptions(undo, empty_trash, without_snapshot, yes, output, workspace)
        return purge(path, options)

    end(verb)


def _take_over(
    *,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A directory, /mnt/pv/...", show_default=False)],
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Take a path of the volume from another workspace, whose agent is silent. Exit 1 when nobody else holds it."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli import volume  # noqa: PLC0415 - each verb pays for its own

        return volume.take_over(path, output, workspace)

    end(verb)


def _volume(
    *,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Begin anew in place of a lost volume, with an empty one.")
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Remove the container that keeps the volume. No agent may run.")
    ] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show the volume, accept its loss, or let go of it. Exit 1 when there is no loss to accept."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli import volume  # noqa: PLC0415 - each verb pays for its own

        if release:
            return volume.release(output, workspace)
        return volume.accept_loss(output, workspace) if accept_loss else volume.show(output, workspace)

    end(verb)

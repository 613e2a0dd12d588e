"""The verbs below `service`: the agent as a service of systemd or launchd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, ExamplesFirstGroup, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode

SystemOption = Annotated[
    bool, typer.Option("--system", help="A unit of the system in place of one of the user (systemd, as root).")
]
DEFAULT_LINES = 50

service = typer.Typer(
    cls=ExamplesFirstGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="""
    hostk8s-agent service install          run from now on, and after each login
    hostk8s-agent service status           does it run?
    hostk8s-agent service logs --follow    what does it do?
    """,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(service, name="service", help="Run the agent as a service: systemd on Linux, launchd on macOS.")


@service.command(
    "install",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service install                      of the workspace that is upwards from here
    hostk8s-agent service install --dry-run            show each file that would be written
    sudo hostk8s-agent service install --system --workspace /srv/hostk8s
    """,
)
def _install(
    *,
    system: SystemOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files and write none.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Install and start it. Again is as good as once: what is there already is kept, what differs is replaced."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.service import install_service  # noqa: PLC0415 - each verb pays for its own

        return install_service(workspace, is_system=system, is_dry_run=dry_run)

    end(verb)


@service.command(
    "uninstall",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service uninstall
    """,
)
def _uninstall(*, system: SystemOption = False, workspace: WorkspaceOption = None) -> None:
    """Stop it and remove its files. Data stays, and where it is is said."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.service import uninstall_service  # noqa: PLC0415 - each verb pays for its own

        return uninstall_service(workspace, is_system=system)

    end(verb)


@service.command(
    "start",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service start
    """,
)
def _begin(*, system: SystemOption = False, workspace: WorkspaceOption = None) -> None:
    """Start it, and wait until everything was tried once."""
    _control("start", system=system, workspace=workspace)


@service.command(
    "stop",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service stop             until the next login or start
    """,
)
def _stop(*, system: SystemOption = False, workspace: WorkspaceOption = None) -> None:
    """Stop it, once what is under way is finished."""
    _control("stop", system=system, workspace=workspace)


@service.command(
    "restart",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service restart
    """,
)
def _restart(*, system: SystemOption = False, workspace: WorkspaceOption = None) -> None:
    """Stop and start it."""
    _control("restart", system=system, workspace=workspace)


@service.command(
    "status",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service status
    hostk8s-agent service status -o json
    """,
)
def _status(*, system: SystemOption = False, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Show how the service is, as the service manager says. Exit 0 when it runs, 1 when not."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.service import show_service  # noqa: PLC0415 - each verb pays for its own

        return show_service(workspace, output, is_system=system)

    end(verb)


@service.command(
    "logs",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent service logs             the last 50 lines
    hostk8s-agent service logs --follow    and those that come
    """,
)
def _logs(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many lines.")] = DEFAULT_LINES,
    system: SystemOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Show what the service has logged: journalctl's or the log file's lines."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.service import show_logs  # noqa: PLC0415 - each verb pays for its own

        return show_logs(workspace, lines=lines, follows=follow, is_system=system)

    end(verb)


def _control(what: str, *, system: bool, workspace: WorkspaceOption) -> None:
    def verb() -> ExitCode:
        from hostk8s_agent.cli.service import control_service  # noqa: PLC0415 - each verb pays for its own

        return control_service(workspace, what, is_system=system)

    end(verb)

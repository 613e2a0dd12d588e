"""The command line: every verb, its options and its examples. What a verb does is in the module of its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from hostk8s_agent import __version__
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.guarding import run_guarded
from hostk8s_agent.cli.output import OutputFormat

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "hostk8s-agent"
DEFAULT_TIMEOUT_SECONDS = 120.0


class _ExamplesFirst(TyperCommand):
    """A verb whose help begins with its epilog, the examples, as they were written."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's types, which typer hides
        _write_examples(self.epilog, formatter)
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        """Nothing: it was shown already."""


class _ExamplesFirstGroup(TyperGroup):
    """The same for the command as a whole."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        _write_examples(self.epilog, formatter)
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        """Nothing: it was shown already."""


def _write_examples(examples: str | None, formatter: Any) -> None:  # noqa: ANN401 - the same
    formatter.write("Examples:\n")
    for line in (examples or "").strip().splitlines():
        formatter.write(f"  {line.strip()}\n")
    formatter.write("\n")


app = typer.Typer(
    name=PROGRAM,
    cls=_ExamplesFirstGroup,
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="""
    hostk8s-agent run                      keep this workspace's storage as its contracts say
    hostk8s-agent status                   what is true now
    hostk8s-agent validate                 are the contracts good?
    hostk8s-agent plan                     what would be done?
    """,
)

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="The HostK8s checkout. Unset: found upwards from here."),
]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="How data is shown.")]
StackArgument = Annotated[
    str | None, typer.Argument(metavar="STACK", help="A stack, slashes included. Unset: all.", show_default=False)
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, max=3600, help="How long to wait at most.")
]


@app.callback()
def _start(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    """Make directories, StorageClasses and PersistentVolumes what the stacks' storage contracts ask for."""
    if version:
        typer.echo(f"{PROGRAM} {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    "run",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent run                      run until Ctrl-C or SIGTERM
    hostk8s-agent run --once               reconcile everything, show the outcome and end
    hostk8s-agent run --once -o json       the same for a script
    """,
)
def _run(
    *,
    once: Annotated[bool, typer.Option("--once", help="Reconcile everything once, then end.")] = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_SECONDS,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Be the workspace's agent. With --once, exit 0 when all is Ready and 1 when not; 75 when it has its agent."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.run import run_one_pass, run_service  # noqa: PLC0415 - imports every adapter

        return run_one_pass(output, workspace, timeout) if once else run_service(workspace)

    _end(verb)


@app.command(
    "status",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent status                       everything, worst first
    hostk8s-agent status foundation/airflow    all of one stack
    hostk8s-agent status --watch               drawn anew whenever it changes
    hostk8s-agent status -o json | jq '.stacks[] | select(.state != "Ready")'
    """,
)
def _status(
    *,
    stack: StackArgument = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C.")] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show what is true. Exit 0 when all is Ready, 1 when something is not, 3 when no agent runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.status import StatusOptions, show_status  # noqa: PLC0415 - each verb pays for its own

        return show_status(StatusOptions(stack, output, workspace, watch))

    _end(verb)


@app.command(
    "validate",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent validate                                  all contracts of the workspace
    hostk8s-agent validate software/stacks/sample           one stack's
    hostk8s-agent validate a.yaml b.yaml -o json            any files, the problems as a list
    """,
)
def _validate(
    *,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files or folders.", show_default=False)
    ] = None,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Judge contracts, alone and against each other, without an agent, Docker or a cluster. Exit 0 or 1."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.validate import validate  # noqa: PLC0415 - each verb pays for its own

        return validate(paths or (), output, workspace)

    _end(verb)


@app.command(
    "plan",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent plan                     what a reconcile of each stack would do
    hostk8s-agent plan sample -o yaml      of one stack, with every field that differs
    """,
)
def _plan(
    *,
    stack: StackArgument = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_SECONDS,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show what would be done, changing nothing. Exit 0 when there is nothing to do, 1 when there is, 2 on error."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.plan import show_plan  # noqa: PLC0415 - each verb pays for its own

        return show_plan(stack, output, workspace, timeout)

    _end(verb)


@app.command(
    "reconcile",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent reconcile                        run all stacks now
    hostk8s-agent reconcile sample --wait          run one, and wait for what comes of it
    """,
)
def _reconcile(
    *,
    stack: StackArgument = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait, and exit 1 unless all is Ready then.")] = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_SECONDS,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Ask the agent for a run now. Exit 3 when none runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.reconcile import reconcile  # noqa: PLC0415 - each verb pays for its own

        return reconcile(stack, output, workspace, timeout if wait else None)

    _end(verb)


@app.command(
    "schema",
    cls=_ExamplesFirst,
    epilog="""
    hostk8s-agent schema > hostk8s.storage.schema.json     for an editor's YAML support
    """,
)
def _schema(*, output: OutputOption = "json") -> None:
    """Print the JSON Schema of storage contracts."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.schema import show_schema  # noqa: PLC0415 - each verb pays for its own

        return show_schema(output)

    _end(verb)


def run_app() -> NoReturn:
    """Read the command line, do what it says and end the process."""
    app(prog_name=PROGRAM)
    sys.exit(ExitCode.OK)


def _end(verb: Callable[[], int]) -> NoReturn:
    raise typer.Exit(run_guarded(verb))

"""The command line: every verb, its options and its examples. What a verb does is in the module of its name.

The verbs of a room of their own are declared in a module of that room's name, `<room>_verbs.py`, whose `register`
adds them here.
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, NoReturn

import typer

from hostk8s_agent import __version__
from hostk8s_agent.cli import (
    cluster_verbs,
    completion_verbs,
    contract_verbs,
    dashboard_verbs,
    doctor_verbs,
    dump_verbs,
    events_verbs,
    explain_verbs,
    lifecycle_verbs,
    notify_verbs,
    service_verbs,
    settings_verbs,
    snapshot_verbs,
    storage_verbs,
)
from hostk8s_agent.cli.declaring import (
    DEFAULT_TIMEOUT_SECONDS,
    ExamplesFirst,
    ExamplesFirstGroup,
    OutputOption,
    StackArgument,
    StatusFormatOption,
    TimeoutOption,
    WorkspaceOption,
    end,
)
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.guarding import run_guarded
from hostk8s_agent.cli.settings_verbs import SetOption, parse_flags

PROGRAM = "hostk8s-agent"

app = typer.Typer(
    name=PROGRAM,
    cls=ExamplesFirstGroup,
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
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent run                      run until Ctrl-C or SIGTERM
    hostk8s-agent run --once               reconcile everything, show the outcome and end
    hostk8s-agent run --once -o json       the same for a script
    hostk8s-agent run --set workers=2      with another setting than the files have
    """,
)
def _run(
    *,
    once: Annotated[bool, typer.Option("--once", help="Reconcile everything once, then end.")] = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_SECONDS,
    given: SetOption = None,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Be the workspace's agent. With --once, exit 0 when all is Ready and 1 when not; 75 when it has its agent."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.run import run_one_pass, run_service  # noqa: PLC0415 - imports every adapter

        flags = parse_flags(given)
        return run_one_pass(output, workspace, timeout, flags) if once else run_service(workspace, flags)

    end(verb)


@app.command(
    "status",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent status                       everything, worst first
    hostk8s-agent status foundation/airflow    all of one stack
    hostk8s-agent status --watch               drawn anew whenever it changes
    hostk8s-agent status -o wide               with each contract's file and last run
    hostk8s-agent status -o name | xargs -n1 hostk8s-agent plan
    hostk8s-agent status -o json | jq '.stacks[] | select(.state != "Ready")'
    """,
)
def _status(
    *,
    stack: StackArgument = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C.")] = False,
    output: StatusFormatOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show what is true. Exit 0 when all is Ready, 1 when something is not, 3 when no agent runs."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.status import StatusOptions, show_status  # noqa: PLC0415 - each verb pays for its own

        return show_status(StatusOptions(stack, output, workspace, watch))

    end(verb)


@app.command(
    "validate",
    cls=ExamplesFirst,
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

    end(verb)


@app.command(
    "plan",
    cls=ExamplesFirst,
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

    end(verb)


@app.command(
    "reconcile",
    cls=ExamplesFirst,
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

    end(verb)


@app.command(
    "schema",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent schema > hostk8s.storage.schema.json     for an editor's YAML support
    """,
)
def _schema(*, output: OutputOption = "json") -> None:
    """Print the JSON Schema of storage contracts."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.schema import show_schema  # noqa: PLC0415 - each verb pays for its own

        return show_schema(output)

    end(verb)


cluster_verbs.register(app)
dashboard_verbs.register(app)
storage_verbs.register(app)
snapshot_verbs.register(app)
events_verbs.register(app)
completion_verbs.register(app)
contract_verbs.register(app)
explain_verbs.register(app)
doctor_verbs.register(app)
dump_verbs.register(app)
settings_verbs.register(app)
service_verbs.register(app)
lifecycle_verbs.register(app)
notify_verbs.register(app)


def run_app() -> NoReturn:
    """Read the command line, do what it says and end the process."""
    completion_verbs.enable_completion()

    def answer() -> int:
        # What the command line itself says (help, version, a slip) can fail to be written like any answer.
        try:
            app(prog_name=PROGRAM)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else ExitCode.OK
        return ExitCode.OK

    sys.exit(run_guarded(answer))

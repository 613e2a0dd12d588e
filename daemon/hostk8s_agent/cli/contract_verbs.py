"""The verbs that help with writing contracts: `init` and `contract fix`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, ExamplesFirstGroup, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode

contract = typer.Typer(
    cls=ExamplesFirstGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="""
    hostk8s-agent contract fix             quote what YAML would misread
    """,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "init",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent init postgres            writes software/stacks/postgres/hostk8s.storage.yaml
        hostk8s-agent init                     in a stack's folder: for that stack
        """,
    )(_init)
    app.add_typer(contract, name="contract", help="Help with writing contracts.")


def _init(
    stack: Annotated[
        str | None, typer.Argument(metavar="STACK", help="The stack. Unset: the folder one is in.", show_default=False)
    ] = None,
    *,
    workspace: WorkspaceOption = None,
) -> None:
    """Write a commented contract for a stack that has none, with its schema for editors. It replaces no file."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.init import write_first_contract  # noqa: PLC0415 - each verb pays for its own

        return write_first_contract(stack, workspace)

    end(verb)


@contract.command(
    "fix",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent contract fix                     all contracts of the workspace
    hostk8s-agent contract fix --check             say what would be quoted, write nothing
    hostk8s-agent contract fix a.yaml b.yaml
    """,
)
def _fix(
    *,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Files.", show_default=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when there is something.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Quote the values that YAML would take for numbers or truths (0755, 26:26, yes). All else stays, comments too."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.contract_fix import fix_contracts  # noqa: PLC0415 - each verb pays for its own

        return fix_contracts(paths or (), workspace, is_check=check)

    end(verb)

"""What all verbs are declared with: help that begins with examples, the options that many have, one way to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from hostk8s_agent.cli.guarding import run_guarded
from hostk8s_agent.cli.output import OutputFormat, StatusFormat

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_TIMEOUT_SECONDS = 120.0


class ExamplesFirst(TyperCommand):
    """A verb whose help begins with its epilog, the examples, as they were written."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's types, which typer hides
        """Write the examples, then the rest."""
        _write_examples(self.epilog, formatter)
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        """Nothing: it was shown already."""


class ExamplesFirstGroup(TyperGroup):
    """The same for the command as a whole."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        """Write the examples, then the rest."""
        _write_examples(self.epilog, formatter)
        super().format_help(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the same
        """Nothing: it was shown already."""


def _write_examples(examples: str | None, formatter: Any) -> None:  # noqa: ANN401 - the same
    formatter.write("Examples:\n")
    for line in (examples or "").strip().splitlines():
        formatter.write(f"  {line.strip()}\n")
    formatter.write("\n")


def complete_stack_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the stacks that begin as typed, for a shell. Silent: an error would stand in the middle of a line."""
    from hostk8s_agent.cli.completion import list_stack_names  # noqa: PLC0415 - for a shell alone

    return [name for name in list_stack_names(context.params.get("workspace")) if name.startswith(incomplete)]


def complete_snapshot_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the snapshots that begin as typed, by id or by name."""
    from hostk8s_agent.cli.completion import list_snapshot_names  # noqa: PLC0415 - for a shell alone

    return [name for name in list_snapshot_names(context.params.get("workspace")) if name.startswith(incomplete)]


def complete_references(context: typer.Context, incomplete: str) -> list[str]:
    """Return the stacks that begin as typed; behind an `@` the snapshots of the one before it."""
    from hostk8s_agent.cli.completion import list_references  # noqa: PLC0415 - for a shell alone

    stack, at, _ = incomplete.partition("@")
    if not at:
        return complete_stack_names(context, incomplete)
    found = list_references(context.params.get("workspace"), stack)
    return [reference for reference in found if reference.startswith(incomplete)]


WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="The HostK8s checkout. Unset: found upwards from here."),
]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="How data is shown.")]
StatusFormatOption = Annotated[StatusFormat, typer.Option("--output", "-o", help="How data is shown.")]
StackArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="STACK",
        help="A stack, slashes included. Unset: all.",
        show_default=False,
        autocompletion=complete_stack_names,
    ),
]
SnapshotArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="An id or its beginning, or a name.", autocompletion=complete_snapshot_names),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, max=3600, help="How long to wait at most.")
]


def end(verb: Callable[[], int]) -> NoReturn:
    """Carry a verb out and end the process with its code."""
    raise typer.Exit(run_guarded(verb))

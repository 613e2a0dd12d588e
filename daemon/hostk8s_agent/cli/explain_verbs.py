"""The verb `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode

ExplainedKind = Literal["stack", "directory", "pv", "pvc"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "explain",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent explain stack foundation/airflow
        hostk8s-agent explain pv hostk8s-foundation-airflow-dags-pv
        hostk8s-agent explain pvc airflow/airflow-dags-pvc
        hostk8s-agent explain directory /mnt/pv/airflow/dags
        """,
    )(_explain)


def _explain(
    kind: Annotated[ExplainedKind, typer.Argument(metavar="KIND", help="stack, directory, pv or pvc.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A claim as namespace/name, a directory as its path.")],
    *,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Say in words why something is as it is, and what would change it. Exit 0 when it is well, 1 when not."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.explain import explain  # noqa: PLC0415 - each verb pays for its own

        return explain(kind, name, output, workspace)

    end(verb)

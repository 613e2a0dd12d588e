"""The verbs about the cluster itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, OutputOption, WorkspaceOption, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(
        "kind-config",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent kind-config > kind.yaml && kind create cluster --config kind.yaml
        hostk8s-agent kind-config --workers 2          the same for three nodes
        """,
    )(_kind_config)


def _kind_config(
    *,
    workers: Annotated[int, typer.Option("--workers", min=0, max=20, help="Nodes besides the control plane.")] = 0,
    output: OutputOption = "yaml",
    workspace: WorkspaceOption = None,
) -> None:
    """Print a Kind configuration whose nodes have this engine's volume at /mnt/pv. Nothing is changed."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.kind_config import show_kind_config  # noqa: PLC0415 - imports the Docker library

        return show_kind_config(workers, output, workspace)

    end(verb)

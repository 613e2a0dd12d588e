"""The verb `completion`, and its being at work when a shell asks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, end

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "completion",
        cls=ExamplesFirst,
        epilog="""
        hostk8s-agent completion bash > ~/.local/share/bash-completion/completions/hostk8s-agent
        hostk8s-agent completion zsh > ~/.zfunc/_hostk8s-agent
        hostk8s-agent completion fish > ~/.config/fish/completions/hostk8s-agent.fish
        """,
    )(_completion)


def enable_completion() -> None:
    """Have typer answer the shell when it is the shell that asks."""
    if "_HOSTK8S_AGENT_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415 - typer exports it by no __all__

        completion_init()


def _completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that teaches a shell to complete verbs, options and names of stacks."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.completion import show_completion_script  # noqa: PLC0415 - each verb pays for its own

        return show_completion_script(shell, "hostk8s-agent")

    end(verb)

"""The verb `completion`, and its being at work when a shell asks."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hostk8s_agent.cli.completion_scripts import COMPLETE_VARIABLE, Shell, render_script
from hostk8s_agent.cli.declaring import ExamplesFirst, end
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import write


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
    if COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415 - typer exports it by no __all__

        completion_init()


def _completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that teaches a shell to complete verbs, options, names of stacks and of snapshots."""

    def verb() -> ExitCode:
        write(render_script(shell))
        return ExitCode.OK

    end(verb)

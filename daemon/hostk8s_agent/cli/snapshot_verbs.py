"""The verbs of snapshots: `snapshot create`, `list`, `verify`, `restore` and so on."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostk8s_agent.cli import snapshot_file_verbs
from hostk8s_agent.cli.declaring import (
    ExamplesFirst,
    ExamplesFirstGroup,
    OutputOption,
    SnapshotArgument,
    StackArgument,
    WorkspaceOption,
    complete_references,
    complete_snapshot_names,
    complete_stack_names,
    end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostk8s_agent.cli.exit_codes import ExitCode

RequiredStack = Annotated[
    str, typer.Argument(metavar="STACK", help="A stack, slashes included.", autocompletion=complete_stack_names)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_EXAMPLES: dict[str, str] = {
    "create": """
    hostk8s-agent snapshot create sample                     all directories of the stack, now
    hostk8s-agent snapshot create sample --name before-upgrade --pin
    """,
    "list": """
    hostk8s-agent snapshot list                              all, the oldest first
    hostk8s-agent snapshot list sample -o json | jq -r '.snapshots[].id'
    """,
    "show": """
    hostk8s-agent snapshot show 20260131-080000-3f9ac2d1     everything but the files
    """,
    "verify": """
    hostk8s-agent snapshot verify --all                      read everything back
    hostk8s-agent snapshot verify 20260131-080000
    """,
    "restore": """
    hostk8s-agent snapshot restore sample                    the newest good one
    hostk8s-agent snapshot restore "sample@2 hours ago"
    hostk8s-agent snapshot restore sample@20260131-080000 --as sample-copy
    hostk8s-agent snapshot restore sample --path data/conf   one file or folder, as snapshot ls shows it
    hostk8s-agent snapshot restore sample --scale-down       stop the pods that use it meanwhile
    hostk8s-agent snapshot restore sample --to /tmp/sample   onto this machine, no volume is touched
    hostk8s-agent snapshot restore sample --undo             bring back what the last restore replaced
    """,
    "pin": """
    hostk8s-agent snapshot pin 20260131-080000               it never expires
    hostk8s-agent snapshot pin 20260131-080000 --off         it may again
    """,
    "accept": """
    hostk8s-agent snapshot accept 20260131-080000            it is meant to be that small
    """,
    "forget": """
    hostk8s-agent snapshot forget 20260131-080000            remove it, and what no other one needs
    """,
    "recover": """
    hostk8s-agent snapshot recover                           after the loss of this machine's disk
    hostk8s-agent snapshot recover --from old-laptop:/home/ada/.local/share/hostk8s-agent/hostk8s-1f0c9a77/snapshots
    """,
    "expire": """
    hostk8s-agent snapshot expire --dry-run                  what would go, and why the rest stays
    """,
}


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    group = typer.Typer(
        cls=ExamplesFirstGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Take, look at, verify and restore snapshots of what is in a stack's directories.",
        epilog="""
        hostk8s-agent snapshot create sample       take one now
        hostk8s-agent snapshot list                what there is
        hostk8s-agent snapshot restore sample      bring the newest good one back
        """,
    )
    for name, verb in _VERBS.items():
        group.command(name, cls=ExamplesFirst, epilog=_EXAMPLES[name])(verb)
    snapshot_file_verbs.register(group)
    app.add_typer(group, name="snapshot")


def _create(
    stack: RequiredStack,
    *,
    name: Annotated[str, typer.Option("--name", help="A name of your own.", show_default=False)] = "",
    pin: Annotated[bool, typer.Option("--pin", help="It never expires.")] = False,
    wait: Annotated[bool, typer.Option(help="Until it was read back; else the agent goes on alone.")] = True,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Take a snapshot of a stack and read it back. Exit 1 when it is suspect."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import create  # noqa: PLC0415 - each verb pays for its own

        return create({"stack": stack, "name": name, "pin": pin, "wait": wait}, output, workspace)

    end(verb)


def _list(*, stack: StackArgument = None, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Show the snapshots, the oldest first. Exit 1 when a manifest cannot be trusted."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import show_list  # noqa: PLC0415 - each verb pays for its own

        return show_list(stack, output, workspace)

    end(verb)


def _show(snapshot: SnapshotArgument, *, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Show one snapshot: its directories, what was reached, what could not be kept."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import show_one  # noqa: PLC0415 - each verb pays for its own

        return show_one(snapshot, output, workspace)

    end(verb)


def _verify(
    snapshot: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Which one.", show_default=False, autocompletion=complete_snapshot_names),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of the repository.")] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Read snapshots back and compare every byte. Exit 1 when something is not what was written."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import verify  # noqa: PLC0415 - each verb pays for its own

        return verify(snapshot, output, workspace, is_all=everything)

    end(verb)


def _restore(  # noqa: PLR0913 - one parameter an option
    reference: Annotated[
        str,
        typer.Argument(
            metavar="STACK[@WHICH]",
            help="WHICH: an id, a name, latest, or a time such as 2 hours ago.",
            autocompletion=complete_references,
        ),
    ],
    *,
    into: Annotated[
        str | None, typer.Option("--as", metavar="STACK", help="Into this stack's.", show_default=False)
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Into a new folder of this machine.")] = None,
    path: Annotated[
        str | None,
        typer.Option("--path", metavar="PATH", help="One file or folder alone: DIRECTORY/PATH.", show_default=False),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what the last restore replaced.")] = False,
    scale_down: Annotated[
        bool, typer.Option("--scale-down", help="Scale what makes the pods that use it to zero meanwhile.")
    ] = False,
    in_use: Annotated[
        bool, typer.Option("--in-use", help="Have the containers that use it started anew, on what is restored.")
    ] = False,
    yes: YesOption = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Replace a stack's directories by a snapshot's, after a snapshot of what is there."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_restore import RestoreOptions, restore  # noqa: PLC0415 - each pays for its own

        options: dict[str, Any] = {"undo": undo, "inUse": in_use, "scaleDown": scale_down}
        # What is given and empty is a variable of a script that is not set: it must not mean everything.
        options |= {name: one for name, one in (("target", into), ("path", path)) if one is not None}
        return restore(RestoreOptions(reference, options, to, yes), output, workspace)

    end(verb)


def _pin(
    snapshot: SnapshotArgument,
    *,
    off: Annotated[bool, typer.Option("--off", help="Let it expire again.")] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Let a snapshot never expire."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import change  # noqa: PLC0415 - each verb pays for its own

        return change("pin", {"id": snapshot, "pinned": not off}, output, workspace)

    end(verb)


def _accept(snapshot: SnapshotArgument, *, output: OutputOption = "table", workspace: WorkspaceOption = None) -> None:
    """Take a suspect snapshot for good: you have looked, and it is meant to be that small."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import change  # noqa: PLC0415 - each verb pays for its own

        return change("accept", {"id": snapshot}, output, workspace)

    end(verb)


def _forget(
    snapshot: SnapshotArgument,
    *,
    yes: YesOption = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Remove a snapshot for good."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot import forget  # noqa: PLC0415 - each verb pays for its own

        return forget(snapshot, output, workspace, is_agreed=yes)

    end(verb)


def _expire(
    *,
    stack: StackArgument = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it.")] = False,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Let snapshots expire that no policy keeps; each that stays says why. Exit 1 while something holds expiry."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_expire import expire  # noqa: PLC0415 - each verb pays for its own

        return expire(stack, output, workspace, is_dry_run=dry_run)

    end(verb)


def _recover(
    *,
    origin: Annotated[
        str,
        typer.Option("--from", metavar="HOST:DIR", help="Take over what another place has sent.", show_default=False),
    ] = "",
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Bring manifests back from the restic repository that are not here. Exit 1 when one of them is unusable."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.snapshot_recover import recover  # noqa: PLC0415 - each verb pays for its own

        return recover(origin, output, workspace)

    end(verb)


_VERBS: dict[str, Callable[..., None]] = {
    "create": _create,
    "list": _list,
    "show": _show,
    "verify": _verify,
    "restore": _restore,
    "pin": _pin,
    "accept": _accept,
    "forget": _forget,
    "expire": _expire,
    "recover": _recover,
}

"""The verbs below `settings`: what may be set, what is, and where that comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostk8s_agent.cli.declaring import ExamplesFirst, ExamplesFirstGroup, OutputOption, WorkspaceOption, end
from hostk8s_agent.errors import SettingsError

if TYPE_CHECKING:
    from hostk8s_agent.cli.exit_codes import ExitCode

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting for this run; wins over files and variables."),
]

settings = typer.Typer(
    cls=ExamplesFirstGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="""
    hostk8s-agent settings show --origin     what is set, and where
    """,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(settings, name="settings", help="What may be set, what is, and where that comes from.")


def parse_flags(given: list[str] | None) -> dict[str, str]:
    """Given `NAME=VALUE` each, return the values by name. Raises `SettingsError`."""
    found = {}
    for one in given or ():
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise SettingsError(f"--set {name}: no NAME=VALUE", hint="for instance: --set workers=4")
        found[name.strip().replace("-", "_")] = value
    return found


@settings.command(
    "show",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent settings show                        all settings in force
    hostk8s-agent settings show --origin               and which file, variable or flag each comes from
    hostk8s-agent settings show -o yaml > ~/.config/hostk8s-agent/settings.yaml
    """,
)
def _show(
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Show where each value comes from.")] = False,
    given: SetOption = None,
    output: OutputOption = "table",
    workspace: WorkspaceOption = None,
) -> None:
    """Show the settings as they would be in force for an agent that is started here and now."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.settings import show_settings  # noqa: PLC0415 - each verb pays for its own

        return show_settings(workspace, output, parse_flags(given), with_origin=origin)

    end(verb)


@settings.command(
    "schema",
    cls=ExamplesFirst,
    epilog="""
    hostk8s-agent settings schema > settings.schema.json     for an editor's YAML support
    """,
)
def _schema(*, output: OutputOption = "json") -> None:
    """Print the JSON Schema of the file of settings; as a table, what each setting means."""

    def verb() -> ExitCode:
        from hostk8s_agent.cli.settings import show_settings_schema  # noqa: PLC0415 - each verb pays for its own

        return show_settings_schema(output)

    end(verb)

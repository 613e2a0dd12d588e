"""`settings ...`: what may be set, what is, and where that comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from hostk8s_agent.cli.columns import Cell, render_table
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import find_screen, say, write, write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.settings import ENVIRONMENT_PREFIX, Settings, find_origins, find_unknown_variables, load_settings
from hostk8s_agent.snapshot.policies import load_default_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hostk8s_agent.cli.output import OutputFormat

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def show_settings(
    directory: Path | None, output: OutputFormat, flags: Mapping[str, str], *, with_origin: bool
) -> ExitCode:
    """Show the settings, each with its origin when that is asked for."""
    workspace = choose_workspace(directory)
    # Judged as an agent that is started judges them.
    settings = load_settings(workspace, flags, judge=load_default_policy)
    for told in find_unknown_variables():
        say(f"hostk8s-agent: {told}")
    values: dict[str, Any] = settings.model_dump(mode="json")
    origins = find_origins(workspace, flags) if with_origin else {}
    if output == "table":
        rows = [
            [Cell(name), Cell(_render(value)), *([Cell(origins[name])] if with_origin else [])]
            for name, value in values.items()
        ]
        headers = ("SETTING", "VALUE", "ORIGIN") if with_origin else ("SETTING", "VALUE")
        write("\n".join(render_table(headers, rows, find_screen())))
    elif with_origin:
        write_document({name: {"value": value, "origin": origins[name]} for name, value in values.items()}, output)
    else:
        # What can be written into a file and read again: unset ones say nothing, and secrets are left out.
        secret = [name for name, value in values.items() if _is_hidden(value)]
        shown = {name: value for name, value in values.items() if value is not None and name not in secret}
        write_document(shown, output)
        if secret:
            say(f"left out, as they hold secrets: {', '.join(secret)}")
    return ExitCode.OK


def show_settings_schema(output: OutputFormat) -> ExitCode:
    """Print the schema, or the page of docs/settings.md."""
    if output == "table":
        write(render_settings_page().rstrip("\n"))
    else:
        write_document(build_settings_schema(), output)
    return ExitCode.OK


def build_settings_schema() -> dict[str, Any]:
    """Return the JSON Schema of `settings.yaml`."""
    schema = Settings.model_json_schema()
    schema["title"] = "Settings of hostk8s-agent"
    schema["description"] = "What a person may set."
    return {"$schema": SCHEMA_DIALECT, **schema}


def render_settings_page() -> str:
    """Return the table of docs/settings.md: meaning with unit and reason, kind of value, default, variable."""
    lines = ["| setting | values | default | meaning, and why it is so |", "| --- | --- | --- | --- |"]
    for name, field in build_settings_schema()["properties"].items():
        default = _render(field.get("default"))
        lines.append(f"| `{name}` | {_render_kind(field)} | `{default}` | {field['description']} |")
    lines.append("")
    lines.append(
        f"Each is also a variable: `{ENVIRONMENT_PREFIX}` and its name in capitals; a list or an object is JSON there."
    )
    return "\n".join(lines) + "\n"


def _is_hidden(value: object) -> bool:
    """Whether it is a secret, or a list of them, as pydantic shows one."""
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(one == str(SecretStr("x")) for one in values)


def _render_kind(field: Mapping[str, Any]) -> str:
    kinds = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    return " or ".join(_render_one_kind(kind) for kind in kinds)


def _render_one_kind(kind: Mapping[str, Any]) -> str:
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if "const" in kind:
        return f"`{kind['const']}`"
    if kind.get("type") == "array":
        return f"list of {_render_one_kind(kind.get('items', {}))}"
    limits = [str(kind[limit]) for limit in ("minimum", "maximum") if limit in kind]
    name = {"string": "text", "boolean": "true, false"}.get(kind.get("type", ""), kind.get("type", "text"))
    return f"{name} {' to '.join(limits)}".strip() if len(limits) == len(("minimum", "maximum")) else name


def _render(value: object) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)

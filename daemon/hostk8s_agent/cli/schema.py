"""`schema`: the JSON Schema of contracts, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import write_document
from hostk8s_agent.contract.schema import render_schema

if TYPE_CHECKING:
    from hostk8s_agent.cli.output import OutputFormat


def show_schema(output: OutputFormat) -> ExitCode:
    """Show the schema, as JSON unless YAML is asked for."""
    write_document(render_schema(), output)
    return ExitCode.OK

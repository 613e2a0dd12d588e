"""`kind-config`: a configuration for `kind create cluster`, from what the engine says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import write_document
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.settings import load_settings
from hostk8s_agent.volume.endpoint import EndpointSources
from hostk8s_agent.volume.kind_config import KindRequest, build_kind_config, find_volume_folder
from hostk8s_agent.workspace import DEFAULT_CLUSTER_NAME, read_environment_file

if TYPE_CHECKING:
    from hostk8s_agent.cli.output import OutputFormat


def show_kind_config(workers: int, output: OutputFormat, directory: Path | None) -> ExitCode:
    """Show the configuration, as YAML unless JSON is asked for."""
    workspace = choose_workspace(directory)
    settings = load_settings(workspace)
    name = settings.cluster_name or read_environment_file(workspace).get("CLUSTER_NAME") or DEFAULT_CLUSTER_NAME
    sources = EndpointSources(
        os.environ, Path.home(), settings.docker_endpoint or "", allows_remote=settings.allow_remote_docker
    )
    request = KindRequest(workspace.root, name, settings.volume_name, workers)
    folder = find_volume_folder(sources, request)
    write_document(build_kind_config(request, folder), "yaml" if output == "table" else output)
    return ExitCode.OK

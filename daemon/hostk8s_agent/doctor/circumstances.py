"""What all checks look at: the workspace, the settings, and what the agent says if one runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError, Problem
from hostk8s_agent.service.choosing import choose_service
from hostk8s_agent.settings import Settings, load_settings
from hostk8s_agent.snapshot.policies import load_default_policy
from hostk8s_agent.volume.endpoint import EndpointSources
from hostk8s_agent.workspace import DEFAULT_CLUSTER_NAME, read_environment_file

if TYPE_CHECKING:
    from hostk8s_agent.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`settings` are the defaults where `settings_problem` says what is wrong with those that were given.

    `status` is the agent's, None when none answers; `agent_problem` says why not.
    """

    workspace: Workspace
    settings: Settings
    settings_problem: Problem | None
    status: dict[str, Any] | None
    agent_problem: Problem | None

    @property
    def cluster_name(self) -> str:
        """The Kind cluster's name."""
        given = self.settings.cluster_name or read_environment_file(self.workspace).get("CLUSTER_NAME")
        return given or DEFAULT_CLUSTER_NAME

    @property
    def start_command(self) -> str:
        """What starts the agent here: a container, for instance, has no service manager."""
        try:
            choose_service(self.workspace, is_system=False).report()
        except AgentError:
            return "hostk8s-agent run"
        return "hostk8s-agent service install"

    @property
    def endpoint_sources(self) -> EndpointSources:
        """What the Docker endpoint is resolved from, as the agent does it."""
        settings = self.settings
        return EndpointSources(
            os.environ, Path.home(), settings.docker_endpoint or "", allows_remote=settings.allow_remote_docker
        )


def find_circumstances(workspace: Workspace) -> Circumstances:
    """Look at what there is. Raises nothing."""
    settings_problem = agent_problem = status = None
    try:
        settings = load_settings(workspace, judge=load_default_policy)
    except AgentError as error:
        settings, settings_problem = Settings.model_construct(), error.problem
    try:
        status = ControlClient(workspace).status()
    except AgentError as error:
        agent_problem = error.problem
    return Circumstances(workspace, settings, settings_problem, status, agent_problem)

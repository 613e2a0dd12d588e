"""What can go wrong with the service: `ServiceError` and its kinds, each in words for a person."""

from __future__ import annotations

from hostk8s_agent.errors import AgentError


class ServiceError(AgentError):
    """The service cannot be installed, started or asked."""

    code = "ServiceFailed"


class ServiceManagerMissingError(ServiceError):
    """There is no systemd and no launchd that answers."""

    code = "ServiceManagerMissing"


class ServiceNotInstalledError(ServiceError):
    """The workspace has no service."""

    code = "ServiceNotInstalled"

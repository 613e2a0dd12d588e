"""Which service manager the machine has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostk8s_agent.service.installing import ServiceManager
    from hostk8s_agent.workspace import Workspace


def choose_service(workspace: Workspace, *, is_system: bool) -> ServiceManager:
    """Return the workspace's service, under launchd on macOS and systemd elsewhere. Raises `ServiceError`."""
    if sys.platform == "darwin":
        from hostk8s_agent.service.launchd import LaunchdService  # noqa: PLC0415 - one of the two

        return LaunchdService(workspace, is_system=is_system)
    from hostk8s_agent.service.systemd import SystemdService  # noqa: PLC0415 - one of the two

    return SystemdService(workspace, is_system=is_system)

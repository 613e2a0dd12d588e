"""All checks, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.doctor.agent_checks import check_agent
from hostk8s_agent.doctor.circumstances import find_circumstances
from hostk8s_agent.doctor.cluster_checks import check_cluster, check_mount
from hostk8s_agent.doctor.docker_checks import check_docker
from hostk8s_agent.doctor.findings import Finding, fail
from hostk8s_agent.doctor.machine_checks import check_machine
from hostk8s_agent.doctor.snapshot_checks import check_snapshots
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.workspace import Workspace


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Give each finding as soon as it is there. A check that breaks is a finding too, and ends none of the others."""
    found = find_circumstances(workspace)
    for area, check in (
        ("agent", check_agent),
        ("machine", check_machine),
        ("Docker", check_docker),
        ("mount", check_mount),
        ("cluster", check_cluster),
        ("snapshots", check_snapshots),
    ):
        try:
            yield from check(found)
        except AgentError as error:
            yield fail(area, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a doctor that falls ill helps nobody
            yield fail(area, f"could not be looked at: {type(error).__name__}: {error}", "report this")

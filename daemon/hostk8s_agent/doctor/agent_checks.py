"""The workspace, its settings and contracts, the agent and its service."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hostk8s_agent import __version__
from hostk8s_agent.control.lock import find_lock_holder
from hostk8s_agent.control.places import find_socket_paths
from hostk8s_agent.doctor.findings import Finding, fail, ok, warn
from hostk8s_agent.errors import AgentError
from hostk8s_agent.service.choosing import choose_service
from hostk8s_agent.settings import find_unknown_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostk8s_agent.doctor.circumstances import Circumstances


def check_agent(found: Circumstances) -> Iterator[Finding]:
    """Give what is found of the agent itself."""
    yield _check_settings(found)
    yield _check_running(found)
    yield _check_version(found)
    yield _check_second_agent(found)
    yield _check_socket(found)
    yield _check_notifications(found)
    yield from _check_service(found)


def _check_settings(found: Circumstances) -> Finding:
    if found.settings_problem is not None:
        return fail("settings", found.settings_problem.message, found.settings_problem.hint)
    told = [one for one in (found.status or {}).get("problems", ()) if one["code"] == "SettingsInvalid"]
    if told:
        return fail("settings", told[0]["message"], told[0]["hint"])
    if ignored := find_unknown_variables():
        variables = " ".join(one.split()[0] for one in ignored)
        return warn("settings", "; ".join(ignored), f"unset {variables}")
    return ok("settings", "valid; hostk8s-agent settings show --origin tells each")


def _check_running(found: Circumstances) -> Finding:
    if found.status is None:
        problem = found.agent_problem
        message = problem.message if problem else "no agent answers"
        holder = find_lock_holder(found.workspace)
        if holder is not None and holder.pid:
            return fail("agent", message, f"kill -KILL {holder.pid}; {found.start_command}")
        return fail("agent", message, found.start_command)
    stacks = found.status["stacks"]
    ready = sum(stack["state"] == "Ready" for stack in stacks)
    told = f"{found.status['agent']['state']}, {ready} of {len(stacks)} stacks Ready"
    if ready == len(stacks):
        return ok("agent", told)
    return warn("agent", told, "hostk8s-agent status")


def _check_version(found: Circumstances) -> Finding:
    running = found.status["agent"]["version"] if found.status else __version__
    if running != __version__:
        return warn("version", f"{running} runs, {__version__} is installed", "hostk8s-agent service restart")
    return ok("version", __version__)


def _check_second_agent(found: Circumstances) -> Finding:
    holder = find_lock_holder(found.workspace)
    if holder is not None and found.status is None:
        return fail(
            "lock",
            f"the workspace is held ({holder}) by an agent that does not answer",
            f"kill -KILL {holder.pid}" if holder.pid else "stop it where it was started",
        )
    return ok("lock", "one agent has the workspace" if holder else "no agent has the workspace")


def _check_socket(found: Circumstances) -> Finding:
    for path in find_socket_paths(found.workspace):
        for folder in (path.parent.parent, path.parent):
            try:
                status = folder.lstat()
            except OSError:
                continue
            if status.st_uid != os.geteuid():
                continue
            if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                return fail("socket", f"others may reach into {folder}", f"chmod 700 {folder}")
    return ok("socket", "its folders are yours alone")


def _check_notifications(found: Circumstances) -> Finding:
    channels = (found.status or {}).get("notifications", ())
    if not channels:
        told = "nobody is told of what goes wrong" if found.status else "not known while no agent runs"
        return (
            warn("notifications", told, "hostk8s-agent notify test; docs/notifications.md")
            if found.status
            else ok("notifications", told)
        )
    for one in channels:
        if one["state"] == "Failing":
            return warn("notifications", f"{one['channel']}: {one['message']}", "hostk8s-agent notify test")
    return ok("notifications", ", ".join(f"{one['channel']} ({one['target']})" for one in channels))


def _check_service(found: Circumstances) -> Iterator[Finding]:
    try:
        report = choose_service(found.workspace, is_system=False).report()
    except AgentError as error:
        yield warn("service", error.message, error.hint)
        return
    if not report.is_installed:
        told = "not installed for this user: the agent ends with its terminal"
        yield warn("service", told, "hostk8s-agent service install")
        return
    if report.state not in {"active", "reloading", "running"}:
        yield fail("service", f"{report.name} is {report.state}", "hostk8s-agent service start")
    else:
        yield ok("service", f"{report.name} is {report.state}")
    if report.starts_at_boot is False and report.manager.startswith("systemd"):
        yield warn("lingering", "the service ends when you log out", "loginctl enable-linger")
    else:
        yield ok("lingering", "the service starts by itself")

"""The mount probe: a random token is written through the volume and read back inside each node.

Whatever Docker says of a container's mounts is what it was told at its start. Only what a process in the node reads
shows that the volume is there: also when the engine's data moved since, or the volume was made anew under its name.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from hostk8s_agent.errors import Problem, VolumeError
from hostk8s_agent.plan.actions import CreateDirectory
from hostk8s_agent.plan.mounting import MountFinding
from hostk8s_agent.volume.mapping import VOLUME_MOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.nodes import ClusterNodes, Node

log = structlog.get_logger()

TOKEN_LEFT = "volume.mount_token_left"  # noqa: S105 - an event's name

_READ_SECONDS = 5.0
_TOKEN_BYTES = 24

Verdict = Literal["mounted", "not mounted", "unknown"]


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What one node showed; `reason` says why nothing could be told, empty otherwise."""

    node: Node
    verdict: Verdict
    reason: str = ""


def token_folder(workspace: str) -> str:
    """Return where in the volume the token of a workspace (its identity) stands for a moment; a crash may leave it."""
    return f"{VOLUME_MOUNT.node_path}/.hostk8s-probe-{workspace}"


@contextmanager
def placed_token(access: VolumeAccess, workspace: str) -> Iterator[str]:
    """Write a random token into the volume; it is removed afterwards in any case. Raises a `VolumeError`."""
    folder, token = token_folder(workspace), secrets.token_hex(_TOKEN_BYTES)
    try:
        [failure] = access.apply_directories([CreateDirectory(folder, 0, 0, 0o755, "the mount probe")])
        if failure is not None:
            raise failure
        access.write_file(f"{folder}/token", token.encode())
        yield token
    finally:
        remove_token(access, workspace)


def remove_token(access: VolumeAccess, workspace: str) -> None:
    """Remove the token, one that a crash left included; what an error prevents is logged, and done next time."""
    folder = token_folder(workspace)
    try:
        [found] = access.observe_directories([folder])
        if found.kind != "absent":
            access.remove_tree(folder)
    except VolumeError as error:
        log.warning(TOKEN_LEFT, folder=folder, error=error.message)


def probe_node(nodes: ClusterNodes, node: Node, workspace: str, token: str) -> NodeVerdict:
    """Look for the token in a node. Raises nothing: what goes wrong is a reason why nothing could be told."""
    if not node.is_running:
        return NodeVerdict(node, "unknown", "it does not run")
    # Reading is harmless whatever stands there; `timeout` ends it where somebody put a FIFO.
    command = ("timeout", f"{_READ_SECONDS:.0f}", "cat", "--", f"{token_folder(workspace)}/token")
    try:
        output = nodes.run_command(node, command, timeout_seconds=2 * _READ_SECONDS)
    except VolumeError as error:
        return NodeVerdict(node, "unknown", error.message)
    if output.exit_code == 0:
        return NodeVerdict(node, "mounted" if output.stdout.strip() == token.encode() else "not mounted")
    if b"No such file" in output.stderr:
        return NodeVerdict(node, "not mounted")
    words = (output.stderr or output.stdout).decode("utf-8", "replace").strip()
    return NodeVerdict(node, "unknown", words[:200] or f"cat ended with {output.exit_code}")


def judge_verdicts(verdicts: Sequence[NodeVerdict], mountpoint: str) -> MountFinding:
    """Return what follows. `mountpoint` is the volume's on the engine's machine; there is at least one verdict."""
    mounted = [one.node.name for one in verdicts if one.verdict == "mounted"]
    missing = [one.node for one in verdicts if one.verdict == "not mounted"]
    unknown = [one for one in verdicts if one.verdict == "unknown"]
    if missing and not mounted:
        problem = _explain_missing(missing[0], mountpoint)
        return MountFinding(problem, words=problem.message)
    if missing:
        problem = _explain_missing(missing[0], mountpoint)
        warning = Problem(
            "NodeMountPartial",
            f"{problem.message}; volumes are made for the nodes that have it: {', '.join(mounted)}",
            problem.hint,
        )
        return MountFinding(nodes=tuple(mounted), warning=warning, words=warning.message)
    doubts = "; ".join(f"{one.node.name} could not be checked: {one.reason}" for one in unknown)
    if not mounted:
        return MountFinding(words=f"the mount of {VOLUME_MOUNT.node_path} was not checked: {doubts}")
    checked = f"{VOLUME_MOUNT.node_path} is the volume in {', '.join(mounted)}"
    return MountFinding(words=f"{checked}; {doubts}" if doubts else checked)


def _explain_missing(node: Node, mountpoint: str) -> Problem:
    lines = f"extraMounts: [{{hostPath: {mountpoint}, containerPath: {VOLUME_MOUNT.node_path}}}]"
    mend = (
        f"put `{lines}` under the node in the Kind configuration (hostk8s-agent kind-config prints one), "
        "then create the cluster again; the data in the volume stays"
    )
    source = node.find_mount_source(VOLUME_MOUNT.node_path)
    lost = "what pods write there would be lost with the node"
    if source is None:
        return Problem(
            "NodeMountMissing", f"the node {node.name} has nothing mounted at {VOLUME_MOUNT.node_path}: {lost}", mend
        )
    if source.rstrip("/") != mountpoint.rstrip("/"):
        return Problem(
            "NodeMountOther",
            f"{VOLUME_MOUNT.node_path} of the node {node.name} is {source}, not the volume at {mountpoint}: "
            "what pods write there is not in the volume",
            mend,
        )
    return Problem(
        "NodeMountStale",
        f"{VOLUME_MOUNT.node_path} of the node {node.name} is no longer the volume, which was made anew or moved at "
        f"{mountpoint} since the node started: {lost}",
        f"start the node again: docker restart {node.name}; where that is not enough, create the cluster again",
    )

"""containerd in a node, through its own client `ctr`: which containers run, pausing, waking, and running a hook.

Kind's nodes have `ctr`; the kubelet's containers are in containerd's namespace `k8s.io`. Every command is a list of
arguments: there is no shell.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.snapshot.users import RestError
from hostk8s_agent.volume.errors import CommandTooLongError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostk8s_agent.volume.nodes import CommandOutput, Node

_CTR: Final = ("ctr", "--namespace", "k8s.io", "tasks")
_PAUSED: Final = "PAUSED"
_RUNNING: Final = "RUNNING"
_COMMAND_SECONDS: Final = 10.0
# The columns of `ctr tasks list`: TASK PID STATUS.
_COLUMNS: Final = 3


class NodeCommands(Protocol):
    """What is needed of `volume.nodes.ClusterNodes`."""

    def find_nodes(self) -> tuple[Node, ...]:
        """Return the containers in which pods run."""

    def run_command(self, node: Node, command: Sequence[str], *, timeout_seconds: float) -> CommandOutput:
        """Run a command in a node, without a shell."""


class NodeRuntime:
    """containerd in one node. A call takes 50 to 250 ms; it raises a `VolumeError` when the node is out of reach."""

    def __init__(self, nodes: NodeCommands, node: Node) -> None:
        self.node = node
        self._nodes = nodes

    def list_states(self) -> Mapping[str, str]:
        """Return the state of each container (`RUNNING`, `PAUSED`, ...) by its id."""
        output = self._run("list")
        if output.exit_code:
            raise RestError(f"ctr failed in the node {self.node.name}", hint=_words(output))
        rows = (line.split() for line in output.stdout.decode(errors="replace").splitlines()[1:])
        return {row[0]: row[2] for row in rows if len(row) == _COLUMNS}

    def pause(self, container: str) -> None:
        """Pause all processes of a container. Raises `RestError` when that cannot be done."""
        output = self._run("pause", container)
        if output.exit_code:
            raise RestError(f"a container could not be paused in the node {self.node.name}", hint=_words(output))

    def wake(self, container: str) -> None:
        """Let a paused container go on; one that is gone, or runs, is as it should be. Raises `RestError`."""
        output = self._run("resume", container)
        if output.exit_code and self.list_states().get(container) == _PAUSED:
            raise RestError(f"a container could not be woken in the node {self.node.name}", hint=_words(output))

    def end(self, container: str) -> None:
        """Kill a container, a paused one without waking it; its node starts it anew. Raises `RestError`."""
        output = self._run("kill", "--signal", "SIGKILL", container)
        if output.exit_code and container in self.list_states():
            raise RestError(f"a container could not be ended in the node {self.node.name}", hint=_words(output))

    def run_hook(self, container: str, command: Sequence[str], timeout_seconds: float) -> str:
        """Run a pod's own command in its container, as the container's user; return why it failed, empty if not.

        What it prints goes nowhere: it may hold what is secret, and so may the command.
        """
        execution = f"hostk8s-{secrets.token_hex(8)}"
        arguments = ("exec", "--exec-id", execution, container, *command)
        try:
            output = self._run(*arguments, timeout_seconds=timeout_seconds)
        except CommandTooLongError:
            with suppress(VolumeError):
                self._run("kill", "--exec-id", execution, "--signal", "SIGKILL", container)
            return f"did not end within {timeout_seconds:g} s"
        return f"ended with exit code {output.exit_code}" if output.exit_code else ""

    def _run(self, *arguments: str, timeout_seconds: float = _COMMAND_SECONDS) -> CommandOutput:
        return self._nodes.run_command(self.node, (*_CTR, *arguments), timeout_seconds=timeout_seconds)


def is_paused(states: Mapping[str, str], container: str) -> bool:
    """Whether a container is paused in what `list_states` returned."""
    return states.get(container) == _PAUSED


def is_running(states: Mapping[str, str], container: str) -> bool:
    """Whether a container runs in what `list_states` returned."""
    return states.get(container) == _RUNNING


def open_runtimes(nodes: NodeCommands) -> dict[str, NodeRuntime]:
    """Return the runtime of each node by the node's name, those included that do not run. Raises a `VolumeError`."""
    return {one.name: NodeRuntime(nodes, one) for one in nodes.find_nodes()}


def _words(output: CommandOutput) -> str:
    lines = output.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"ctr ended with exit code {output.exit_code}"

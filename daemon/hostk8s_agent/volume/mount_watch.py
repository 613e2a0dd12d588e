"""Keeping the mount probe's finding true at next to no cost: probed when a node or the volume is another one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hostk8s_agent.errors import Problem, VolumeError
from hostk8s_agent.plan.mounting import MountFinding
from hostk8s_agent.volume.mapping import VOLUME_MOUNT
from hostk8s_agent.volume.mount_probe import judge_verdicts, placed_token, probe_node, remove_token
from hostk8s_agent.volume.nodes import serves_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.nodes import ClusterNodes, Node

log = structlog.get_logger()

MOUNT_FOUND = "volume.mount_found"
LOOK_FAILED = "volume.mount_look_failed"

_CHECKING = MountFinding(
    Problem(
        "NodeMountUnchecked",
        f"whether {VOLUME_MOUNT.node_path} of the nodes is the volume is being checked",
        "nothing to do: it takes a moment after a start, and after the cluster was created",
    ),
    is_waiting=True,
)


@dataclass(frozen=True, slots=True)
class MountSources:
    """What the finding depends on, each asked anew at each look.

    `cluster` returns the connected cluster's UID and its API server's URL, None while none is connected; `volume` and
    `nodes` raise the `VolumeError` that says why there is none; `mountpoint` is the volume's on the engine's machine.
    """

    cluster_name: str
    workspace: str
    cluster: Callable[[], tuple[str, str] | None]
    volume: Callable[[], VolumeAccess]
    nodes: Callable[[], ClusterNodes]
    mountpoint: Callable[[], str]


@dataclass(frozen=True, slots=True)
class MountPace:
    """How often is looked, in seconds.

    `look_seconds` between two looks at which containers there are (3 ms), `probe_seconds` between two probes although
    nothing is another one, `retry_seconds` after a probe that could not be made, `away_seconds` between two looks while
    no cluster is connected whose nodes were seen here.
    """

    look_seconds: float = 60.0
    probe_seconds: float = 900.0
    retry_seconds: float = 30.0
    away_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class _Situation:
    """What a finding is about: another one is another finding. The way into the volume is the very object."""

    cluster: str
    server: str
    access: VolumeAccess
    containers: tuple[tuple[str, str, bool], ...]


class MountWatch:
    """A thread that probes, and the finding for everybody. `on_looked` is called after each look that was asked for.

    `may_probe` is False for commands that only look: nothing is written into the volume then.
    """

    def __init__(
        self,
        sources: MountSources,
        on_looked: Callable[[], None],
        *,
        may_probe: bool = True,
        pace: MountPace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = sources
        self._on_looked = on_looked
        self._may_probe = may_probe
        self._pace = pace or MountPace()
        self._clock = clock
        self._wake = threading.Event()
        self._is_stopping = False
        self._situation: _Situation | None = None
        self._finding = MountFinding()
        # Whether the connected cluster's nodes are, or were, containers of this engine; and what became of them.
        self._has_nodes = False
        self._away: Problem | None = None
        self._probe_at = 0.0
        self._wait_seconds = self._pace.look_seconds
        self._swept: VolumeAccess | None = None
        self._thread = threading.Thread(target=self._run, name="mount-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self._may_probe:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def look_soon(self) -> None:
        """Look now: the cluster or the volume came, went or changed."""
        if self._thread.is_alive():
            self._wake.set()
        else:
            self._on_looked()

    def current_finding(self) -> MountFinding:
        """Return what is known of the present cluster and volume. Asks nobody anything."""
        if not self._may_probe:
            return MountFinding(words="the mount was not checked: nothing is written for a plan")
        situation, cluster = self._situation, self._sources.cluster()
        if cluster is None:
            return MountFinding()
        try:
            access = self._sources.volume()
        except VolumeError:
            return MountFinding()  # nothing is made then either
        if situation is None or (situation.cluster, situation.access) != (cluster[0], access):
            return _CHECKING
        return self._finding

    def find_away(self) -> Problem | None:
        """Return what is known of nodes that were there and are gone or stopped, None for nothing. Asks nobody."""
        return self._away

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(self._wait_seconds)
            was_asked = self._wake.is_set()
            self._wake.clear()
            self._wait_seconds = self._pace.look_seconds
            if self._is_stopping:
                return
            try:
                is_another = self._look()
            except Exception:
                # What the engine says oddly must not end the looking.
                log.exception(LOOK_FAILED)
                is_another = False
            if was_asked and not is_another:
                self._on_looked()

    def _look(self) -> bool:
        """Look, and probe when that is due; return whether somebody was told of it."""
        cluster = self._sources.cluster()
        if cluster is None and self._has_nodes:
            return self._look_for_nodes()
        self._away = None
        return self._look_at(cluster)

    def _look_at(self, cluster: tuple[str, str] | None) -> bool:
        try:
            access = self._sources.volume()
        except VolumeError:
            return False
        if self._swept is not access:
            remove_token(access, self._sources.workspace)
            self._swept = access
        if cluster is None:
            return False
        uid, server = cluster
        try:
            nodes = self._sources.nodes()
            containers = nodes.find_containers()
        except VolumeError as error:
            return self._publish(_Situation(uid, server, access, ()), _not_checked(error.message), is_sure=True)
        signature = tuple((one.container_id, one.started_at, one.is_running) for one in containers)
        situation = _Situation(uid, server, access, signature)
        if situation == self._situation and self._clock() < self._probe_at:
            return False
        self._has_nodes = serves_cluster(containers, server)
        if not self._has_nodes:
            return self._publish(situation, _not_checked(self._explain_elsewhere(containers, server)), is_sure=True)
        return self._probe(situation, nodes, [one for one in containers if not one.is_load_balancer])

    def _look_for_nodes(self) -> bool:
        """Look what became of the nodes of a cluster that does not answer; return whether somebody was told of it."""
        self._wait_seconds = self._pace.away_seconds
        try:
            containers = self._sources.nodes().find_containers()
        except VolumeError:
            return False
        before, self._away = self._away, explain_away(containers, self._sources.cluster_name)
        if self._away == before:
            return False
        self._on_looked()
        return True

    def _probe(self, situation: _Situation, nodes: ClusterNodes, probed: list[Node]) -> bool:
        workspace = self._sources.workspace
        try:
            with placed_token(situation.access, workspace) as token:
                verdicts = [probe_node(nodes, one, workspace, token) for one in probed]
                # Told before the token is removed, which can take a second through the helper container.
                is_sure = all(one.verdict != "unknown" or not one.node.is_running for one in verdicts)
                finding = judge_verdicts(verdicts, self._sources.mountpoint())
                return self._publish(situation, finding, is_sure=is_sure)
        except VolumeError as error:
            return self._publish(situation, _not_checked(error.message), is_sure=False)

    def _publish(self, situation: _Situation, finding: MountFinding, *, is_sure: bool) -> bool:
        before, former = self._finding, self._situation
        self._finding, self._situation = finding, situation
        self._probe_at = self._clock() + (self._pace.probe_seconds if is_sure else self._pace.retry_seconds)
        if not is_sure:
            self._wait_seconds = self._pace.retry_seconds
        is_of_same = former is not None and (former.cluster, former.access) == (situation.cluster, situation.access)
        if is_of_same and finding == before:
            return False
        level = log.warning if finding.problem or finding.warning else log.info
        problem = finding.problem or finding.warning
        level(MOUNT_FOUND, code=problem.code if problem else "", words=finding.words)
        self._on_looked()
        return True

    def _explain_elsewhere(self, containers: tuple[Node, ...], server: str) -> str:
        name = self._sources.cluster_name
        if not containers:
            return f"this Docker engine has no node container of the cluster {name}"
        return f"the API server at {server} is none of the containers of the cluster {name}"


def explain_away(containers: Sequence[Node], cluster_name: str) -> Problem | None:
    """Given what is left of a cluster's containers, return why its API server does not answer; None when they run."""
    if not containers:
        return Problem(
            "ClusterUnreachable",
            f"the cluster {cluster_name} was deleted: none of its containers is in this Docker engine any more; the "
            "data stays in the volume",
            "create it again (make start): the agent puts everything back by itself, and keeps each volume for the "
            "claim that held it",
        )
    stopped = [one.name for one in containers if not one.is_running]
    if len(stopped) < len(containers):
        return None
    return Problem(
        "ClusterUnreachable",
        f"the cluster {cluster_name} is stopped: {', '.join(stopped)} does not run, or is paused; the data stays in "
        "the volume",
        f"start it (docker start {' '.join(stopped)}, or docker unpause): the agent goes on by itself",
    )


def _not_checked(reason: str) -> MountFinding:
    return MountFinding(words=f"the mount of {VOLUME_MOUNT.node_path} was not checked: {reason}")

"""What serves as the volume and as the cluster now: the real ones, or the stand-ins of a bare machine.

When a stand-in serves is decided in docs/adr/0003: only where nothing says that the real one belongs here.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.connection import ClusterConnection
from hostk8s_agent.cluster.event_publishing import EventPublisher
from hostk8s_agent.cluster.kubeconfig import find_kubeconfig
from hostk8s_agent.cluster.manifests import ManifestFiles
from hostk8s_agent.reconcile.host_folders import HostFolders
from hostk8s_agent.status.model import ClusterStatus, DockerStatus
from hostk8s_agent.volume.connection import VolumeConnection
from hostk8s_agent.volume.endpoint import EndpointSources, find_endpoint
from hostk8s_agent.volume.engine import Engine, ask_runs_node
from hostk8s_agent.volume.holders import HolderLedger, describe_me
from hostk8s_agent.volume.link import DockerLink
from hostk8s_agent.volume.node_mounts import NodeMounts
from hostk8s_agent.volume.recognising import parse_remembered
from hostk8s_agent.volume.reference import remove_reference
from hostk8s_agent.volume.state import VolumeOptions
from hostk8s_agent.workspace import DEFAULT_CLUSTER_NAME, Workspace, read_environment_file, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hostk8s_agent.cluster.access import ClusterAccess
    from hostk8s_agent.errors import Problem
    from hostk8s_agent.plan.desired import ObjectKey
    from hostk8s_agent.plan.mounting import MountFinding
    from hostk8s_agent.plan.observed import ObservedObject, ObservedPod
    from hostk8s_agent.settings import Settings
    from hostk8s_agent.status.board import Event
    from hostk8s_agent.volume.access import VolumeAccess
    from hostk8s_agent.volume.nodes import ClusterNodes

HOST_DIRECTORY = Path("data/pv")
MANIFESTS_FOLDER = Path("data/manifests")

# Facts in the records: that this workspace has used Docker, or a cluster, before. Then their absence is waited
# out, and no stand-in ever takes their place.
FACT_ENGINE = "docker.engine_id"
FACT_CLUSTER = "cluster.uid"
# Where the kubeconfig was, and by which of its contexts this workspace was connected: another one is not followed.
FACT_CONTEXT = "cluster.context"
# The volume that this workspace used: another one in its place is a loss, also across a restart.
FACT_VOLUME = "docker.volume"

_AWAY = frozenset({"Unreachable", "Refused", "VolumeLost", "NoKubeconfig"})


@dataclass(frozen=True, slots=True)
class ConnectionReports:
    """Whom the connections tell what.

    `on_change` gets `docker` or `cluster` and the new state, `on_object` each object that somebody else changed,
    `on_fact` the name and value of each fact that is worth remembering across restarts, `on_wake` nothing: what held
    stacks back may be over.
    """

    on_change: Callable[[str, str], None]
    on_object: Callable[[ObjectKey], None]
    on_fact: Callable[[str, str], None]
    on_wake: Callable[[], None]


def find_past_where(facts: Mapping[str, str]) -> dict[str, str]:
    """Return what `Connections.find_where` said when an earlier agent was last connected to both."""
    return {"volume": facts.get(FACT_VOLUME) or facts.get(FACT_ENGINE, ""), "cluster": facts.get(FACT_CLUSTER, "")}


class Connections:
    """The ways to the volume and to the cluster. `start` and `stop` once each; the rest from any thread."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        facts: Mapping[str, str],
        reports: ConnectionReports,
        *,
        may_create_volume: bool = True,
    ) -> None:
        self._facts = dict(facts)
        self._reports = reports
        self._is_acting = may_create_volume
        self._folders = HostFolders(
            workspace.root,
            with_deprecated=settings.deprecated_folders,
            interval_seconds=settings.scan_interval_seconds,
        )
        cluster_name = _find_cluster_name(workspace, settings)
        self.ledger = HolderLedger(
            describe_me(workspace.identity, workspace.root, cluster_name),
            may_write=may_create_volume,
            on_change=reports.on_wake,
        )
        self._manifests = ManifestFiles(workspace.root / MANIFESTS_FOLDER)
        self._kubeconfig = find_kubeconfig(
            workspace,
            os.environ,
            configured=settings.kubeconfig,
            cluster_name=cluster_name,
            chosen_context=settings.kube_context or "",
        )
        used_in, _, used = self._facts.get(FACT_CONTEXT, "").rpartition("\n")
        if used_in == str(self._kubeconfig):
            self._kubeconfig = replace(self._kubeconfig, used_context=used)
        self._cluster = ClusterConnection(
            source=self._kubeconfig,
            scratch_folder=state_folder(workspace) / "credentials",
            on_change=self._on_cluster_change,
            on_object=reports.on_object,
            find_reason=self._find_nodes_away,
        )
        self._events = EventPublisher(self._cluster) if settings.kubernetes_events else None
        sources = _find_sources(settings)
        options = VolumeOptions(
            volume_name=settings.volume_name,
            host_directory=workspace.root / HOST_DIRECTORY,
            workspace=workspace.identity,
            cluster_name=cluster_name,
            backend=settings.volume_backend,
            forced_access=settings.volume_access,
            expects_docker=FACT_ENGINE in self._facts,
            may_create_volume=may_create_volume,
            remembered=parse_remembered(self._facts.get(FACT_VOLUME, ""), settings.volume_name),
            keeps_volume=settings.keep_volume,
            ledger=self.ledger,
        )
        self._volume = VolumeConnection(options, sources=sources, on_change=self._on_volume_change)
        self._mounts = NodeMounts(
            self._volume, options, sources, find_cluster=self._find_connected_cluster, on_wake=reports.on_wake
        )

    def start(self) -> None:
        """Begin to connect to both."""
        self._mounts.start()
        self._volume.start()
        self._cluster.start()
        if self._is_acting:
            self._folders.start()
        if self._events is not None:
            self._events.start()

    def stop(self) -> None:
        """Let go of both."""
        self._folders.stop()
        if self._events is not None:
            self._events.stop()
        self._mounts.stop()
        self._cluster.stop()
        self._volume.stop()

    def volume(self) -> VolumeAccess:
        """Return the way into the volume. Raises the `VolumeError` that says why there is none."""
        return self._volume.current_access()

    def find_loss(self) -> Problem | None:
        """Return the problem of a lost volume, None while it is there or not known to be lost."""
        state = self._volume.state()
        return state.problem if state.state == "VolumeLost" else None

    def accept_volume_loss(self) -> bool:
        """Begin anew in place of a lost volume; return whether there was a loss."""
        return self._volume.accept_loss()

    def cluster(self) -> ClusterAccess:
        """Return what serves as the cluster."""
        return self._manifests if self._has_no_cluster() else self._cluster

    def find_cluster(self) -> ClusterAccess | None:
        """Return the real cluster, None where files stand in for it."""
        return None if self._has_no_cluster() else self._cluster

    def nodes(self) -> ClusterNodes:
        """Return the cluster's nodes in the engine. Raises the `VolumeError` that says why there are none."""
        return self._volume.current_nodes()

    def find_where(self) -> dict[str, str]:
        """What tells this `volume` and this `cluster` from others of the same name; empty for a stand-in."""
        volume = self._facts.get(FACT_VOLUME) or self._volume.state().engine_id
        return {"volume": volume, "cluster": self.cluster_status().uid}

    def tell_event(self, event: Event) -> None:
        """Tell an event on the PersistentVolume that it is about, if it is about one. Returns at once."""
        if self._events is not None:
            self._events.take(event)

    def volumes_at(self, path: str) -> tuple[ObservedObject, ...]:
        """Return the PersistentVolumes that lead to a path of the volume. Raises a `ClusterError` when unknown."""
        return () if self._has_no_cluster() else self._cluster.observe_volumes_at(path)

    def pods_at(self, path: str) -> tuple[ObservedPod, ...]:
        """Return the pods that mount a path of the volume past any claim and are not over. Raises a `ClusterError`."""
        pods = () if self._has_no_cluster() else self._cluster.observe_pods()
        return tuple(pod for pod in pods if pod.mounts(path) and not pod.is_over)

    def mount(self) -> MountFinding:
        """Return what is known of the nodes' mounts."""
        return self._mounts.current_finding()

    def is_connecting(self) -> bool:
        """Whether either is still being tried for the first time, or the nodes are being looked at."""
        states = (self._volume.state().state, self._cluster.state().state)
        return "Connecting" in states or self.mount().is_waiting

    def is_away(self) -> bool:
        """Whether either cannot serve now, so that some stacks have to wait."""
        is_cluster_away = self._cluster.state().state in _AWAY and not self._has_no_cluster()
        return is_cluster_away or self._volume.state().state in _AWAY

    def heartbeats(self) -> dict[str, float]:
        """When each supervising thread was last known to go on, by `Docker` and `cluster`, in monotonic seconds."""
        return {"Docker": self._volume.heartbeat, "cluster": self._cluster.alive_at}

    def docker_status(self) -> DockerStatus:
        """How Docker is."""
        state = self._volume.state()
        message = f"no Docker: {HOST_DIRECTORY}/ of the workspace stands in for the volume"
        if state.state != "Absent":
            message = state.problem.message if state.problem else ""
        return DockerStatus(
            state.state, state.endpoint, state.volume, state.access or "", engine_id=state.engine_id, message=message
        )

    def cluster_status(self) -> ClusterStatus:
        """How the cluster is."""
        if self._has_no_cluster():
            message = f"no kubeconfig: objects are written to {MANIFESTS_FOLDER}/ of the workspace"
            return ClusterStatus("Absent", "", "", "", message=message)
        state = self._cluster.state()
        message = state.problem.message if state.problem else ""
        mount = self.mount().words
        return ClusterStatus(state.state, state.context, state.server, state.uid, state.version, message, mount)

    def request_counts(self) -> Mapping[tuple[str, str], int]:
        """Return the requests sent to the API server so far, keyed by (verb, HTTP status or `none`)."""
        return self._cluster.request_counts()

    def watch_restarts(self) -> int:
        """Return how many watches of the cluster ended before their time so far."""
        return self._cluster.watch_restarts()

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with either."""
        of_cluster = None if self._has_no_cluster() else self._cluster.state().problem
        found = (self._volume.state().problem, of_cluster, self.mount().warning, *self._folders.problems())
        return tuple(filter(None, found))

    def _has_no_cluster(self) -> bool:
        return (
            self._cluster.state().state == "NoKubeconfig"
            and FACT_CLUSTER not in self._facts
            and self._kubeconfig.origin == "workspace default"
            and not self._kubeconfig.paths[0].exists()
        )

    def _on_volume_change(self) -> None:
        state = self._volume.state()
        if state.state == "Connected":
            self._remember(FACT_ENGINE, state.engine_id)
            if state.remembered is not None:
                self._remember(FACT_VOLUME, state.remembered.render())
        self._reports.on_change("docker", state.state)
        self._mounts.look_soon()

    def _on_cluster_change(self) -> None:
        state = self._cluster.state()
        if state.state != "Connected":
            self._mounts.forget_waiting()
            self._mounts.look_soon()
            self._reports.on_change("cluster", state.state)
            return
        self._remember(FACT_CLUSTER, state.uid)
        self._remember(FACT_CONTEXT, f"{self._kubeconfig}\n{state.context}")
        if self._events is not None:
            self._events.wake()
        # The return is told when it is known whether the nodes have the volume: nothing could be made before.
        self._mounts.look_soon(lambda: self._reports.on_change("cluster", state.state))

    def _find_nodes_away(self) -> Problem | None:
        return self._mounts.find_away()

    def _find_connected_cluster(self) -> tuple[str, str] | None:
        state = self._cluster.state()
        return (state.uid, state.server) if state.state == "Connected" else None

    def _remember(self, fact: str, value: str) -> None:
        if self._facts.get(fact) != value:
            self._facts[fact] = value
            self._reports.on_fact(fact, value)


def release_volume(workspace: Workspace, settings: Settings) -> bool:
    """Take away what keeps the Docker volume, and what this workspace holds in it; the data stays.

    Return whether anything kept it.

    Raises a `VolumeError` when the engine cannot be asked.
    """
    cluster_name = _find_cluster_name(workspace, settings)
    endpoint = find_endpoint(_find_sources(settings), lambda one: ask_runs_node(one, cluster_name))
    if endpoint is None:
        return False
    with closing(Engine(endpoint)) as engine:
        was_kept = remove_reference(engine, settings.volume_name)
        if engine.find_volume(settings.volume_name) is None:
            return was_kept
    options = VolumeOptions(
        settings.volume_name, workspace.root / HOST_DIRECTORY, workspace.identity, cluster_name, may_create_volume=False
    )
    ledger = HolderLedger(describe_me(workspace.identity, workspace.root, cluster_name), may_write=True)
    with closing(DockerLink(endpoint, options, pinned_id="", report_loss=lambda _: None)) as link:
        if link.access is not None:
            ledger.release(link.access)
    return was_kept


def _find_cluster_name(workspace: Workspace, settings: Settings) -> str:
    given = settings.cluster_name or read_environment_file(workspace).get("CLUSTER_NAME")
    return given or DEFAULT_CLUSTER_NAME


def _find_sources(settings: Settings) -> EndpointSources:
    return EndpointSources(
        os.environ, Path.home(), settings.docker_endpoint or "", allows_remote=settings.allow_remote_docker
    )

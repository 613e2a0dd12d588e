"""A node whose /mnt/pv is not the volume is told from one whose is, and no trace of the looking is left."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from hostk8s_agent.errors import VolumeError
from hostk8s_agent.plan.mounting import MountFinding
from hostk8s_agent.volume.access import VolumeAccess
from hostk8s_agent.volume.direct import DirectAccess
from hostk8s_agent.volume.engine import NODE_LABEL, Engine
from hostk8s_agent.volume.errors import EngineUnreachableError
from hostk8s_agent.volume.helper_container import HelperContainerAccess
from hostk8s_agent.volume.helper_life import remove_container
from hostk8s_agent.volume.host_directory import HostDirectoryAccess
from hostk8s_agent.volume.mount_probe import (
    NodeVerdict,
    judge_verdicts,
    placed_token,
    probe_node,
    remove_token,
    token_folder,
)
from hostk8s_agent.volume.mount_watch import MountPace, MountSources, MountWatch
from hostk8s_agent.volume.nodes import ClusterNodes, Node

if TYPE_CHECKING:
    from tests.volume.conftest import OwnVolume

WORKSPACE = "demo-0123abcd"

Wait = Callable[..., None]
MakeNode = Callable[..., str]


@pytest.fixture
def cluster_name() -> str:
    """A cluster of the test's own."""
    return f"probe-{secrets.token_hex(4)}"


@pytest.fixture
def make_node(docker: Engine, node_image: str, cluster_name: str) -> Iterator[MakeNode]:
    """A function that starts what passes for a node, with `source` (a volume or a folder) at /mnt/pv, or nothing."""
    made: list[str] = []

    def make(name: str = "control-plane", source: str | None = None) -> str:
        host_config = docker.client.create_host_config(binds=[f"{source}:/mnt/pv"] if source else [])
        container = docker.client.create_container(
            node_image,
            ["sleep", "600"],
            name=f"{cluster_name}-{name}",
            labels={NODE_LABEL: cluster_name},
            host_config=host_config,
        )["Id"]
        made.append(container)
        docker.client.start(container)
        return str(container)

    yield make
    for container in made:
        remove_container(docker, container)


def probe(access: VolumeAccess, nodes: ClusterNodes, mountpoint: Path) -> MountFinding:
    """One probe of all nodes."""
    with placed_token(access, WORKSPACE) as token:
        verdicts = [probe_node(nodes, one, WORKSPACE, token) for one in nodes.find_nodes()]
    return judge_verdicts(verdicts, str(mountpoint))


def codes(finding: MountFinding) -> tuple[str, str]:
    """The codes of what is blocked and of what is only told."""
    problem, warning = finding.problem, finding.warning
    return problem.code if problem else "", warning.code if warning else ""


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["direct", "helper-container", "host-directory"])
def test_each_way_in_finds_the_mount_and_leaves_nothing(  # noqa: PLR0913, PLR0917 - fixtures
    docker: Engine,
    own_volume: OwnVolume,
    make_node: MakeNode,
    cluster_name: str,
    node_image: str,
    tmp_path: Path,
    kind: str,
) -> None:
    """The token is read in the node, and gone afterwards, one that a crash left before included."""
    root = own_volume.root
    access: Any = None
    if kind == "host-directory":
        root = tmp_path / "data/pv"
        root.mkdir(parents=True)
        access = HostDirectoryAccess(root)
    elif kind == "direct":
        access = DirectAccess(root)
    else:
        access = HelperContainerAccess(own_volume.engine, own_volume.helper, find_tool_image=lambda: node_image)
    left = root / Path(token_folder(WORKSPACE)).name
    left.mkdir()
    (left / "token").write_text("of a crash")
    make_node(source=str(root) if kind == "host-directory" else own_volume.name)
    try:
        finding = probe(access, ClusterNodes(docker, cluster_name), root)
    finally:
        access.close()

    assert finding == MountFinding(words=f"/mnt/pv is the volume in {cluster_name}-control-plane")
    assert list(root.iterdir()) == []


@pytest.mark.engine
def test_a_node_without_the_volume_is_told_with_the_lines_that_mend_it(
    docker: Engine, own_volume: OwnVolume, make_node: MakeNode, cluster_name: str, tmp_path: Path
) -> None:
    """Nothing mounted, something else mounted, and one of two nodes without it."""
    access, nodes = DirectAccess(own_volume.root), ClusterNodes(docker, cluster_name)
    first = make_node()
    nothing = probe(access, nodes, own_volume.root)
    assert codes(nothing) == ("NodeMountMissing", "")
    assert nothing.problem is not None
    assert f"extraMounts: [{{hostPath: {own_volume.root}, containerPath: /mnt/pv}}]" in nothing.problem.hint

    make_node("worker", source=own_volume.name)
    partial = probe(access, nodes, own_volume.root)
    assert codes(partial) == ("", "NodeMountPartial")
    assert partial.nodes == (f"{cluster_name}-worker",)
    remove_container(docker, first)
    remove_container(docker, f"{cluster_name}-worker")
    make_node("other", source=str(tmp_path))

    other = probe(access, nodes, own_volume.root)
    assert codes(other) == ("NodeMountOther", "")
    assert other.problem is not None
    assert str(tmp_path) in other.problem.message
    access.close()


@pytest.mark.engine
def test_a_volume_that_was_made_anew_under_a_running_node_is_noticed(
    docker: Engine, make_node: MakeNode, cluster_name: str, tmp_path: Path
) -> None:
    """Docker still says that the path is mounted; the process in the node has the former folder."""
    root = tmp_path / "pv"
    root.mkdir()
    make_node(source=str(root))
    root.rename(tmp_path / "former")
    root.mkdir()
    access = HostDirectoryAccess(root)

    assert codes(probe(access, ClusterNodes(docker, cluster_name), root)) == ("NodeMountStale", "")
    assert list(root.iterdir()) == []
    access.close()


def test_what_could_not_be_told_is_said_and_holds_nothing_back() -> None:
    """A node that does not run says nothing of its mount; the others decide."""
    one, two = (Node(name, name, "", is_running=True, started_at="") for name in ("one", "two"))
    unknown = judge_verdicts([NodeVerdict(one, "unknown", "it does not run")], "/v")
    both = judge_verdicts([NodeVerdict(one, "unknown", "it does not run"), NodeVerdict(two, "mounted")], "/v")

    assert (codes(unknown), codes(both)) == (("", ""), ("", ""))
    assert unknown.words == "the mount of /mnt/pv was not checked: one could not be checked: it does not run"
    assert both.words == "/mnt/pv is the volume in two; one could not be checked: it does not run"


class Counting:
    """A way into a folder that counts the tokens, and fails when it is told to."""

    def __init__(self, root: Path) -> None:
        self._access = HostDirectoryAccess(root)
        self.tokens = 0
        self.failure: VolumeError | None = None

    def write_file(self, path: str, content: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.tokens += 1
        self._access.write_file(path, content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._access, name)


class Watched:
    """A mount watch on a folder, with what it depends on in a test's hand."""

    def __init__(self, root: Path, docker: Engine, cluster_name: str) -> None:
        self.access = Counting(root)
        self.cluster: tuple[str, str] | None = ("uid-1", f"https://{cluster_name}-control-plane:6443")
        self.looks = 0
        sources = MountSources(
            cluster_name=cluster_name,
            workspace=WORKSPACE,
            cluster=lambda: self.cluster,
            volume=lambda: cast("VolumeAccess", self.access),
            nodes=lambda: ClusterNodes(docker, cluster_name),
            mountpoint=lambda: str(root),
        )
        self.watch = MountWatch(sources, self._count, pace=MountPace(look_seconds=3600, retry_seconds=3600))

    def _count(self) -> None:
        self.looks += 1

    def look(self, wait_until: Wait) -> MountFinding:
        """Have it look, and return what it found."""
        before = self.looks
        self.watch.look_soon()
        wait_until(lambda: self.looks > before, "it has looked")
        return self.watch.current_finding()


@pytest.fixture
def watched(docker: Engine, cluster_name: str, tmp_path: Path) -> Iterator[Watched]:
    """A watch that runs."""
    root = tmp_path / "pv"
    root.mkdir()
    watched = Watched(root, docker, cluster_name)
    watched.watch.start()
    yield watched
    watched.watch.stop()


@pytest.mark.engine
def test_a_probe_is_made_only_when_something_is_another_one(
    watched: Watched, docker: Engine, make_node: MakeNode, tmp_path: Path, wait_until: Wait
) -> None:
    """Looking again costs no token; a node that was started again, another cluster or another volume does."""
    assert watched.watch.current_finding().is_waiting, "until it is known, nothing is made"
    assert "has no node container" in watched.look(wait_until).words
    container = make_node(source=str(tmp_path / "pv"))
    assert watched.look(wait_until).words.startswith("/mnt/pv is the volume in")
    watched.look(wait_until)
    assert watched.access.tokens == 1

    docker.client.restart(container, timeout=0)
    watched.look(wait_until)
    assert watched.access.tokens == 2
    watched.cluster = ("uid-2", watched.cluster[1] if watched.cluster else "")
    assert watched.watch.current_finding().is_waiting, "another cluster"
    assert watched.look(wait_until).problem is None
    assert watched.access.tokens == 3
    watched.access = Counting(tmp_path / "pv")
    assert watched.watch.current_finding().is_waiting, "another way into the volume"
    watched.look(wait_until)
    assert watched.access.tokens == 1


@pytest.mark.engine
def test_what_keeps_the_probe_from_being_made_is_told(watched: Watched, make_node: MakeNode, wait_until: Wait) -> None:
    """A kubeconfig that leads elsewhere, a volume that takes no token, no cluster at all: nothing is held back."""
    make_node()
    watched.access.failure = EngineUnreachableError("the disk is full")
    assert "the disk is full" in watched.look(wait_until).words
    assert watched.watch.current_finding().problem is None
    watched.access.failure = None
    watched.cluster = ("uid-1", "https://192.0.2.1:6443")
    assert "is none of the containers" in watched.look(wait_until).words
    watched.cluster = None
    assert watched.look(wait_until) == MountFinding()
    assert watched.access.tokens == 0


def test_a_token_that_cannot_be_removed_is_no_error(tmp_path: Path) -> None:
    """The next probe takes it; the reconcile must not suffer."""
    access = HostDirectoryAccess(tmp_path)
    access.close()
    remove_token(access, WORKSPACE)


@pytest.mark.engine
def test_a_cluster_that_was_deleted_or_stopped_is_told_from_one_that_does_not_answer(
    watched: Watched, docker: Engine, make_node: MakeNode, tmp_path: Path, wait_until: Wait
) -> None:
    """The port alone says `connection refused`; its containers say what happened, and what is to be done."""
    watched.cluster, connected = None, watched.cluster
    watched.look(wait_until)
    assert watched.watch.find_away() is None, "a cluster whose nodes were never seen here may be anywhere"
    watched.cluster = connected
    container = make_node(source=str(tmp_path / "pv"))
    watched.look(wait_until)
    watched.cluster = None
    watched.look(wait_until)
    assert watched.watch.find_away() is None, "its node runs"
    docker.client.stop(container, timeout=0)
    watched.look(wait_until)
    stopped = watched.watch.find_away()
    assert stopped is not None
    assert "is stopped" in stopped.message
    assert "docker start " in stopped.hint
    remove_container(docker, container)
    watched.look(wait_until)
    gone = watched.watch.find_away()
    assert gone is not None
    assert "was deleted" in gone.message
    assert "the data stays in the volume" in gone.message
    assert "make start" in gone.hint
    watched.cluster = connected
    watched.look(wait_until)
    assert watched.watch.find_away() is None

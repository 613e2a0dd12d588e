"""The containers of a Kind cluster: found by label or name, and fixed commands run in them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from hostk8s_agent.volume.engine import NODE_LABEL, Engine
from hostk8s_agent.volume.errors import CommandTooLongError, NodeGoneError, NodeStoppedError
from hostk8s_agent.volume.nodes import ROLE_LABEL, ClusterNodes, Node, serves_cluster

pytestmark = pytest.mark.engine

MakeNode = Callable[..., str]


@pytest.fixture
def cluster_name() -> str:
    """A cluster of the test's own."""
    return f"nodes-{secrets.token_hex(4)}"


@pytest.fixture
def make_node(docker: Engine, node_image: str, cluster_name: str) -> Iterator[MakeNode]:
    """A function that starts what passes for a node: a container with a shell's tools and Kind's labels."""
    made: list[str] = []

    def make(name: str = "control-plane", *, role: str = "control-plane", labelled: bool = True) -> str:
        labels = {NODE_LABEL: cluster_name, ROLE_LABEL: role} if labelled else {}
        host_config = docker.client.create_host_config(binds=["/etc:/mnt/pv:ro"])
        container = docker.client.create_container(
            node_image, ["sleep", "600"], name=f"{cluster_name}-{name}", labels=labels, host_config=host_config
        )["Id"]
        made.append(container)
        docker.client.start(container)
        return str(container)

    yield make
    for container in made:
        docker.client.remove_container(container, force=True)


def test_all_nodes_of_the_cluster_are_found_by_the_label(
    docker: Engine, make_node: MakeNode, cluster_name: str
) -> None:
    """A worker is a node as much as the control plane, a load balancer is none, and both stopped ones count."""
    names = ("control-plane", "worker", "external-load-balancer")
    containers = {name: make_node(name, role=name) for name in names}
    docker.client.pause(containers["worker"])
    nodes = ClusterNodes(docker, cluster_name)

    found = {one.name.removeprefix(f"{cluster_name}-"): one for one in nodes.find_nodes()}
    assert {name: one.is_running for name, one in found.items()} == {"control-plane": True, "worker": False}
    assert found["control-plane"].container_id == containers["control-plane"]
    assert found["control-plane"].find_mount_source("/mnt/pv") == "/etc"
    assert len(nodes.find_containers()) == 3


def test_a_node_without_the_label_is_found_by_its_name(docker: Engine, make_node: MakeNode, cluster_name: str) -> None:
    """The name is asked for only when nothing has the label; without either there is no node here."""
    nodes = ClusterNodes(docker, cluster_name)
    assert nodes.find_nodes() == ()

    made = make_node(labelled=False)
    assert [one.container_id for one in nodes.find_nodes()] == [made]


def test_a_command_says_how_it_ended(docker: Engine, make_node: MakeNode, cluster_name: str) -> None:
    """Exit code and both outputs come apart, and no shell reads the arguments."""
    make_node()
    nodes = ClusterNodes(docker, cluster_name)
    (node,) = nodes.find_nodes()

    good = nodes.run_command(node, ["echo", "$(id) `id`; id"])
    bad = nodes.run_command(node, ["cat", "--", "/nowhere"])
    assert (good.exit_code, good.stdout, good.stderr) == (0, b"$(id) `id`; id\n", b"")
    assert (bad.exit_code, bad.stdout) == (1, b"")
    assert b"/nowhere" in bad.stderr
    assert len(nodes.run_command(node, ["head", "-c", "300000", "/dev/zero"]).stdout) == 300_000


def test_a_command_that_does_not_end_or_talks_too_much_is_given_up(
    docker: Engine, make_node: MakeNode, cluster_name: str
) -> None:
    """Neither can hold the agent up or fill its memory."""
    make_node()
    nodes = ClusterNodes(docker, cluster_name)
    (node,) = nodes.find_nodes()

    with pytest.raises(CommandTooLongError):
        nodes.run_command(node, ["sleep", "600"], timeout_seconds=0.2)
    with pytest.raises(CommandTooLongError):
        nodes.run_command(node, ["head", "-c", "2000000", "/dev/zero"])


def test_a_node_that_does_not_run_or_is_gone_is_named(docker: Engine, make_node: MakeNode, cluster_name: str) -> None:
    """Paused and removed nodes are told apart from a command that failed."""
    container = make_node()
    nodes = ClusterNodes(docker, cluster_name)
    (node,) = nodes.find_nodes()
    docker.client.pause(container)
    with pytest.raises(NodeStoppedError):
        nodes.run_command(node, ["true"])
    docker.client.unpause(container)
    assert nodes.run_command(node, ["true"]).exit_code == 0

    gone = Node(node.name, "0" * 64, node.image, is_running=True, started_at="")
    with pytest.raises(NodeGoneError):
        nodes.run_command(gone, ["true"])


@pytest.mark.parametrize(
    ("server", "is_served"),
    [
        ("https://127.0.0.1:6445", True),
        ("https://localhost:6445", True),
        ("https://127.0.0.1:6443", False),
        ("https://one-control-plane:6443", True),
        ("https://172.18.0.2:6443", True),
        ("https://other-control-plane:6445", False),
        ("https://cluster.example.com", False),
    ],
)
def test_an_api_server_is_told_to_be_the_cluster_or_another(server: str, is_served: bool) -> None:  # noqa: FBT001
    """The kubeconfig may lead elsewhere than to the cluster whose nodes have the expected name."""
    node = Node(
        "one-control-plane",
        "id",
        "image",
        is_running=True,
        started_at="",
        host_ports=frozenset({6445}),
        addresses=frozenset({"172.18.0.2"}),
    )
    assert serves_cluster((node,), server) is is_served
    assert not serves_cluster((), server)

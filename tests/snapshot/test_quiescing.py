"""Bringing real pods to rest on a whole node: frozen, hooked, thawed on every path, also after a crash."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.cluster.connection import ClusterConnection
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource
from hostk8s_agent.contract.model import Directory, Quiesce
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.errors import VolumeError
from hostk8s_agent.snapshot.freezing import Freeze
from hostk8s_agent.snapshot.hooking import HookedRest
from hostk8s_agent.snapshot.model import Consistency
from hostk8s_agent.snapshot.node_runtime import NodeRuntime, is_paused, is_running, open_runtimes
from hostk8s_agent.snapshot.ports import Reached
from hostk8s_agent.snapshot.quiescing import JOURNAL_FOLDER, ClusterQuiescer
from hostk8s_agent.snapshot.rest_journal import RestJournals
from hostk8s_agent.snapshot.users import find_users
from hostk8s_agent.volume.endpoint import DockerEndpoint
from hostk8s_agent.volume.engine import Engine
from hostk8s_agent.volume.nodes import ClusterNodes

pytestmark = [pytest.mark.engine, pytest.mark.node]

CLUSTER = "hostk8s"
WRITE = "i=0; while true; do i=$((i+1)); echo $i > /data/count; sleep 0.05; done"
PRE, POST = "pre.hook.backup.velero.io/", "post.hook.backup.velero.io/"


@dataclass(frozen=True)
class Ground:
    """Two pods with a claim each on the whole node; `stack` has their directories, and one that nobody uses."""

    prefix: str
    kubeconfig: Path
    connection: ClusterConnection
    nodes: ClusterNodes
    folder: Path
    directories: tuple[Directory, ...]

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return what it printed."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def named(self, *names: str) -> tuple[Directory, ...]:
        """The directories of these names."""
        return tuple(one for one in self.directories if one.name in names)

    def read(self, directory: str, file: str) -> str:
        """What a file in one of the directories holds now."""
        return (self.folder / directory / file).read_text(encoding="utf-8")

    def states(self, pod: str) -> dict[str, bool]:
        """Whether each container of the pod is paused, by its name."""
        [runtime] = open_runtimes(self.nodes).values()
        states = runtime.list_states()
        pods = {one.name: one for one in self.connection.observe_pods(self.prefix)}
        ids = {one.name: one.container_id.removeprefix("containerd://") for one in pods[pod].containers}
        assert all(is_paused(states, one) or is_running(states, one) for one in ids.values())
        return {name: is_paused(states, one) for name, one in ids.items()}

    def quiescer(self, folder: Path, deadline_seconds: float = 120) -> ClusterQuiescer:
        """One that keeps its journals in a folder of the test's own."""
        return ClusterQuiescer(lambda: self.connection, lambda: self.nodes, folder, deadline_seconds=deadline_seconds)


def objects(prefix: str, directory: str, containers: list[Any], annotations: dict[str, str]) -> list[dict[str, Any]]:
    """A PersistentVolume, its claim, and a pod with the claim."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{prefix}-{directory}",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": f"{prefix}-{directory}",
        "hostPath": {"path": f"/mnt/pv/{prefix}/{directory}", "type": "DirectoryOrCreate"},
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": containers,
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": directory}}],
    }
    mine = {"name": directory, "namespace": prefix}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"hostk8s-{prefix}-{directory}-pv"},
            "spec": volume,
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": mine, "spec": claim},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**mine, "annotations": annotations}, "spec": pod},
    ]


def container(name: str, script: str, *, mounts: bool) -> dict[str, Any]:
    """A container that runs a script."""
    return {
        "name": name,
        "image": "hostk8s.local/busybox:1",
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}] if mounts else [],
    }


def note(word: str) -> str:
    """A hook's command that leaves a word in the pod's directory."""
    return json.dumps(["/bin/sh", "-c", f"echo {word} >> /data/words"])


@pytest.fixture(scope="module")
def ground(node: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The pods, running, and the connections to where they run; all gone afterwards."""
    prefix = f"rest-{secrets.token_hex(3)}"
    text = f"apiVersion: hostk8s.io/v1\nkind: StorageContract\nmetadata: {{name: {prefix}}}\nspec:\n  directories:\n"
    for name in ("counted", "hooked", "unused"):
        text += f"  - {{name: {name}, path: /mnt/pv/{prefix}/{name}, size: 1Gi, accessModes: [ReadWriteOnce]"
        text += f", storageClass: {prefix}-{name}}}\n"
    contract = parse_contract(text.encode(), file="f", stack=prefix)
    engine = Engine(DockerEndpoint(node.docker_host, "the testbed"))
    connection = ClusterConnection(
        source=KubeconfigSource((node.kubeconfig,), "KUBECONFIG"),
        scratch_folder=tmp_path_factory.mktemp("keys"),
        on_change=lambda: None,
        on_object=lambda _key: None,
    )
    volume = engine.find_volume(node.volume)
    assert volume is not None
    folder = Path(volume.mountpoint) / prefix
    ground = Ground(prefix, node.kubeconfig, connection, ClusterNodes(engine, CLUSTER), folder, contract.directories)
    hooks = {f"{PRE}command": note("before"), f"{PRE}container": "db", f"{POST}command": note("after")}
    made = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": prefix}},
        *objects(
            prefix,
            "counted",
            [container("writer", WRITE, mounts=True), container("side", "sleep 3600", mounts=False)],
            {},
        ),
        *objects(prefix, "hooked", [container("db", "sleep 3600", mounts=True)], hooks),
    ]
    connection.start()
    try:
        ground.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
        ground.kubectl("-n", prefix, "wait", "--for=condition=Ready", "--timeout=110s", "pod/counted", "pod/hooked")
        deadline = time.monotonic() + 30
        while len(find_known(ground)) < 2:
            assert time.monotonic() < deadline, "the mirror has both claims"
            time.sleep(0.05)
        yield ground
    finally:
        ground.kubectl("delete", "namespace", prefix, "--wait=false")
        ground.kubectl("delete", "pv", f"hostk8s-{prefix}-counted-pv", f"hostk8s-{prefix}-hooked-pv", "--wait=false")
        connection.stop()
        engine.close()


def find_known(ground: Ground) -> tuple[Any, ...]:
    """The pods that are known to use the directories; none while the connection is being made."""
    if ground.connection.state().state != "Connected":
        return ()
    return find_users(ground.connection, ground.prefix, ground.directories)


def test_only_the_containers_that_mount_the_directory_are_paused(
    ground: Ground, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """They write nothing meanwhile, go on afterwards, and the journal is there just as long as they are paused."""
    with ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("counted"), Quiesce.FREEZE) as rest:
        assert ground.states("counted") == {"writer": True, "side": False}
        before = ground.read("counted", "count")
        assert len(list((tmp_path / JOURNAL_FOLDER).iterdir())) == 1
        # Both take longer than the writer's pause between two numbers.
        assert rest.reached() == Reached(Consistency.FROZEN)
        assert ground.states("hooked") == {"db": False}
        assert ground.read("counted", "count") == before

    assert ground.states("counted") == {"writer": False, "side": False}
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []
    wait_until(lambda: ground.read("counted", "count") not in ("", before), "the writer goes on")


def test_a_failure_while_it_rests_wakes_the_stack(ground: Ground, tmp_path: Path) -> None:
    """Whatever capture raises."""
    with (
        pytest.raises(ZeroDivisionError),
        ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("counted"), Quiesce.FREEZE),
    ):
        raise ZeroDivisionError

    assert not any(ground.states("counted").values())


def test_at_the_deadline_the_stack_is_woken_and_the_snapshot_says_so(
    ground: Ground, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """A snapshot that takes too long is not worth a standing database."""
    quiescer = ground.quiescer(tmp_path, deadline_seconds=3)
    with quiescer.at_rest(ground.prefix, ground.named("counted"), Quiesce.FREEZE) as rest:
        wait_until(lambda: rest.reached().consistency is Consistency.LIVE, "the deadline passes")
        assert rest.reached().note == "the containers were woken after 3 s, before everything was read"
        wait_until(lambda: not any(ground.states("counted").values()), "they are woken")

    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []


def test_what_a_crash_left_paused_is_woken_by_the_next_start(ground: Ground, tmp_path: Path) -> None:
    """The journal is all that a killed process leaves."""
    journal = RestJournals(tmp_path / JOURNAL_FOLDER).begin()
    runtimes = open_runtimes(ground.nodes)
    users = find_users(ground.connection, ground.prefix, ground.named("counted"))
    killed = Freeze(ground.prefix, journal, runtimes, lambda: users, deadline_seconds=3600)
    killed.begin()
    assert ground.states("counted")["writer"]

    assert ground.quiescer(tmp_path).wake_leftovers()

    assert not ground.states("counted")["writer"]
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []
    killed.end()


def test_what_a_crash_left_paused_on_a_tree_that_was_replaced_is_started_anew(
    ground: Ground, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Waking it would let it go on in a tree that nobody sees any more."""
    journal = RestJournals(tmp_path / JOURNAL_FOLDER).begin()
    users = find_users(ground.connection, ground.prefix, ground.named("counted"))
    killed = Freeze(ground.prefix, journal, open_runtimes(ground.nodes), lambda: users, deadline_seconds=3600)
    killed.begin()
    assert killed.hold(restarts=True)

    assert ground.quiescer(tmp_path).wake_leftovers()

    def is_another() -> bool:
        now = find_users(ground.connection, ground.prefix, ground.named("counted"))
        return [one.containers[0].container_id for one in now] not in (
            [],
            [one.containers[0].container_id for one in users],
        )

    wait_until(is_another, "its node starts it anew")
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []
    killed.end()


def test_the_hook_that_a_crash_owed_runs_at_the_next_start(ground: Ground, tmp_path: Path) -> None:
    """And no command stands in the journal, where a password in it would lie about."""
    journal = RestJournals(tmp_path / JOURNAL_FOLDER).begin()
    runtimes = open_runtimes(ground.nodes)
    users = find_users(ground.connection, ground.prefix, ground.named("hooked"))
    HookedRest(journal, runtimes, lambda: users).begin()
    [left] = (tmp_path / JOURNAL_FOLDER).iterdir()
    assert "echo" not in left.read_text(encoding="utf-8")
    assert ground.read("hooked", "words").endswith("before\n")

    assert ground.quiescer(tmp_path).wake_leftovers()

    assert ground.read("hooked", "words").endswith("before\nafter\n")
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []


def test_hooks_run_before_and_after_the_directories_are_read(ground: Ground, tmp_path: Path) -> None:
    """The one after has run when it is asked what was reached: its failure would count."""
    with ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("hooked"), Quiesce.HOOKS) as rest:
        assert ground.read("hooked", "words").endswith("before\n")
        assert rest.reached() == Reached(Consistency.HOOKS)
        words = ground.read("hooked", "words")

    assert words.endswith("before\nafter\n")
    assert ground.read("hooked", "words") == words, "it does not run twice"


def test_a_hook_that_fails_is_told_and_the_one_after_runs_still(
    ground: Ground, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the failure's kind and without the command, which may hold a password, in no log and no journal either."""
    annotate = ("-n", ground.prefix, "annotate", "--overwrite", "pod", "hooked")
    for command, timeout, failure in (
        ('["/bin/sh", "-c", "exit 7 # canary-password"]', "30s", "ended with exit code 7"),
        ('["/bin/sleep", "3599"]', "500ms", "did not end within 0.5 s"),
    ):
        ground.kubectl(*annotate, f"{PRE}command={command}", f"{PRE}timeout={timeout}")
        with ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("hooked"), Quiesce.HOOKS) as rest:
            reached = rest.reached()
        expected = f"the pre hook of the pod {ground.prefix}/hooked {failure}"
        assert reached == Reached(Consistency.LIVE, expected)
        assert "canary-password" not in "".join(capfd.readouterr())
        assert all(b"canary-password" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert ground.read("hooked", "words").endswith("after\n")
    [runtime] = open_runtimes(ground.nodes).values()
    found = runtime._nodes.run_command(runtime.node, ("pgrep", "-f", "^/bin/sleep 3599"), timeout_seconds=10)
    assert found.stdout == b"", "what took too long was ended"
    ground.kubectl(*annotate, f"{PRE}command={note('before')}", f"{PRE}timeout=30s")


@pytest.mark.parametrize("asked", [Quiesce.FREEZE, Quiesce.HOOKS])
def test_a_directory_that_no_pod_uses_needs_nothing(ground: Ground, tmp_path: Path, asked: Quiesce) -> None:
    """Nothing could write to it."""
    with ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("unused"), asked) as rest:
        assert rest.reached() == Reached(Consistency.UNUSED)


def test_a_pod_without_hooks_is_not_called_consistent(ground: Ground, tmp_path: Path) -> None:
    """Never silently less than was asked."""
    with ground.quiescer(tmp_path).at_rest(ground.prefix, ground.named("counted"), Quiesce.HOOKS) as rest:
        assert rest.reached() == Reached(Consistency.LIVE, f"the pod {ground.prefix}/counted has no hooks")


def test_without_a_way_to_the_node_nothing_is_frozen(ground: Ground, tmp_path: Path) -> None:
    """The snapshot is taken all the same, and says why it is only live; nor is there a journal to undo."""

    def fail() -> ClusterNodes:
        raise VolumeError("Docker is away", hint="start Docker")

    for quiescer, words in (
        (ClusterQuiescer(lambda: ground.connection, fail, tmp_path), "Docker is away"),
        (ClusterQuiescer(lambda: None, fail, tmp_path), "there is no cluster whose pods could be brought to rest"),
    ):
        with quiescer.at_rest(ground.prefix, ground.directories, Quiesce.FREEZE) as rest:
            assert rest.reached() == Reached(Consistency.LIVE, words)
        assert quiescer.wake_leftovers()
    assert not any(ground.states("counted").values())


def test_a_container_that_cannot_be_paused_leaves_none_paused(ground: Ground, tmp_path: Path) -> None:
    """The writer is paused first; what comes after it is not to be had."""
    runtimes = open_runtimes(ground.nodes)
    [(name, runtime)] = runtimes.items()

    class Refusing(NodeRuntime):
        def pause(self, container: str) -> None:
            super().pause(container if not is_any_paused() else "no-such-container")

    def is_any_paused() -> bool:
        return any(ground.states("counted").values())

    users = find_users(ground.connection, ground.prefix, ground.directories)
    journal = RestJournals(tmp_path / JOURNAL_FOLDER).begin()
    freeze = Freeze(
        ground.prefix, journal, {name: Refusing(ground.nodes, runtime.node)}, lambda: users, deadline_seconds=3600
    )
    with pytest.raises(Exception, match="could not be paused"):
        freeze.begin()
    assert is_any_paused()
    freeze.end()

    assert not is_any_paused()
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []

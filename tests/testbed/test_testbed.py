"""The testbed itself, for real: a state folder of its own, real daemons, the real engine's answers.

What is slow to make (binaries, packages) comes from the shared cache; `testbed install` fills it.
"""

import json
import os
import shlex
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

TESTBED = Path(__file__).parents[2] / "infra" / "testbed" / "testbed"
REFUSED = 3
WRONG_USAGE = 2


@dataclass(frozen=True)
class OwnTestbed:
    """The command line of a testbed with a state folder of its own."""

    state: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run one verb to its end, whatever its exit code. Its output is a pipe, which no daemon may keep open."""
        return subprocess.run(
            [str(TESTBED), *arguments],
            env=self.environment | extra,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def must(self, *arguments: str, **extra: str) -> str:
        """Run one verb that has to succeed, and return what it printed."""
        done = self.run(*arguments, **extra)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def observe(self) -> dict[str, Any]:
        """Return the testbed's own view of itself."""
        seen: dict[str, Any] = json.loads(self.must("status", "-o", "json"))
        return seen

    def shell_environment(self) -> dict[str, str]:
        """Return the environment in which `docker` and `kubectl` go to this testbed."""
        exports = [shlex.split(line)[1].partition("=") for line in self.must("env").splitlines()]
        return self.environment | {name: os.path.expandvars(value) for name, _, value in exports}

    def docker(self, *arguments: str) -> str:
        """Ask the engine of this testbed."""
        return subprocess.run(
            ["docker", *arguments], env=self.shell_environment(), capture_output=True, text=True, timeout=60, check=True
        ).stdout.strip()

    def kubectl(self, kubeconfig: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask the cluster of a kubeconfig."""
        command = ["kubectl", "--kubeconfig", kubeconfig, *arguments]
        return subprocess.run(
            command, env=self.shell_environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def find_cluster_uid(self) -> str:
        """Return the UID of kube-system, which tells one cluster from the next."""
        answer = self.kubectl(
            self.must("kubeconfig"), "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def find_processes(self, *words: str) -> dict[int, str]:
        """Return the command line of each living process that names the state folder and all the words."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # A dead process that nobody has waited for yet has an empty one.
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in line for word in (str(self.state), *words)):
                found[int(folder.name)] = line
        return found


@pytest.fixture(scope="module")
def own_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTestbed]:
    """A testbed with nothing up, in a state folder of its own, with names of its own."""
    folder = tmp_path_factory.mktemp("testbed")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DOCKER_HOST", "KUBECONFIG"} and not name.startswith("HOSTK8S_TESTBED_")
    }
    if cache := os.environ.get("HOSTK8S_TESTBED_CACHE"):
        inherited["HOSTK8S_TESTBED_CACHE"] = cache
    bed = OwnTestbed(
        folder / "state",
        inherited
        | {
            "HOSTK8S_TESTBED_STATE": str(folder / "state"),
            "HOSTK8S_TESTBED_ENGINE": "own",
            "HOSTK8S_TESTBED_ENGINE_DATA": str(folder / "engine"),
            "HOSTK8S_TESTBED_CLUSTER": "hostk8s-testbed-test",
            "HOSTK8S_TESTBED_VOLUME": "hostk8s-testbed-test-data",
        },
    )
    yield bed
    bed.must("down")


@pytest.fixture(scope="module")
def own_cluster(own_testbed: OwnTestbed) -> OwnTestbed:
    """The same, with its control plane up, brought there by two callers at once."""
    callers = [
        subprocess.Popen(
            [str(TESTBED), "up", "control-plane"], env=own_testbed.environment, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for caller in callers:
        _, words = caller.communicate(timeout=600)
        assert caller.returncode == 0, words
    return own_testbed


@pytest.fixture(scope="module")
def own_engine(own_testbed: OwnTestbed) -> OwnTestbed:
    """The same, with an engine and an image without a single file."""
    own_testbed.must("up", "engine")
    archive = own_testbed.state / "empty.tar"
    with tarfile.open(archive, "w"):
        pass
    own_testbed.docker("import", str(archive), "hostk8s-testbed-test/empty:1")
    return own_testbed


@pytest.mark.cluster
def test_two_callers_at_once_start_one_control_plane(own_cluster: OwnTestbed) -> None:
    """Two callers who want the same thing at the same time get it once."""
    for name in ("etcd ", "kube-apiserver ", "kube-controller-manager "):
        assert len(own_cluster.find_processes(name, "control-planes/default")) == 1


@pytest.mark.cluster
def test_up_again_changes_nothing(own_cluster: OwnTestbed) -> None:
    """What is up stays as it is, the very same processes."""
    before = own_cluster.find_processes()
    own_cluster.must("up", "control-plane")
    assert own_cluster.find_processes() == before


@pytest.mark.cluster
def test_a_dead_daemon_is_started_again(own_cluster: OwnTestbed, wait_until: Callable[..., None]) -> None:
    """`up` after a crash brings back what died, and the cluster is the same one."""
    uid = own_cluster.find_cluster_uid()
    (victim,) = own_cluster.find_processes("kube-controller-manager")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not own_cluster.find_processes("kube-controller-manager"))
    own_cluster.must("up", "control-plane")
    assert len(own_cluster.find_processes("kube-controller-manager")) == 1
    assert own_cluster.find_cluster_uid() == uid


@pytest.mark.cluster
def test_stop_and_start_keep_the_cluster(own_cluster: OwnTestbed) -> None:
    """An outage is not a new cluster: the data and the address stay."""
    uid, url = own_cluster.find_cluster_uid(), own_cluster.observe()["control_planes"]
    own_cluster.must("stop", "control-plane")
    assert own_cluster.find_processes() == {}
    own_cluster.must("start", "control-plane")
    assert own_cluster.find_cluster_uid() == uid
    assert own_cluster.observe()["control_planes"] == url


@pytest.mark.cluster
def test_wipe_makes_a_new_cluster(own_cluster: OwnTestbed) -> None:
    """After a wipe the same kubeconfig leads to another cluster, as after kind delete and kind create."""
    before = own_cluster.find_cluster_uid()
    own_cluster.must("wipe")
    assert own_cluster.find_cluster_uid() != before


@pytest.mark.cluster
def test_the_limited_user_may_do_nothing(own_cluster: OwnTestbed) -> None:
    """There is a user who is known and has no permission, to test what happens then."""
    answer = own_cluster.kubectl(own_cluster.must("kubeconfig", "--limited"), "get", "persistentvolumes")
    assert answer.returncode != 0
    assert "Forbidden" in answer.stderr


@pytest.mark.cluster
def test_down_leaves_nothing_of_an_instance(own_cluster: OwnTestbed) -> None:
    """`down` ends every process of the instance and removes its folder, and no other instance is touched."""
    others = own_cluster.find_processes()
    own_cluster.must("up", "control-plane", "--instance", "second")
    kubeconfig = Path(own_cluster.must("kubeconfig", "--instance", "second"))
    assert kubeconfig.exists()
    own_cluster.must("down", "control-plane", "--instance", "second")
    assert own_cluster.find_processes() == others
    assert not kubeconfig.parent.exists()


@pytest.mark.cluster
def test_a_given_cluster_is_only_used(own_cluster: OwnTestbed) -> None:
    """A cluster of the developer is never wiped, stopped or taken down."""
    given = own_cluster.must("kubeconfig")
    for arguments in (("wipe",), ("stop", "control-plane"), ("recreate", "node")):
        assert own_cluster.run(*arguments, HOSTK8S_TESTBED_KUBECONFIG=given).returncode == REFUSED
    before = own_cluster.find_processes("control-planes")
    own_cluster.must("up", "control-plane", HOSTK8S_TESTBED_KUBECONFIG=given)
    own_cluster.must("down", "control-plane", HOSTK8S_TESTBED_KUBECONFIG=given)
    assert own_cluster.find_processes("control-planes") == before


@pytest.mark.engine
def test_a_container_without_our_label_is_refused(own_engine: OwnTestbed) -> None:
    """A container of the node's name may be the developer's real cluster: it is not used, replaced or removed."""
    container = own_engine.docker(
        "create", "--name", "hostk8s-testbed-test-control-plane", "hostk8s-testbed-test/empty:1", "none"
    )
    try:
        for arguments in (("up", "node"), ("recreate", "node")):
            done = own_engine.run(*arguments)
            assert done.returncode == REFUSED
            assert "may be your real cluster" in done.stderr
        own_engine.must("down", "node")
        assert own_engine.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={container}") == container
    finally:
        own_engine.docker("rm", "--force", container)


@pytest.mark.engine
def test_a_volume_without_our_label_is_refused(own_engine: OwnTestbed) -> None:
    """A volume of the testbed's name may hold the developer's real data: it is not used, replaced or removed."""
    volume = own_engine.docker("volume", "create", "hostk8s-testbed-test-data")
    try:
        for arguments in (("up", "node"), ("recreate", "node")):
            done = own_engine.run(*arguments)
            assert done.returncode == REFUSED
            assert "may hold your real data" in done.stderr
        own_engine.must("down", "node")
        assert own_engine.docker("volume", "ls", "--quiet", "--filter", f"name={volume}") == volume
    finally:
        own_engine.docker("volume", "rm", volume)


@pytest.mark.engine
def test_a_killed_engine_comes_up_again(own_engine: OwnTestbed, wait_until: Callable[..., None]) -> None:
    """Nothing that a killed dockerd leaves behind prevents the next one, and its images are still there."""
    (victim,) = own_engine.find_processes("dockerd", "--data-root")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in own_engine.find_processes())
    own_engine.must("up", "engine")
    assert own_engine.docker("image", "ls", "--quiet", "hostk8s-testbed-test/empty") != ""


@pytest.mark.engine
def test_down_leaves_no_process(tmp_path_factory: pytest.TempPathFactory, own_engine: OwnTestbed) -> None:
    """An engine of our own ends with `down`, with its containerd, its socket and its bridge."""
    folder = tmp_path_factory.mktemp("down")
    bed = OwnTestbed(
        folder / "state",
        own_engine.environment
        | {"HOSTK8S_TESTBED_STATE": str(folder / "state"), "HOSTK8S_TESTBED_ENGINE_DATA": str(folder / "engine")},
    )
    bed.must("up", "engine")
    (bridge,) = Path("/sys/class/net").glob("hk8s-" + sha256(os.fsencode(bed.state.resolve())).hexdigest()[:8])
    bed.must("down")
    assert bed.find_processes() == {}
    assert {path.name for path in bed.state.iterdir()} == {"locks"}
    assert not bridge.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_help_begins_with_examples(own_testbed: OwnTestbed) -> None:
    """Who asks for help sees at once what to type."""
    assert own_testbed.must("--help").startswith("Examples:")


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("up", "everything"), ("up", "--port", "0"), ("up", "--instance", "../x"), ("stop", "node")],
    ids=" ".join,
)
def test_nonsense_is_told_apart_from_failure(own_testbed: OwnTestbed, arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense has its own exit code and changes nothing."""
    before = own_testbed.find_processes()
    assert own_testbed.run(*arguments).returncode == WRONG_USAGE
    assert own_testbed.find_processes() == before

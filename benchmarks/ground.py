"""The ground that all stand on: engine, volume, node and clusters of the benchmark's own, made and taken down here."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from api import ApiServer, load_api_server
from rivals import Commands
from workload import Checkout, Edition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
TESTBED = ROOT / "infra/testbed/testbed"
NODE_IMAGE = "hostk8s.local/busybox:1"
LABEL = "hostk8s.benchmark"


class Testbed:
    """The testbed's command. What it starts for us, it takes down again; what was up before stays."""

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a verb and return what it printed. Raises `RuntimeError` in its words when it fails."""
        done = subprocess.run([TESTBED, *arguments], capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"testbed {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def status(self) -> dict[str, Any]:
        """What is up, and where."""
        found: dict[str, Any] = json.loads(self.run("status", "-o", "json"))
        return found


@dataclass(frozen=True, slots=True)
class Cluster:
    """One control plane of our own."""

    testbed: Testbed
    instance: str
    kubeconfig: Path
    server: ApiServer

    def wipe(self) -> None:
        """Make it an empty cluster again."""
        self.testbed.run("wipe", "--instance", self.instance)


@dataclass(frozen=True, slots=True)
class Volume:
    """One Docker volume of our own, with a container that has it at /mnt/pv as a Kind node has."""

    name: str
    mountpoint: Path
    node: str

    def place_of(self, edition: Edition) -> Path:
        """Where the edition's directory is on this machine."""
        return self.mountpoint / edition.path.removeprefix("/mnt/pv/")

    def empty(self) -> None:
        """Remove all that stands in it."""
        for entry in self.mountpoint.iterdir():
            shutil.rmtree(entry)


@dataclass(frozen=True, slots=True)
class Node:
    """The testbed's whole node: pods run on it and mount the volume."""

    kubectl_program: str
    kubeconfig: Path
    volume: str
    mountpoint: Path

    def kubectl(self, *arguments: str, stdin: str = "") -> None:
        """Run kubectl on it. Raises `RuntimeError` in its words when it fails."""
        command = [self.kubectl_program, "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")


class Ground:
    """Gives out clusters, volumes and workspaces. All of it goes when the context ends, however it ends."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.testbed = Testbed()
        self.docker_host = ""
        self.kubectl = ""
        self._folder = Path()
        # One engine may serve several testbeds, and the leftovers of one are the volumes of another.
        self._label = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            status = self.testbed.status()
            stack.enter_context(_only_one(status["state_folder"]))
            if status["given_kubeconfig"]:
                raise RuntimeError("the benchmark empties its cluster in each round: unset HOSTK8S_TESTBED_KUBECONFIG")
            if status["engine"]["status"] != "ready":
                stack.callback(self.testbed.run, "down", "engine")
                self.testbed.run("up", "engine")
                status = self.testbed.status()
            self.docker_host = status["engine"]["host"]
            self._label = f"{LABEL}={hashlib.sha256(os.fsencode(status['state_folder'])).hexdigest()[:8]}"
            self.kubectl = _find_kubectl(Path(status["cache_folder"]))
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostk8s-bench-")))
            self._remove_leftovers()
            if not self._docker("image", "ls", "--quiet", NODE_IMAGE):
                self.testbed.run("install", "node", environment={**os.environ, "DOCKER_HOST": self.docker_host})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def cluster(self, instance: str = "bench") -> Iterator[Cluster]:
        """Give an empty cluster of our own for as long as the block runs."""
        # One that a killed benchmark left is not empty.
        self.testbed.run("down", "control-plane", "--instance", instance)
        try:
            self.testbed.run("up", "control-plane", "--instance", instance)
            kubeconfig = Path(self.testbed.run("kubeconfig", "--instance", instance))
            yield Cluster(self.testbed, instance, kubeconfig, load_api_server(self.kubectl, kubeconfig))
        finally:
            self.testbed.run("down", "control-plane", "--instance", instance)

    @contextlib.contextmanager
    def volume(self) -> Iterator[Volume]:
        """Give an empty volume of our own for as long as the block runs."""
        name = f"hostk8s-bench-{secrets.token_hex(3)}"
        try:
            self._docker("volume", "create", "--label", self._label, name)
            mountpoint = Path(self._docker("volume", "inspect", "--format", "{{.Mountpoint}}", name))
            if not os.access(mountpoint, os.R_OK | os.W_OK | os.X_OK):
                raise RuntimeError(
                    "the benchmark looks into the volume's mountpoint: run it as root, beside the engine"
                )
            run = ("run", "--detach", "--label", self._label, "--volume", f"{name}:/mnt/pv", NODE_IMAGE)
            node = self._docker(*run, "sleep", "86400")
            yield Volume(name, mountpoint, node)
        finally:
            self._remove_volume(name)

    @contextlib.contextmanager
    def checkout(self) -> Iterator[Checkout]:
        """Give an empty workspace for as long as the block runs."""
        with tempfile.TemporaryDirectory(prefix="workspace-", dir=self._folder) as folder:
            checkout = Checkout(Path(folder))
            (checkout.root / "software/stacks").mkdir(parents=True)
            yield checkout

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Give an empty folder, for an agent's state, for as long as the block runs."""
        with tempfile.TemporaryDirectory(prefix="home-", dir=self._folder) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def node(self) -> Iterator[Node]:
        """Give the testbed's whole node, where pods run; it stays when it was up before."""
        status = self.testbed.status()["node"]
        was_up = bool(status and status["status"] == "ready")
        try:
            self.testbed.run("up", "node")
            status = self.testbed.status()["node"]
            mountpoint = Path(self._docker("volume", "inspect", "--format", "{{.Mountpoint}}", status["volume"]))
            yield Node(self.kubectl, Path(status["kubeconfig"]), status["volume"], mountpoint)
        finally:
            if not was_up:
                self.testbed.run("down", "node")

    def environment(self, cluster: Cluster, volume: Volume, home: Path, *, access: str = "auto") -> dict[str, str]:
        """Return the environment of an agent whose state, socket and home are in `home`."""
        return {**self.environment_on(cluster.kubeconfig, volume.name, home), "HOSTK8S_AGENT_VOLUME_ACCESS": access}

    def environment_on(self, kubeconfig: Path, volume: str, home: Path) -> dict[str, str]:
        """The same, for a cluster and a volume of any kind."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": self.docker_host,
            "KUBECONFIG": str(kubeconfig),
            "HOSTK8S_AGENT_VOLUME_NAME": volume,
            # The volume goes away with the trial.
            "HOSTK8S_AGENT_KEEP_VOLUME": "false",
            "HOSTK8S_AGENT_LOG_FORMAT": "json",
        }

    def commands(self, cluster: Cluster) -> Commands:
        """Return kubectl and docker as the rivals run them; their caches are kept in a folder of ours."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "DOCKER_HOST": self.docker_host,
            "KUBECONFIG": str(cluster.kubeconfig),
        }
        return Commands(self.kubectl, environment)

    def versions(self) -> list[tuple[str, str]]:
        """Return the versions of what the figures depend on, each with its name."""
        status = self.testbed.status()
        client = json.loads(
            subprocess.run(
                [self.kubectl, "version", "--client", "--output", "json"], capture_output=True, check=True
            ).stdout
        )
        return [
            ("Kubernetes", f"{status['kubernetes_version']} (etcd, API server and controller manager of the testbed)"),
            ("Docker", str(status["engine"]["version"])),
            ("kubectl", str(client["clientVersion"]["gitVersion"])),
            ("node of (c)", "a plain container with the volume at /mnt/pv, where `docker exec` costs the least"),
        ]

    def _remove_leftovers(self) -> None:
        for name in self._docker("volume", "ls", "--quiet", "--filter", f"label={self._label}").split():
            self._remove_volume(name)

    def _remove_volume(self, name: str) -> None:
        # Our node, and the helper container of an agent that could not remove it.
        for container in self._docker("ps", "--all", "--quiet", "--filter", f"volume={name}").split():
            self._docker("rm", "--force", container)
        self._docker("volume", "rm", "--force", name)

    def _docker(self, *arguments: str) -> str:
        command = ["docker", "--host", self.docker_host, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()


@contextlib.contextmanager
def _only_one(testbed_folder: str) -> Iterator[None]:
    """Hold the testbed's folder: two benchmarks would take each other's clusters down, and measure each other."""
    descriptor = os.open(testbed_folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("another benchmark runs on this testbed") from None
        yield
    finally:
        os.close(descriptor)


def _find_kubectl(cache: Path) -> str:
    """Return the kubectl to race with.

    Google's is a dispatcher that starts a second kubectl: the newest of those beside it is the fairer rival.
    """
    found = shutil.which("kubectl") or str(cache / "debian/kubectl")
    real = Path(found).resolve()
    return str(max(real.parent.glob("kubectl.1.*"), key=lambda one: int(one.suffix[1:]), default=real))

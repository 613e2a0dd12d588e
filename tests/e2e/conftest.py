"""A real agent: the installed command, run as a user runs it, on a workspace of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.client import ControlClient
from hostk8s_agent.errors import AgentError, AgentNotRunningError
from hostk8s_agent.workspace import Workspace

COMMAND = Path(sys.executable).with_name("hostk8s-agent")
READY_SECONDS = 30.0

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - name: {directory}
      path: {path}
      size: {size}
      accessModes: [ReadWriteOnce]
      storageClass: {storage_class}
      owner: {owner}
      permissions: {permissions}
"""


class Site:
    """One workspace with its environment: saves contracts, runs the command, and runs the agent."""

    def __init__(self, folder: Path, wait_until: Callable[..., None]) -> None:
        self.root = folder / "workspace"
        self.stacks = self.root / "software/stacks"
        self.stacks.mkdir(parents=True)
        self.log = folder / "agent.log"
        # Every name of a test is its own: several tests share one cluster.
        self.prefix = f"e2e-{secrets.token_hex(3)}"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "NO_COLOR": "1",
            "PYTHONFAULTHANDLER": "1",
            "HOSTK8S_AGENT_LOG_FORMAT": "json",
            # The volume goes away with the test.
            "HOSTK8S_AGENT_KEEP_VOLUME": "false",
        }
        self._wait_until = wait_until
        self._agent: subprocess.Popen[bytes] | None = None

    def save(self, stack: str, text: str | None = None, **values: Any) -> Path:
        """Save the stack's contract as an editor does: written beside, renamed over."""
        file = self.stacks / stack / "hostk8s.storage.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(".being-saved")
        beside.write_text(self.render(stack, **values) if text is None else text, encoding="utf-8")
        beside.rename(file)
        return file

    def render(self, stack: str, **values: Any) -> str:
        """The text of a contract of one directory, with `values` in place of what a user would have."""
        directory = values.get("directory", "one")
        defaults = {
            "stack": stack,
            "directory": directory,
            "path": f"/mnt/pv/{self.prefix}/{stack}/{directory}",
            "size": "1Gi",
            "storage_class": f"{self.prefix}-{stack.replace('/', '-')}",
            "owner": "26:26",
            "permissions": "0750",
        }
        return CONTRACT.format(**{**defaults, **values})

    def run(self, *arguments: str, timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a verb in the workspace and return its exit code and what it printed."""
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )

    def start(self) -> None:
        """Start the agent and wait until it answers."""
        with self.log.open("ab") as log:
            self._agent = subprocess.Popen(
                [COMMAND, "run", "--workspace", self.root], env=self.environment, stdout=log, stderr=log
            )
        self._wait_until(self.is_running, "the agent answers")

    def stop(self) -> int:
        """End the agent as a service manager does, and return its exit code; 0 when none runs."""
        if self._agent is None:
            return 0
        self._agent.terminate()
        try:
            return self._agent.wait(20)
        except subprocess.TimeoutExpired:
            # Let it say where each of its threads hangs (PYTHONFAULTHANDLER).
            self._agent.send_signal(signal.SIGABRT)
            self._agent.wait()
            raise AssertionError(self.log.read_text(encoding="utf-8")) from None
        finally:
            self._agent = None

    def kill(self) -> None:
        """End the agent as a crash does."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait()
        self._agent = None

    def status(self) -> dict[str, Any]:
        """The whole status, as the command shows it: from the agent, else what was last known."""
        try:
            return ControlClient(Workspace(self.root.resolve())).status()
        except AgentNotRunningError:
            found: dict[str, Any] = json.loads(self.run("status", "-o", "json").stdout)
            return found

    def is_running(self) -> bool:
        """Whether an agent answers."""
        try:
            ControlClient(Workspace(self.root.resolve())).status()
        except AgentError:
            return False
        return True

    def stack(self, name: str) -> dict[str, Any]:
        """One stack's status; a state of `Unknown` while the agent does not have it."""
        found = (one for one in self.status()["stacks"] if one["name"] == name)
        return next(found, {"name": name, "state": "Unknown", "message": "", "problems": []})

    def wait_for(self, stack: str, state: str) -> dict[str, Any]:
        """Wait until the stack is in the state, and return its status."""
        seen: dict[str, Any] = {}

        def is_there() -> bool:
            seen.update(self.stack(stack))
            return bool(seen["state"] == state)

        try:
            self._wait_until(is_there, f"{stack} is {state}", READY_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(seen)}") from None
        return seen

    def codes(self, stack: str) -> list[str]:
        """The codes of the stack's problems."""
        return [problem["code"] for problem in self.stack(stack)["problems"]]

    def wait_for_codes(self, stack: str, *codes: str) -> dict[str, Any]:
        """Wait until the stack has just these problems: at a start it waits for Docker and the cluster first."""
        self._wait_until(lambda: self.codes(stack) == list(codes), f"{stack} has the problems {codes}")
        return self.stack(stack)

    def wait_until_connected(self) -> None:
        """Wait until the agent has its volume and its cluster."""

        def is_connected() -> bool:
            status = self.status()
            return bool(status["docker"]["state"] == status["cluster"]["state"] == "Connected")

        self._wait_until(is_connected, "connected to both")


@pytest.fixture
def site(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[Site]:
    """A workspace with neither Docker nor a cluster; its agent, if one was started, ends well."""
    site = Site(tmp_path, wait_until)
    site.environment["HOSTK8S_AGENT_VOLUME_BACKEND"] = "host-directory"
    yield site
    assert site.stop() == 0, site.log.read_text(encoding="utf-8")


class Cluster:
    """A cluster as a person sees it: through kubectl."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it printed; an error fails the test in kubectl's words."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def get(self, kind: str, name: str, *options: str) -> dict[str, Any]:
        """The object as JSON, empty when it does not exist."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found", *options)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def request_count(self) -> int:
        """How many requests for our kinds the API server has served, watches that stay open and reads left out."""
        lines = self.kubectl("get", "--raw", "/metrics").splitlines()
        return sum(
            int(float(line.rsplit(" ", 1)[1]))
            for line in lines
            if line.startswith("apiserver_request_total{")
            and any(f'resource="{kind}"' in line for kind in ("persistentvolumes", "storageclasses"))
            and not any(f'verb="{verb}"' in line for verb in ("WATCH", "LIST", "GET"))
        )

    def remove(self, prefix: str) -> None:
        """Remove what a test made: every volume and class whose class or name begins with its prefix."""
        volumes = json.loads(self.kubectl("get", "pv", "-o", "json"))["items"]
        ours = [
            one["metadata"]["name"] for one in volumes if one["spec"].get("storageClassName", "").startswith(prefix)
        ]
        classes = json.loads(self.kubectl("get", "sc", "-o", "json"))["items"]
        names = [one["metadata"]["name"] for one in classes if one["metadata"]["name"].startswith(prefix)]
        if ours:
            self.kubectl("delete", "pv", "--wait=false", *ours)
        if names:
            self.kubectl("delete", "sc", *names)


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The testbed's control plane."""
    return Cluster(kubeconfig)


class Engine:
    """A Docker engine as a person sees it: through the docker command."""

    def __init__(self, host: str) -> None:
        self.host = host

    def docker(self, *arguments: str) -> str:
        """Run docker and return what it printed; an error fails the test in docker's words."""
        done = subprocess.run(
            ["docker", "--host", self.host, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def mountpoint(self, volume: str) -> Path:
        """Where the volume's files are on this machine."""
        return Path(self.docker("volume", "inspect", volume, "--format", "{{.Mountpoint}}"))


@pytest.fixture
def docker_engine(engine: str) -> Engine:
    """The testbed's engine."""
    return Engine(engine)


@pytest.fixture
def real_site(
    tmp_path: Path, wait_until: Callable[..., None], docker_engine: Engine, cluster: Cluster
) -> Iterator[Site]:
    """A workspace on the real engine, with a volume of its own, and the real control plane."""
    site = Site(tmp_path, wait_until)
    site.environment.update(
        DOCKER_HOST=docker_engine.host,
        KUBECONFIG=str(cluster.kubeconfig),
        HOSTK8S_AGENT_VOLUME_NAME=f"hostk8s-{site.prefix}",
    )
    yield site
    try:
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")
    finally:
        cluster.remove(site.prefix)
        docker_engine.docker("volume", "rm", "--force", f"hostk8s-{site.prefix}")


@pytest.fixture
def site_on() -> Callable[..., tuple[Site, Cluster, Engine]]:
    """A function that makes a workspace on a whole node."""

    def make(folder: Path, wait_until: Callable[..., None], node: Any) -> tuple[Site, Cluster, Engine]:
        site = Site(folder, wait_until)
        site.environment.update(
            DOCKER_HOST=node.docker_host, KUBECONFIG=str(node.kubeconfig), HOSTK8S_AGENT_VOLUME_NAME=node.volume
        )
        return site, Cluster(node.kubeconfig), Engine(node.docker_host)

    return make


@pytest.fixture
def node_site(
    tmp_path: Path, wait_until: Callable[..., None], node: Any, site_on: Callable[..., Any]
) -> Iterator[tuple[Any, Any, Any]]:
    """A workspace on the whole node and its volume, with the cluster and the engine as a person sees them."""
    site, cluster, docker_engine = site_on(tmp_path, wait_until, node)
    yield site, cluster, docker_engine
    try:
        assert site.stop() == 0, site.log.read_text(encoding="utf-8")
    finally:
        cluster.kubectl("delete", "namespace", site.prefix, "--ignore-not-found", "--wait=false")
        cluster.kubectl("-n", site.prefix, "delete", "pod,pvc", "--all", "--wait=true", "--grace-period=1", check=False)
        cluster.remove(site.prefix)

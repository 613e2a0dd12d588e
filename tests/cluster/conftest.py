"""Connections to the real control plane, what a person does with kubectl, and a peer that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from hostk8s_agent.cluster.connection import ClusterConnection
from hostk8s_agent.cluster.kubeconfig import KubeconfigSource
from hostk8s_agent.cluster.state import ConnectionTiming
from hostk8s_agent.plan.actions import ApplyObject
from hostk8s_agent.plan.desired import ObjectKey

# The same proportions as in real life, forty times faster.
FAST = ConnectionTiming(
    poll_kubeconfig=0.02,
    look_away=0.02,
    heartbeat=0.5,
    connect_timeout=1.0,
    read_timeout=1.0,
    fresh=4.0,
    watch_shortest=1,
    watch_longest=1,
    watch_patience=1.0,
    relist=300.0,
    backoff_first=0.05,
    backoff_cap=0.2,
    eager_first=0.02,
    eager_for=1.5,
    backoff_reset=60.0,
)


@dataclass
class Person:
    """What a person does to a cluster, with kubectl; everything has a name of the test's own and is removed."""

    kubeconfig: Path
    prefix: str = field(default_factory=lambda: f"kt-{secrets.token_hex(3)}")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return what it printed."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply as HostK8s' script does: client-side."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return the object, with managed fields."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--show-managed-fields", "-o", "json"))
        return found

    def volume(self, name: str, **spec: Any) -> dict[str, Any]:
        """Return the manifest of a PersistentVolume as a contract gives it."""
        full = f"{self.prefix}-{name}"
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": full, "labels": {"app.kubernetes.io/managed-by": "hostk8s-agent"}},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": self.prefix,
                "hostPath": {"path": f"/mnt/pv/{full}", "type": "DirectoryOrCreate"},
                **spec,
            },
        }

    def storage_class(self) -> dict[str, Any]:
        """Return the manifest of a StorageClass as a contract gives it."""
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": self.prefix, "labels": {"app.kubernetes.io/managed-by": "hostk8s-agent"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": False,
        }

    def claim(self, name: str, volume: str) -> dict[str, Any]:
        """Return the manifest of a claim that asks for a PersistentVolume by name."""
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"{self.prefix}-{name}", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": self.prefix,
                "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }

    def remove_everything(self) -> None:
        """Remove all objects of this test."""
        for kind in ("pvc", "pv", "storageclass"):
            for name in self.kubectl("get", kind, "-o", "name").split():
                if name.partition("/")[2].startswith(self.prefix):
                    self.kubectl("delete", name, "--wait=true", "--timeout=30s")


@pytest.fixture
def person(kubeconfig: Path) -> Iterator[Person]:
    """A person with kubectl and administrator's rights."""
    person = Person(kubeconfig)
    yield person
    person.remove_everything()


class Connected:
    """A connection under test, with all that it told."""

    def __init__(self, connection: ClusterConnection, told: list[ObjectKey], changes: list[str]) -> None:
        self.connection = connection
        self.told = told
        self.changes = changes

    @property
    def state(self) -> str:
        """How it stands."""
        return self.connection.state().state

    @property
    def code(self) -> str:
        """The code of its problem, empty without one."""
        problem = self.connection.state().problem
        return problem.code if problem is not None else ""

    def count(self, *verbs: str) -> int:
        """The number of requests sent so far, of these verbs or of all."""
        counts = self.connection.request_counts()
        return sum(number for (verb, _), number in counts.items() if not verbs or verb in verbs)

    def observe(self, manifest: dict[str, Any]) -> Any:
        """The object as the mirror has it, None when it does not exist."""
        key = key_of(manifest)
        return self.connection.observe_objects("stack", [key]).get(key)

    def apply(self, *manifests: dict[str, Any], adopts_from: str | None = None) -> tuple[Any, ...]:
        """Apply with what the mirror knows as preconditions, as the reconciler does."""
        return self.carry_out(*(self.action(one, adopts_from) for one in manifests))

    def carry_out(self, *actions: ApplyObject) -> tuple[Any, ...]:
        """Apply, with whatever preconditions the actions have; return the outcomes."""
        return self.connection.apply_objects("stack", actions)

    def action(self, manifest: dict[str, Any], adopts_from: str | None = None) -> ApplyObject:
        """The action that a plan would hold now."""
        found = self.observe(manifest)
        return ApplyObject(
            key_of(manifest),
            manifest,
            "test",
            uid=found.uid if found is not None else None,
            resource_version=found.resource_version if found is not None else None,
            adopts_from=adopts_from,
        )


def key_of(manifest: dict[str, Any]) -> ObjectKey:
    """The key of a manifest."""
    return ObjectKey(manifest["kind"], manifest["metadata"]["name"])


Connect = Callable[..., Connected]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """A function that starts a connection from a kubeconfig; all are stopped, and leave nothing behind."""
    started: list[ClusterConnection] = []
    threads_before = set(threading.enumerate())
    scratch = tmp_path / "scratch"

    def start(kubeconfig: Path, timing: ConnectionTiming = FAST) -> Connected:
        told: list[ObjectKey] = []
        changes: list[str] = []
        connection = ClusterConnection(
            source=KubeconfigSource((kubeconfig,), "settings"),
            scratch_folder=scratch,
            on_change=lambda: changes.append(connection.state().state),
            on_object=told.append,
            timing=timing,
        )
        connection.start()
        started.append(connection)
        return Connected(connection, told, changes)

    yield start
    for connection in started:
        began = time.monotonic()
        connection.stop()
        assert time.monotonic() - began < 2.0, "stopping took too long"
    left = [one for one in set(threading.enumerate()) - threads_before if one.name.startswith("cluster-")]
    assert left == []
    assert list(scratch.glob("*")) == []


@pytest.fixture
def connected(connect: Connect, kubeconfig: Path, wait_until: Callable[..., None]) -> Connected:
    """A connection to the real control plane that stands."""
    connected = connect(kubeconfig)
    wait_until(lambda: connected.state == "Connected", "the connection stands")
    return connected


def _write_kubeconfig(path: Path, server: str) -> Path:
    """Write a kubeconfig for a server of a test's own, in one step."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "someone", "user": {"token": "s3cret-canary"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "someone"}}],
        "current-context": "fake",
    }
    unfinished = path.with_suffix(".new")
    unfinished.write_text(yaml.safe_dump(document))
    unfinished.replace(path)
    return path


@pytest.fixture
def write_kubeconfig() -> Callable[[Path, str], Path]:
    """A function that writes a kubeconfig for a server of a test's own."""
    return _write_kubeconfig


@pytest.fixture
def fast_timing() -> ConnectionTiming:
    """The timing of the tests' connections."""
    return FAST


@dataclass
class Answer:
    """What a misbehaving API server answers: a status, a body (JSON unless bytes), and whether it says no more."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False


Rule = Callable[[str, str, dict[str, str]], Answer | None]
"""Method, path, query → the answer, None for what a well-behaved server would say."""


class FaultyApiServer:
    """The least that passes for an API server without any object, with a rule for misbehaving."""

    def __init__(self, port: int = 0) -> None:
        self.rule: Rule = lambda _method, _path, _query: None
        self.uid = "uid-1"
        self.requests: list[tuple[float, str, str]] = []
        self.authorizations: set[str | None] = set()
        self._stopping = threading.Event()
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                faulty.serve(self)

            def do_PATCH(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                faulty.serve(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                faulty.serve(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it so
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @staticmethod
    def answer(status: int = 200, body: Any = None, *, is_cut: bool = False, **headers: str) -> Answer:
        """An answer for a rule to give; a header's name has `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status, {} if body is None else body, named, is_cut)

    def count_since(self, moment: float) -> int:
        """The number of requests since a moment on the monotonic clock."""
        return sum(at >= moment for at, _, _ in self.requests)

    def stop(self) -> None:
        """Stop serving."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        verb = "WATCH" if "watch" in query else handler.command
        self.requests.append((time.monotonic(), verb, parts.path))
        self.authorizations.add(handler.headers.get("Authorization"))
        answer = self.rule(verb, parts.path, query)
        with contextlib.suppress(OSError):
            if answer is None and verb == "WATCH":
                self._watch(handler, float(query["timeoutSeconds"]))
            else:
                self._answer(handler, answer or self._behave(parts.path))

    def _behave(self, path: str) -> Answer:
        if path.startswith("/api/v1/namespaces/"):
            return Answer(body={"metadata": {"name": "kube-system", "uid": self.uid}})
        if path == "/version":
            return Answer(body={"gitVersion": "v1.99.0"})
        return Answer(body={"metadata": {"resourceVersion": "100"}, "items": []})

    def _watch(self, handler: BaseHTTPRequestHandler, seconds: float) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.flush()
        self._stopping.wait(seconds)
        handler.wfile.write(b"0\r\n\r\n")

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) + (1000 if answer.is_cut else 0)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = answer.is_cut


@pytest.fixture
def faulty() -> Iterator[FaultyApiServer]:
    """An API server that misbehaves as it is told."""
    server = FaultyApiServer()
    yield server
    server.stop()


@pytest.fixture
def start_faulty() -> Iterator[Callable[[int], FaultyApiServer]]:
    """A function that starts one at a port, when it should come up."""
    started: list[FaultyApiServer] = []

    def start(port: int) -> FaultyApiServer:
        started.append(FaultyApiServer(port))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def faulty_kubeconfig(faulty: FaultyApiServer, tmp_path: Path) -> Path:
    """A kubeconfig that leads to it."""
    return _write_kubeconfig(tmp_path / "kubeconfig", faulty.url)


class FreezingProxy:
    """Passes TCP through until it is frozen: then it accepts and keeps everything, and says nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._frozen = threading.Event()
        self._swallowed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def freeze(self) -> None:
        """Say nothing from now on, on any connection."""
        self._frozen.set()

    def has_swallowed(self) -> bool:
        """Whether it has kept anything to itself yet."""
        return self._swallowed.is_set()

    def thaw(self) -> None:
        """Pass everything through again, on new connections."""
        self._frozen.clear()

    def stop(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in self._open:
            one.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                outer = socket.create_connection(self._target)
                self._open += [inner, outer]
                self._spawn(self._pass, inner, outer)
                self._spawn(self._pass, outer, inner)

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        was_frozen = False
        with contextlib.suppress(OSError):
            while chunk := one.recv(65536):
                # A connection that has swallowed something stays dead.
                was_frozen = was_frozen or self._frozen.is_set()
                if was_frozen:
                    self._swallowed.set()
                if not was_frozen:
                    other.sendall(chunk)
            if not was_frozen:
                other.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(kubeconfig: Path) -> Iterator[FreezingProxy]:
    """A proxy before the real API server."""
    server = urlsplit(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
    assert server.hostname is not None
    proxy = FreezingProxy(server.hostname, server.port or 443)
    yield proxy
    proxy.stop()


@pytest.fixture
def proxied_kubeconfig(proxy: FreezingProxy, kubeconfig: Path, tmp_path: Path) -> Path:
    """The real kubeconfig, leading through the proxy."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path = tmp_path / "proxied"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def own_kubeconfig(kubeconfig: Path, tmp_path: Path) -> Path:
    """A copy of the real kubeconfig that a test may spoil."""
    return Path(shutil.copy(kubeconfig, tmp_path / "own-kubeconfig"))

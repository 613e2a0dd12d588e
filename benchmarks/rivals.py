"""The rivals: kubectl's server-side apply, the script's calls, and the engine's bare archive call."""

from __future__ import annotations

import http.client
import io
import json
import socket
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workload import MODE, OWNER, Edition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that a person has: where they are, and the environment that leads them to the benchmark's parts."""

    kubectl: str
    environment: Mapping[str, str]

    def run(self, *command: str, stdin: bytes | None = None, may_fail: bool = False) -> bytes:
        """Run one command and return what it printed. Raises `RuntimeError` in its words when it fails."""
        done = subprocess.run(command, input=stdin, env=self.environment, capture_output=True, check=False)
        if done.returncode and not may_fail:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def apply_server_side(self, file: Path) -> None:
        """Rival (b): one kubectl for all objects of a file."""
        self.run(self.kubectl, "apply", "--server-side", "-f", str(file))

    def run_script_calls(self, edition: Edition, manifests: Sequence[Mapping[str, object]], node: str) -> None:
        """Rival (c): for each object a `get` and an `apply`, then three `docker exec` for the directory."""
        for manifest in manifests:
            metadata = manifest["metadata"]
            assert isinstance(metadata, dict)
            self.run(self.kubectl, "get", str(manifest["kind"]).lower(), metadata["name"], may_fail=True)
            self.run(self.kubectl, "apply", "-f", "-", stdin=json.dumps(manifest).encode())
        for command in (["mkdir", "-p"], ["chown", f"{OWNER}:{OWNER}"], ["chmod", f"{MODE:o}"]):
            self.run("docker", "exec", node, *command, edition.path)


def write_manifests(file: Path, manifests: Sequence[Mapping[str, object]]) -> None:
    """Write objects as one file that kubectl reads."""
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}), encoding="utf-8")


class EngineConnection(http.client.HTTPConnection):
    """A kept-alive connection to a Docker engine, by the path of its socket."""

    def __init__(self, docker_host: str) -> None:
        super().__init__("localhost")
        self._path = docker_host.removeprefix("unix://")

    def connect(self) -> None:
        """Connect to the socket in place of a host and port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)

    def put_directory(self, container: str, edition: Edition) -> None:
        """Make the edition's directory by one bare `PUT archive`: the least that the helper container's way takes.

        Raises `RuntimeError` on any answer but 200.
        """
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w") as tar:
            for path, owner, mode in ((edition.stack, 0, 0o755), (f"{edition.stack}/{edition.directory}", OWNER, MODE)):
                entry = tarfile.TarInfo(path)
                entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, owner, owner, mode
                tar.addfile(entry)
        self.request("PUT", f"/containers/{container}/archive?path=/mnt/pv", body=body.getvalue())
        with self.getresponse() as answer:
            content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"PUT archive: {answer.status} {content[:300].decode(errors='replace')}")

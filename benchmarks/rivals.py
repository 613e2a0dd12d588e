"""The rivals: kubectl's server-side apply, and the calls that HostK8s' script makes today."""

from __future__ import annotations

import json
import subprocess
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

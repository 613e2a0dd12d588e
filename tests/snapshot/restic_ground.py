"""A real restic, a local repository, and one behind a real server of restic's REST protocol with a password."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hostk8s_agent.snapshot.restic.environment import ResticPlace

PASSWORD = "the-repository's-own-word"

# Made by `restic init`, with nothing in it; its master key is wrapped anew by scrypt with N=16, p=1, as restic's design
# document has it. restic's own choice of them costs each start of it half a second of processor time.
_QUICK_REPOSITORY = Path(__file__).parent / "restic_repository"
REST_PASSWORD = "the+server's/own:word"


def write_private(file: Path, text: str) -> Path:
    """Write a file that nobody else can read."""
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return file


def make_place(folder: Path, name: str = "restic") -> ResticPlace:
    """A local repository, which does not exist yet."""
    return ResticPlace(str(folder / name), password_file=write_private(folder / "password", PASSWORD))


def make_quick_place(folder: Path) -> ResticPlace:
    """A local repository with nothing in it, of which each start of restic takes little time."""
    place = make_place(folder)
    repository = shutil.copytree(_QUICK_REPOSITORY, place.repository)
    for name in ("data", "index", "locks", "snapshots"):
        (Path(repository) / name).mkdir()
    return place


def ask(place: ResticPlace, *arguments: str) -> Any:
    """What restic itself says of a local repository, as JSON."""
    done = subprocess.run(
        ["restic", "--repo", place.repository, "--no-cache", "--no-lock", "--json", *arguments],
        env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def list_snapshots(place: ResticPlace) -> set[str]:
    """The ids of all snapshots that restic has, but for copies of manifests."""
    return {one["id"] for one in ask(place, "snapshots") if "hostk8s-manifest" not in (one.get("tags") or ())}


def list_copies(place: ResticPlace) -> list[str]:
    """Of which snapshots of ours restic has a copy of the manifest, sorted."""
    found = [one for one in ask(place, "snapshots") if "hostk8s-manifest" in (one.get("tags") or ())]
    return sorted(Path(one["paths"][0]).stem.rpartition(".")[2] for one in found)


@contextmanager
def serve_rest(folder: Path) -> Iterator[ResticPlace]:
    """Serve a folder to restic over HTTP, for one user with a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["rclone", "serve", "restic", "--cache-objects=false", "--addr", f"127.0.0.1:{port}", "--user", "agent"]
    (folder / "served").mkdir()
    with (folder / "rclone.log").open("wb") as log:
        server = subprocess.Popen([*command, "--pass", REST_PASSWORD, str(folder / "served")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline, (folder / "rclone.log").read_text()
            time.sleep(0.02)
        variables = f"# for restic\nRESTIC_REST_USERNAME=agent\nRESTIC_REST_PASSWORD='{REST_PASSWORD}'\n"
        yield ResticPlace(
            f"rest:http://127.0.0.1:{port}/sample/",
            password_command=f"cat {write_private(folder / 'password', PASSWORD)}",
            environment_file=write_private(folder / "variables", variables),
        )
    finally:
        server.terminate()
        server.wait()

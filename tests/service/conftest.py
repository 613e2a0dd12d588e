"""A machine with a real systemd, in a container, with the built wheel installed as `uv tool install` does it."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
USER = "ada"
HOME = Path("/home/ada")
WORKSPACE = HOME / "my hostk8s"
TOOL = HOME / ".local/share/uv/tools/hostk8s-agent"
PROGRAM = HOME / ".local/bin/hostk8s-agent"
PACKAGES = "lib/python3.11/site-packages"

# A container that may do what a machine may. Not --privileged: that fails where the host itself lacks SYS_RESOURCE.
CONTAINER_OPTIONS = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined", "--cgroupns", "private", "--network", "none"),
    *("--tmpfs", "/run", "--tmpfs", "/tmp:exec", "--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),
)

CONTRACT = """\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack}
spec:
  directories:
    - {{name: data, path: /mnt/pv/{stack}, size: 1Gi, accessModes: [ReadWriteOnce], storageClass: manual}}
"""


class Machine:
    """One machine. Commands run as ada, in the workspace, unless root is asked for."""

    def __init__(self, docker_host: str, image: str, packages: Path) -> None:
        self.name = f"hostk8s-systemd-{secrets.token_hex(3)}"
        self._docker = ("docker", "--host", docker_host)
        self._run(
            *("run", "--detach", "--name", self.name, *CONTAINER_OPTIONS),
            *("--volume", f"{packages}:/opt/packages:ro", image),
        )

    def remove(self) -> None:
        """Take it away."""
        self._run("rm", "--force", "--volumes", self.name)

    def reboot(self) -> None:
        """Stop and start it: /run and /tmp are empty, what is enabled starts."""
        self._run("restart", "--time", "20", self.name)

    def run(self, *command: str, is_root: bool = False, code: int | None = 0) -> str:
        """Run a command and return what it printed, on both outputs. `code` is what it must end with; None: any."""
        options = (
            ()
            if is_root
            else (
                *("--user", USER, "--workdir", str(WORKSPACE), "--env", f"HOME={HOME}"),
                *("--env", "XDG_RUNTIME_DIR=/run/user/1000", "--env", f"PATH={PROGRAM.parent}:/usr/bin:/bin"),
            )
        )
        done = subprocess.run(
            [*self._docker, "exec", *options, self.name, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=200,
        )
        assert code is None or done.returncode == code, f"{command} ended with {done.returncode}: {done.stdout}"
        return done.stdout.strip()

    def agent(self, *arguments: str, is_root: bool = False, code: int | None = 0) -> str:
        """Run hostk8s-agent."""
        return self.run(str(PROGRAM), *arguments, is_root=is_root, code=code)

    def show(self, unit: str, *, is_system: bool = False) -> dict[str, str]:
        """Return what systemd says of a unit."""
        scope = () if is_system else ("--user",)
        said = self.run("systemctl", *scope, "show", unit, code=None)
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def status(self) -> dict[str, Any]:
        """Return the agent's own status, empty while none answers."""
        said = self.run(str(PROGRAM), "status", "-o", "json", code=None)
        start = said.find("{")
        document: dict[str, Any] = json.loads(said[start:]) if start >= 0 else {}
        return document

    def write(self, path: Path, text: str) -> None:
        """Write a file as ada."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"', "sh", str(path), text)

    def copy_in(self, archive: Path, folder: Path) -> None:
        """Unpack an archive into a folder of the machine."""
        with archive.open("rb") as stream:
            subprocess.run(
                [*self._docker, "cp", "-", f"{self.name}:{folder}"], stdin=stream, check=True, capture_output=True
            )

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._docker, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def machine(testbed: Any, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that has booted, with the agent installed and a workspace; ada lingers."""
    assert sys.version_info[:2] == (3, 11), "the machine's Python is Debian 12's, 3.11: the tests' packages must fit it"
    image = testbed.run("up", "systemd")
    import yaml  # noqa: PLC0415 - where the packages are that the wheel needs

    made = Machine(engine, image, Path(yaml.__file__).parents[1])
    try:
        _install(made, tmp_path_factory.mktemp("wheel"))
        # Waits for the boot, and then for ada's own manager.
        made.run("systemctl", "is-system-running", "--wait", is_root=True)
        made.run("loginctl", "enable-linger", USER, is_root=True)
        made.run("sh", "-c", "until test -S /run/user/1000/bus; do sleep 0.1; done", is_root=True)
        yield made
    finally:
        made.remove()


def _install(machine: Machine, folder: Path) -> None:
    subprocess.run(
        [Path(sys.executable).with_name("uv"), "build", "--quiet", "--wheel", "--out-dir", folder],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "tree" / PACKAGES)
    (folder / "tree" / PACKAGES / "dependencies.pth").write_text("/opt/packages\n", encoding="utf-8")
    program = folder / "tree/bin/hostk8s-agent"
    program.parent.mkdir()
    program.write_text(f"#!{TOOL}/bin/python3\nfrom hostk8s_agent.__main__ import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    archive = folder / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder / "tree", arcname=".", filter=_give_to_ada)
    machine.run("install", "-d", "-o", USER, "-g", USER, str(WORKSPACE), is_root=True)
    machine.run("runuser", "-u", USER, "--", "python3", "-m", "venv", "--without-pip", str(TOOL), is_root=True)
    machine.copy_in(archive, TOOL)
    machine.run("mkdir", "-p", str(PROGRAM.parent))
    machine.run("ln", "-s", f"{TOOL}/bin/hostk8s-agent", str(PROGRAM))
    save(machine, "one")


def _give_to_ada(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 1000
    member.mode |= 0o755 if member.isdir() else 0
    return member


def save(machine: Machine, stack: str) -> None:
    """Save a contract in the machine's workspace."""
    machine.write(WORKSPACE / f"software/stacks/{stack}/hostk8s.storage.yaml", CONTRACT.format(stack=stack))


@pytest.fixture
def wait_long(wait_until: Callable[..., None]) -> Callable[..., None]:
    """As `wait_until`, for what takes a restart by the service manager on a machine that is busy."""

    def wait(condition: Callable[[], object], words: str) -> None:
        wait_until(condition, words, 90.0)

    return wait

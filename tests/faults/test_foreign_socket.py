"""X2: the control socket in hands that are not ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.control.places import find_socket_paths
from hostk8s_agent.workspace import Workspace
from reliability import Row

ASK = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
way = socket.socket(socket.AF_UNIX)
try:
    way.connect(sys.argv[1])
    way.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    answer = way.recv(100)
except OSError:
    answer = b""
sys.exit(b" 200 " in answer)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose sockets fit into an address (107 bytes, unix(7))."""
    with tempfile.TemporaryDirectory(prefix="x2-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.fault(
    "X2",
    "another user connects (also with the folder opened to all), a stale socket, a folder writable by all",
    holds="refused; the agent starts over a stale socket and closes the folder",
    target="0 of 50",
    short=1,
    full=50,
)
def test_nobody_else_is_answered(row: Row, site: Any, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file's mode at first, and by the kernel's word on who asks where somebody has opened that."""
    assert os.geteuid() == 0, "becoming another user needs root"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    site.environment["XDG_RUNTIME_DIR"] = str(short_folder)
    path = find_socket_paths(Workspace(site.root.resolve()))[0]
    for trial in row.trials():
        with trial:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o777)
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(path))
            site.start()
            try:
                assert path.parent.stat().st_mode & 0o777 == 0o700
                assert path.stat().st_mode & 0o777 == 0o600
                assert ask_as_stranger(path) == 0
                opened = [folder for folder in path.parents if folder.stat().st_mode & 0o777 == 0o700]
                for folder in opened:
                    folder.chmod(0o755)
                path.chmod(0o666)
                try:
                    assert ask_as_stranger(path) == 0
                finally:
                    for folder in opened:
                        folder.chmod(0o700)
            finally:
                assert site.stop() == 0


def ask_as_stranger(path: Path) -> int:
    """Return 1 when the agent answers another user, 0 when it does not."""
    return subprocess.run([sys.executable, "-c", ASK, str(path)], check=False, timeout=30).returncode

"""The LaunchAgent: launchd is not to be had here, so its file is checked against launchd.plist(5)."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostk8s_agent.service.launchd import render_plist
from hostk8s_agent.workspace import Workspace

# The keys that are used and their types, as launchd.plist(5) has them.
DOCUMENTED: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "Umask": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
WORKSPACE = Workspace(Path("/Users/ada/R&D <k8s>"))


@pytest.fixture
def text() -> str:
    """The file of a workspace whose name XML would misread."""
    program = ("/Users/ada/.local/bin/hostk8s-agent",)
    file = render_plist(WORKSPACE, program, {"PATH": "/usr/bin:/bin"}, Path("/Users/ada"))
    assert file.path == Path(f"/Users/ada/Library/LaunchAgents/io.hostk8s.agent.{WORKSPACE.identity}.plist")
    return file.text


def test_it_has_documented_keys_of_the_documented_types(text: str) -> None:
    """Launchd ignores what it does not know, and refuses what has another type."""
    found: dict[str, Any] = plistlib.loads(text.encode())
    assert {key: type(value) for key, value in found.items()} == DOCUMENTED
    assert found["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ProgramArguments"][1:] == ["run", "--workspace", str(WORKSPACE.root)]
    assert all(isinstance(value, str) for value in found["EnvironmentVariables"].values())
    assert found["EnvironmentVariables"]["HOSTK8S_AGENT_WATCHDOG"] == "exit"


def test_plistutil_reads_it(text: str, tmp_path: Path) -> None:
    """A second reader, which is not Python's."""
    file, binary = tmp_path / "agent.plist", tmp_path / "agent.bin"
    file.write_text(text, encoding="utf-8")
    subprocess.run(["plistutil", "-i", file, "-f", "bin", "-o", binary], check=True)
    assert plistlib.loads(binary.read_bytes()) == plistlib.loads(text.encode())

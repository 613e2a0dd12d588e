"""The README's way from nothing to a verified snapshot: its own lines, on a machine that knows nothing of the agent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatch

import pytest
from tests.service.conftest import HOME, PROGRAM, ROOT, WORKSPACE, Machine

pytestmark = [pytest.mark.engine, pytest.mark.systemd]

CHECKOUT = HOME / "HostK8s"


def read_commands() -> list[str]:
    """The lines of the README's block of commands, without what they say of themselves."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## From nothing to a verified snapshot\n.*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block, "the README has no such section"
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def test_five_commands_lead_to_a_verified_snapshot(machine: Machine, wait_long: Callable[..., None]) -> None:
    """Each as it stands there, and each ends well: a service that starts at boot, a Ready stack, a good snapshot.

    The first is what the machine was made with: it has no network to fetch the wheel's dependencies from.
    """
    install, *commands = read_commands()
    assert len(commands) == 4
    (wheel,) = (word for word in install.split() if word.endswith(".whl"))
    version = machine.agent("--version").split()[1]
    assert fnmatch(f"dist/hostk8s_agent-{version}-py3-none-any.whl", wheel)
    machine.agent("service", "uninstall", "--workspace", str(WORKSPACE))
    machine.run("mkdir", "-p", str(CHECKOUT / "software/stacks"))

    def walk(command: str, code: int | None = 0) -> str:
        return machine.run("sh", "-c", f'cd "$1" && {command}', "sh", str(CHECKOUT), code=code)

    said = {}
    for command in commands:
        if command.endswith(" status"):
            # Whoever types is slower than the agent; a program is not.
            wait_long(lambda line=command: "sample  Ready" in walk(line, code=None), "the stack is Ready")
        said[command] = walk(command)
        print(f"$ {command}\n{said[command]}")  # noqa: T201 - what a new user sees
    service = json.loads(walk("hostk8s-agent service status -o json"))
    assert (service["state"], service["isEnabled"]) == ("active", True)
    status = json.loads(walk("hostk8s-agent status -o json"))
    assert [(one["name"], one["state"]) for one in status["stacks"]] == [("sample", "Ready")]
    (directory,) = status["snapshots"]["directories"]
    assert directory["isProtected"]
    assert directory["lastVerifiedAt"]
    assert "read back whole" in said[commands[-1]]
    # The README says what else these do: another command that it names, and where snapshots are kept.
    assert walk("hostk8s-agent snapshot restore sample --yes")
    assert str(CHECKOUT) not in status["snapshots"]["repository"]
    assert str(HOME / ".local/share/hostk8s-agent") in status["snapshots"]["repository"]
    assert PROGRAM.name in said[commands[0]]
    walk("hostk8s-agent service uninstall")

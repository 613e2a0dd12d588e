"""docs/cli.md is the reference: what it says is what the code does."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hostk8s_agent.cli.app import app
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.control import errors
from hostk8s_agent.control.app import build_app
from hostk8s_agent.control.errors import ControlError
from hostk8s_agent.status import model

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text(encoding="utf-8")
COMMAND: Any = typer.main.get_command(app)


def _list_verbs(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every verb by its words: `run`, `service install`."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= _list_verbs(command, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = command
    return found


VERBS = _list_verbs(COMMAND)

# These are the client's own, or of the start: no request is answered with them.
NOT_ANSWERED = {"AgentUnresponsive", "ControlSocket"}


def section(title: str, level: str = "##") -> str:
    """The text below a heading, up to the next one of its level or above."""
    match = re.search(
        rf"^{level} {re.escape(title)}\n(.*?)(?=^#{{2,{len(level)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert match, f"docs/cli.md has no section {title}"
    return match[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's first table, without its head."""
    lines = list(takewhile(lambda line: line.startswith("|"), text[text.index("\n|") + 1 :].splitlines()))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_every_verb_is_described() -> None:
    """All of them, and none that is not there."""
    assert sorted(re.findall(r"^### `([\w -]+)`$", PAGE, re.MULTILINE)) == sorted(VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_is_described_with_its_default(verb: str) -> None:
    """A new option without a line here fails, and so does a line that has outlived its option."""
    described = {}
    for names, default, _meaning in rows(section(f"`{verb}`", "###")):
        key = frozenset(re.findall(r"`(-[^ `]+)", names))
        described[key] = default.strip("`")
    real = {}
    for option in VERBS[verb].params:
        if option.param_type_name != "option":
            continue
        unset = "upwards" if option.name == "workspace" else "unset"
        default = option.default
        shown = (
            ("off", "on")[default] if isinstance(default, bool) else {None: unset, 120.0: "120"}.get(default, default)
        )
        real[frozenset((*option.opts, *option.secondary_opts))] = "required" if option.required else str(shown)
    assert described == real


def test_every_exit_code_is_described() -> None:
    """Codes, names and order."""
    assert [(int(code), name.strip("`")) for code, name, _when in rows(section("Exit codes"))] == [
        (int(code), code.name) for code in ExitCode
    ]


def test_every_problem_of_the_control_api_is_described() -> None:
    """Codes and HTTP statuses."""
    table = rows(section("The control API").partition("A request that fails")[2])
    real = {
        kind.code: kind.http_status
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ControlError) and kind.code not in NOT_ANSWERED
    }
    assert {code.strip("`"): int(status) for code, status, _when in table} == real


def test_every_resource_is_described(agent: Any) -> None:
    """The same paths and methods as are served."""
    described = [(path.strip("`"), method) for path, method, _gives in rows(section("The control API"))]
    guard: Any = build_app(agent, asyncio.Event())
    served = [(route.path.replace(":path", ""), min(route.methods)) for route in guard._app.routes]
    assert described == served


def test_the_example_document_has_the_models_keys() -> None:
    """Whoever writes a script reads the example and nothing else."""
    match = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert match
    example = json.loads(match[1])

    def keys(kind: Any) -> list[str]:
        return [re.sub(r"_(\w)", lambda letter: letter[1].upper(), field.name) for field in fields(kind)]

    assert list(example) == ["apiVersion", *keys(model.AgentStatus)]
    for part, kind in (
        ("agent", model.AgentInfo),
        ("docker", model.DockerStatus),
        ("cluster", model.ClusterStatus),
        ("watch", model.WatchStatus),
    ):
        assert list(example[part]) == keys(kind)
    (stack,) = example["stacks"]
    assert list(stack) == keys(model.StackStatus)
    assert list(stack["directories"][0]) == keys(model.DirectoryStatus)
    assert list(stack["volumes"][0]) == keys(model.VolumeStatus)

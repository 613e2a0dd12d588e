"""docs/problems.md has every code that can be shown, and none that cannot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "daemon/hostk8s_agent"
MAKERS = {"Problem", "_refusal"}
# The roots of the error trees: nobody is ever shown one, always a kind of it.
ROOTS = {"AgentError", "ClusterError", "ControlError", "SnapshotError", "VolumeError", "ContractInvalid"}


def _codes_of(tree: ast.Module) -> Iterator[str]:
    """The codes that a module gives to its errors and problems."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (
                statement.value.value
                for statement in node.body
                if isinstance(statement, (ast.Assign, ast.AnnAssign))
                and _target(statement) == "code"
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            given = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "code")]
            yield from (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _target(statement: ast.Assign | ast.AnnAssign) -> str:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    return target.id if isinstance(target, ast.Name) else ""


def test_the_page_has_every_code_and_no_other() -> None:
    """Scripts match on codes, so that each has to be found in the documents."""
    modules = [path for path in PACKAGE.rglob("*.py") if "contract" not in path.relative_to(PACKAGE).parts]
    in_code = {code for path in modules for code in _codes_of(ast.parse(path.read_text(encoding="utf-8")))}
    page = (ROOT / "docs/problems.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([A-Za-z]+)` \|", page, re.MULTILINE)
    assert sorted(documented) == sorted(in_code - ROOTS)

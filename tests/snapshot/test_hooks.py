"""A pod's hooks, as Velero reads their annotations."""

from __future__ import annotations

import pytest

from hostk8s_agent.snapshot.hooks import Hook, find_hook

PRE = "pre.hook.backup.velero.io/"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, None),
        ({f"{PRE}command": "  "}, None),
        ({f"{PRE}container": "db", f"{PRE}timeout": "1m"}, None),
        ({f"{PRE}command": "/freeze.sh"}, Hook("", ("/freeze.sh",), 30, may_fail=False)),
        (
            {f"{PRE}command": '["/bin/sh", "-c", "sync; true"]'},
            Hook("", ("/bin/sh", "-c", "sync; true"), 30, may_fail=False),
        ),
        ({f"{PRE}command": "[not json"}, Hook("", ("[not json",), 30, may_fail=False)),
        ({f"{PRE}command": "[1, 2]"}, Hook("", ("[1, 2]",), 30, may_fail=False)),
        ({f"{PRE}command": "a b"}, Hook("", ("a b",), 30, may_fail=False)),
        (
            {f"{PRE}command": "x", f"{PRE}container": "db", f"{PRE}timeout": "1m30.5s", f"{PRE}on-error": "Continue"},
            Hook("db", ("x",), 90.5, may_fail=True),
        ),
        (
            {f"{PRE}command": "x", f"{PRE}timeout": "soon", f"{PRE}on-error": "Fail"},
            Hook("", ("x",), 30, may_fail=False),
        ),
        ({f"{PRE}command": "x", f"{PRE}timeout": "soon"}, Hook("", ("x",), 30, may_fail=False)),
        ({f"{PRE}command": "x", f"{PRE}timeout": "0s"}, Hook("", ("x",), 30, may_fail=False)),
        ({f"{PRE}command": "x", f"{PRE}timeout": "9000h"}, Hook("", ("x",), 3600, may_fail=False)),
        ({"hook.backup.velero.io/command": "old"}, Hook("", ("old",), 30, may_fail=False)),
        ({"hook.backup.velero.io/command": "old", f"{PRE}command": "new"}, Hook("", ("new",), 30, may_fail=False)),
        ({"post.hook.backup.velero.io/command": "x"}, None),
    ],
)
def test_annotations_mean_what_they_mean_to_velero(annotations: dict[str, str], expected: Hook | None) -> None:
    """A command is one word or a JSON list, and is never split: there is no shell to split it for."""
    assert find_hook(annotations, "pre") == expected


def test_the_hook_after_has_no_older_name() -> None:
    """Only `pre` had one."""
    assert find_hook({"hook.backup.velero.io/command": "old"}, "post") is None
    found = find_hook({"post.hook.backup.velero.io/command": "x"}, "post")
    assert found == Hook("", ("x",), 30, may_fail=False)

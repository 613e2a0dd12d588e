"""What the doctor says of snapshots, from what the agent tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostk8s_agent.doctor.circumstances import Circumstances
from hostk8s_agent.doctor.snapshot_checks import check_snapshots
from hostk8s_agent.settings import Settings
from hostk8s_agent.workspace import Workspace


def find(folder: Path, *directories: dict[str, Any]) -> dict[str, str]:
    """Each check's verdict."""
    status = {"snapshots": {"repository": str(folder / "snapshots"), "directories": list(directories)}}
    circumstances = Circumstances(Workspace(folder), Settings(), None, status, None)
    return {one.check: one.verdict for one in check_snapshots(circumstances)}


def test_a_directory_without_a_verified_snapshot_is_told(tmp_path: Path) -> None:
    """One of two is enough for a warning; with all verified it is well, and without an agent nothing is said."""
    good = {"stack": "a", "directory": "x", "isProtected": True, "lastVerifiedAt": "2025-01-31T08:00:00.000Z"}
    bare = {"stack": "a", "directory": "y", "isProtected": False, "lastVerifiedAt": ""}
    assert find(tmp_path, good)["last verified snapshot"] == "ok"
    assert find(tmp_path, good, bare)["last verified snapshot"] == "warning"
    assert "last verified snapshot" not in find(tmp_path)
    assert find(tmp_path)["repository"] in {"ok", "warning"}
    assert list(check_snapshots(Circumstances(Workspace(tmp_path), Settings(), None, None, None))) == []

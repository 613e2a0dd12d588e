"""What the doctor says of snapshots, from what the agent tells."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.restic_ground import make_place

from hostk8s_agent.doctor.circumstances import Circumstances
from hostk8s_agent.doctor.findings import Finding
from hostk8s_agent.doctor.snapshot_checks import check_snapshots
from hostk8s_agent.settings import Settings
from hostk8s_agent.snapshot.restic.engine import ResticEngine
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


@pytest.mark.tools
def test_a_restic_repository_is_opened(tmp_path: Path, testbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made there: one that does not exist yet is told, and so is what keeps restic out."""
    folder = Path(testbed.run("tool", "restic")).parent
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{folder}")
    place = make_place(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    def look() -> list[Finding]:
        settings = Settings(
            snapshot_restic_repository=place.repository, snapshot_restic_password_file=place.password_file
        )
        found = Circumstances(Workspace(tmp_path), settings, None, None, None)
        return [one for one in check_snapshots(found) if one.check == "restic"]

    (missing,) = look()
    assert missing.verdict == "failure"
    assert "ResticRepositoryMissing" in missing.message
    engine = ResticEngine(tmp_path / "repository", place)
    engine.prepare()
    home = engine.find_home(may_create=True)
    (opened,) = look()
    assert (opened.verdict, home[:12] in opened.message) == ("ok", True)
    assert place.password_file is not None
    place.password_file.chmod(0o640)
    (shown,) = look()
    assert (shown.verdict, shown.command) == ("failure", f"chmod 600 {place.password_file}")

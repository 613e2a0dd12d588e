"""Snapshots by each of the three ways into a volume, on the real engine."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.snapshot.conftest import Ground, describe, fill
from tests.snapshot.restic_ground import make_place

from hostk8s_agent.snapshot.requests import RestoreRequest

if TYPE_CHECKING:
    from tests.volume.conftest import Place


def weaken(tree: dict[str, tuple[object, ...]], kind: str) -> dict[str, tuple[object, ...]]:
    """What a way in claims to keep: the helper container loses fractions of a second and attributes."""
    if kind != "helper-container":
        return tree
    return {
        path: (mode, uid, gid, size, int(str(time)) // 10**9, content, first, target)
        for path, (mode, uid, gid, size, time, content, first, _attributes, target) in tree.items()
    }


@pytest.mark.parametrize(
    ("place", "kept_by"),
    [
        pytest.param("direct", "archive", marks=pytest.mark.engine),
        pytest.param("helper-container", "archive", marks=pytest.mark.engine),
        ("host-directory", "archive"),
        pytest.param("direct", "restic", marks=[pytest.mark.engine, pytest.mark.tools]),
        pytest.param("helper-container", "restic", marks=[pytest.mark.engine, pytest.mark.tools]),
    ],
    indirect=["place"],
)
def test_what_is_restored_is_what_was_there(
    place: Place, kept_by: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In every field that the way in claims to keep; what it does not is told. Whichever engine keeps it."""
    ground = Ground(tmp_path, access=place.access, root=place.root)
    if kept_by == "restic":
        request.getfixturevalue("restic_tools")
        ground.restic = make_place(tmp_path)
    fill(ground.path(), files=20)
    before = weaken(describe(ground.path()), place.access.access)
    snapshot = ground.service.select(ground.create())
    assert bool(snapshot.directories[0].lost) == (place.access.access == "helper-container")
    shutil.rmtree(ground.path())
    ground.path().mkdir()
    ground.now += timedelta(hours=1)
    ground.service.restore(RestoreRequest("sample", "latest"))
    assert weaken(describe(ground.path()), place.access.access) == before
    assert sorted(path.name for path in place.root.iterdir()) == ["sample"]
    ground.now += timedelta(hours=1)
    again = ground.service.select(ground.create())
    assert again.directories[0].archive == snapshot.directories[0].archive
    (ground.path() / "first-name").unlink()
    (ground.path() / "to-nowhere").unlink()
    (ground.path() / "to-nowhere").mkdir()
    for part in ("second-name", "to-nowhere"):
        ground.now += timedelta(hours=1)
        ground.service.restore(RestoreRequest("sample", snapshot.id, path=f"data/{part}"))
    assert (ground.path() / "second-name").read_bytes() == b"two names"
    assert (ground.path() / "to-nowhere").readlink() == Path("/nowhere/at/all")
    assert sorted(path.name for path in place.root.iterdir()) == ["sample"]
